/** The publish form. What is typed is sent as it is: a number of thirty digits keeps them all. */

import { complain, find, say, write } from "./page.js";

const FIELDS = ["topic", "routing_key", "headers", "payload"];

const EXAMPLES = {
  alerts: { payload: "the roof is on fire" },
  orders: { routing_key: "packing", payload: { id: 7, total: 12.5 } },
  github: {
    routing_key: "issues.opened",
    headers: { language: "Ruby", private: false, repository: "octo/hello" },
    payload: { action: "opened", issue: { number: 1, title: "The bell rings twice" } },
  },
  repositories: {
    routing_key: "push",
    headers: { language: "Ruby", private: false, repository: "octo/hello" },
    payload: { ref: "refs/heads/main" },
  },
};

const form = find("publish");
let example = {};

/** Make the form work; `published(receipt)` is told of each message. */
export function publishing(published) {
  form.topic.addEventListener("change", suggest);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    publish(published);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  suggest();
}

/** Fill the form for a topic, save what somebody wrote. */
function suggest() {
  const { routing_key = "", headers = {}, payload = {} } = EXAMPLES[form.topic.value] ?? {};
  const next = { routing_key, headers: JSON.stringify(headers), payload: JSON.stringify(payload, null, 2) };
  for (const [name, text] of Object.entries(next)) {
    if ([example[name], form[name].defaultValue].includes(form[name].value)) form[name].value = text;
  }
  example = next;
}

async function publish(published) {
  clear();
  if (!["headers", "payload"].every(isJson) || form.dataset.busy) return;
  form.dataset.busy = "yes";
  try {
    const { routing_key, headers, payload } = form;
    const body = `{"routing_key":${JSON.stringify(routing_key.value)},"headers":${headers.value},"payload":${payload.value}}`;
    const receipt = await write(`topics/${encodeURIComponent(form.topic.value)}/messages/`, body);
    say(find("published"), `Published to ${count(receipt.deliveries, "subscription")}.`);
    published(receipt);
  } catch (error) {
    refused(error);
  } finally {
    delete form.dataset.busy;
  }
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function isJson(name) {
  try {
    const value = JSON.parse(form[name].value);
    const fits = name !== "headers" || (value !== null && typeof value === "object" && !Array.isArray(value));
    if (!fits) throw new Error("a JSON object is asked for");
    return true;
  } catch (error) {
    refuse(name, new Error(form[name].value.trim() ? `This does not fit: ${error.message}.` : "Nothing is written here."));
    return false;
  }
}

/** Show a problem beside the field that it is about, else above the button. */
function refused(error) {
  const [name] = (error.errors?.[0]?.field ?? "").split(/[.[$]/u).filter(Boolean);
  if (FIELDS.includes(name)) refuse(name, error);
  else complain(find("publish-error"), error);
}

function refuse(name, error) {
  complain(find(`${name}-error`), error);
  form[name].setAttribute("aria-invalid", "true");
  form.querySelector("[aria-invalid]").focus();
}

function clear() {
  for (const name of FIELDS) {
    complain(find(`${name}-error`), null);
    form[name].removeAttribute("aria-invalid");
  }
  complain(find("publish-error"), null);
  say(find("published"), "");
}
