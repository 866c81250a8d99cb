/** The dead letters: what failed for good, and the way back. */

import { arrange, clock, complain, find, linkTo, made, read, say, write } from "./page.js";

const SHOWN = 10;

const list = find("letters");
const items = new Map(); // by id
let redriven = () => {};

/** Tell `callback(messageId)` of each message that is delivered again. */
export function onRedriven(callback) {
  redriven = callback;
}

/** Show the latest dead letters; those that stay are not touched, so that the focus stays where it is. */
export async function refreshLetters() {
  const { results, next } = await read(`dead-letters/?page_size=${SHOWN}`);
  const ids = new Set(results.map(({ id }) => id));
  for (const id of items.keys()) if (!ids.has(id)) items.delete(id);
  for (const letter of results) if (!items.has(letter.id)) items.set(letter.id, itemOf(letter));
  arrange(list, results.map(({ id }) => items.get(id)), find("letters-title"));
  list.hidden = results.length === 0;
  find("letters-empty").hidden = results.length > 0;
  say(find("letters-title"), next ? `Dead letters, the latest ${SHOWN}` : "Dead letters");
}

function itemOf(letter) {
  const { element, parts } = made("letter-item");
  element.dataset.id = letter.id;
  const attempts = letter.attempts === 1 ? "1 attempt" : `${letter.attempts} attempts`;
  say(parts.subscription, letter.subscription);
  say(parts.reason, `${letter.reason.replaceAll("_", " ")}, ${attempts}`);
  say(parts.time, clock(letter.dead_at));
  parts.time.dateTime = letter.dead_at;
  say(parts.error, letter.error);
  linkTo("letter", letter.id, parts.link);
  for (const part of [parts.redrive, parts.link])
    part.setAttribute("aria-label", `${part.textContent} the dead letter of ${letter.subscription}`);
  parts.redrive.addEventListener("click", () => redrive(letter, parts.redrive));
  return element;
}

async function redrive(letter, button) {
  button.setAttribute("aria-disabled", "true");
  complain(find("letters-error"), null);
  try {
    const { count } = await write("dead-letters/redrive/", JSON.stringify({ ids: [letter.id] }));
    say(find("redriven"), count ? `Redriven: it goes to ${letter.subscription} again.` : "It cannot be redriven any more.");
    await refreshLetters();
    if (count) redriven(letter.message);
  } catch (error) {
    complain(find("letters-error"), error);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
