/** The stream: messages as they arrive, the newest first, each with what became of it. */

import { clock, complain, find, leave, linkTo, made, read, say } from "./page.js";

const LONGEST = 50; // messages on the page, whatever comes
const FOLLOWED = 8; // of them are asked about at a time
const PROMPT = 10_000; // milliseconds after which what has not changed is taken to wait for somebody
const LETTERS = 400; // of a payload
const SETTLED = new Set(["acked", "dead", "expired", "dropped"]);

const list = find("stream");
const items = new Map(); // by message id, the newest last
let arrived = [];
let count = 0;
let drawing = 0;

/** Take a message; it is drawn with the others of this frame, and those that no longer fit are only counted. */
export function arrive(message) {
  count += 1;
  arrived.push(message);
  if (arrived.length > LONGEST) arrived.shift();
  drawing ||= requestAnimationFrame(draw);
}

const refusals = new Map(); // sentences by topic

/** Say that the messages of a topic do not arrive here, and why. */
export function miss(topic, error) {
  refusals.set(topic, `${topic} is not followed: ${error.message}`);
  complain(find("stream-error"), new Error([...refusals.values()].join(" ")));
}

/** Show messages that came before, the newest first, below those that are there. */
export function recall(messages) {
  const older = messages.filter(({ id }) => !items.has(id)).slice(0, LONGEST - items.size);
  const shown = [...items];
  items.clear();
  for (const message of older.toReversed()) items.set(message.id, itemOf(message));
  for (const [id, item] of shown) items.set(id, item);
  list.append(...older.map(({ id }) => items.get(id).element));
  tell();
}

/** Look again what becomes of a message that was redriven; it is fetched if it left the page. */
export async function revive(id) {
  if (!items.has(id)) arrive(await read(`messages/${id}/`));
  else Object.assign(items.get(id), { isSettled: false, changed: performance.now() });
}

/** Ask what became of the newest messages that are on their way; returns whether any may change soon. */
export async function follow() {
  const open = [...items.entries()].filter(([, item]) => !item.isSettled).slice(-FOLLOWED);
  await Promise.all(open.map(([id, item]) => ask(id, item)));
  return open.some(([, { changed }]) => performance.now() - changed < PROMPT);
}

function draw() {
  drawing = 0;
  const fresh = arrived.filter(({ id }) => !items.has(id));
  arrived = [];
  for (const message of fresh) items.set(message.id, itemOf(message));
  list.prepend(...fresh.map(({ id }) => items.get(id).element).reverse());
  for (const [id, { element }] of [...items].slice(0, Math.max(0, items.size - LONGEST))) {
    items.delete(id);
    leave(element, list);
  }
  tell(fresh.at(-1));
}

function tell(latest) {
  find("stream-empty").hidden = items.size > 0;
  list.hidden = items.size === 0;
  say(find("seen"), count ? `${count} arrived` : "");
  if (latest) announce(`${count} arrived, the latest in ${latest.topic}: ${textOf(latest)}`);
}

let announcing = null;
let said = "";

/** Tell a screen reader, though not of every message of a flood. */
function announce(text) {
  said = text;
  announcing ??= setTimeout(() => {
    announcing = null;
    say(find("announced"), said);
  }, 1000);
}

function itemOf(message) {
  const { element, parts } = made("message-item");
  element.dataset.id = message.id;
  if (message.position) element.dataset.position = message.position;
  say(parts.topic, message.topic);
  say(parts.key, message.routing_key);
  say(parts.time, clock(message.published_at));
  parts.time.dateTime = message.published_at;
  say(parts.payload, textOf(message));
  linkTo("message", message.id, parts.link);
  parts.link.setAttribute("aria-label", `Details of the message in ${message.topic} of ${clock(message.published_at)}`);
  return { element, deliveries: parts.deliveries, isSettled: false, changed: performance.now() };
}

/** Return a payload as it came: JSON.parse would round a number of thirty digits. */
function textOf({ payloadText, payload_base64 }) {
  const text = payloadText ?? payload_base64 ?? "";
  return text.length > LETTERS ? `${text.slice(0, LETTERS)}…` : text;
}

async function ask(id, item) {
  let rows;
  try {
    rows = (await read(`messages/${id}/deliveries/`)).results;
  } catch (error) {
    item.isSettled = error.status >= 400 && error.status < 500; // gone, or not ours to see
    return;
  }
  item.isSettled = rows.every(({ state }) => SETTLED.has(state));
  const chips = rows.map(chipOf);
  if (!chips.length) chips.push(chip("no subscription matched", "wait"));
  const isSame = chips.length === item.deliveries.children.length;
  if (isSame && chips.every((one, index) => one.isEqualNode(item.deliveries.children[index]))) return;
  item.changed = performance.now();
  item.deliveries.replaceChildren(...chips);
}

function chipOf({ subscription, state, attempts, available_at, failures }) {
  const failed = failures.length ? `, ${failures.length} failed` : "";
  if (state === "acked") return chip(`${subscription}: acked at attempt ${attempts}${failed}`, "good");
  if (SETTLED.has(state)) return chip(`${subscription}: ${state} after ${attempts} attempt${attempts === 1 ? "" : "s"}`, "bad");
  if (state === "scheduled" && failures.length) {
    const { error } = failures.at(-1);
    return chip(`${subscription}: attempt ${attempts} failed, the next at ${clock(available_at)}`, "wait", error);
  }
  return chip(`${subscription}: ${state}${failed}`, "wait");
}

function chip(text, mood, title = "") {
  const element = document.createElement("li");
  Object.assign(element, { textContent: text, title });
  element.dataset.mood = mood;
  return element;
}
