/** The tables: topics and subscriptions with what waits, what was acked and what died; and the handlers' notes. */

import { arrange, clock, complain, find, made, partsOf, read, readNotes, say, switchFault } from "./page.js";

let notes = "";

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

/** Make the switches work. */
export function switching() {
  find("subscriptions").addEventListener("change", async ({ target }) => {
    complain(find("faults-error"), null);
    try {
      await switchFault(target.closest("tr").dataset.name, target.checked);
    } catch (error) {
      target.checked = !target.checked;
      complain(find("faults-error"), error);
    }
  });
}

export async function refreshTables() {
  const { topics, subscriptions } = await read("stats/");
  const backlogs = {};
  for (const { topic, backlog } of subscriptions) backlogs[topic] = (backlogs[topic] ?? 0) + sum(backlog);
  refresh(find("topics"), "topic-row", topics, ({ name, type, messages, published_per_minute }) => ({
    ...{ type, messages, rate: published_per_minute, backlog: backlogs[name] ?? 0 },
  }));
  refresh(find("subscriptions"), "subscription-row", subscriptions, (row) => ({
    ...{ topic: row.topic, state: row.state, backlog: sum(row.backlog) },
    ...{ acked: row.settled.acked ?? 0, dead: sum(row.dead_letters) },
  }));
  for (const { name, transport } of subscriptions) offerFault(name, transport);
}

export async function refreshNotes() {
  const html = await readNotes();
  if (html === notes) return;
  const list = find("notes");
  list.innerHTML = notes = html;
  for (const time of list.querySelectorAll("time")) say(time, clock(time.dateTime));
}

function refresh(body, template, rows, cells) {
  const known = new Map([...body.children].map((row) => [row.dataset.name, row]));
  const current = rows.map((row) => {
    const element = known.get(row.name) ?? newRow(template, row.name);
    const parts = partsOf(element);
    for (const [name, value] of Object.entries(cells(row))) {
      say(parts[name], value);
      parts[name].classList.toggle("hot", ["backlog", "dead"].includes(name) && value > 0);
    }
    return element;
  });
  arrange(body, current, body.closest(".scroll"));
}

function newRow(template, name) {
  const { element } = made(template);
  element.dataset.name = name;
  say(element.querySelector("th"), name);
  return element;
}

function offerFault(name, transport) {
  const box = find("subscriptions").querySelector(`[data-name="${CSS.escape(name)}"] [role=switch]`);
  if (!box) return;
  box.hidden = transport !== "handler";
  box.setAttribute("aria-label", `Make ${name} fail`);
}
