/** What the page's parts share: its elements, its addresses, and how it talks to the API. */

import { parse } from "../datapunk_broker/client.js";

export const find = (id) => document.getElementById(id);

const page = find("live").dataset;
const API = new URL("../", new URL(page.schema, location.href));
const CSRF = document.querySelector("[name=csrfmiddlewaretoken]").value;

/** What the API refused; `errors` say which field does not fit. */
export class Problem extends Error {
  constructor({ detail, code, errors = [] }, status) {
    super(detail);
    Object.assign(this, { code, errors, status });
  }
}

export const read = (path) => ask(new URL(path, API));
export const write = (path, body) => ask(new URL(path, API), { method: "POST", body, json: true });

/** Switch whether a handler fails. */
export const switchFault = (subscription, fails) =>
  ask(page.fault.replace("NAME", encodeURIComponent(subscription)), { method: "POST", body: new URLSearchParams({ fails }) });

/** Return the notes of the handlers as HTML, which the server escaped. */
export const readNotes = () => ask(page.notes);

/** Show a link to a page of the admin, for those who have one. */
export function linkTo(kind, id, link) {
  link.hidden = !page[kind];
  if (page[kind]) link.href = page[kind].replace("ID", id);
}

/** Return a copy of a template's element, and its parts by their data-is. */
export function made(template) {
  const element = find(template).content.firstElementChild.cloneNode(true);
  return { element, parts: partsOf(element) };
}

export function partsOf(element) {
  return Object.fromEntries([...element.querySelectorAll("[data-is]")].map((part) => [part.dataset.is, part]));
}

/** Change a text only where it is another one: what is selected stays selected. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/** Make these the children of a list, moving no more than it takes: the focus stays, or goes to `refuge`. */
export function arrange(list, elements, refuge) {
  const staying = new Set(elements);
  for (const child of [...list.children]) if (!staying.has(child)) leave(child, refuge);
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
}

/** Remove an element; where it had the focus, `refuge` gets it. */
export function leave(element, refuge) {
  const hadFocus = element.contains(document.activeElement);
  element.remove();
  if (hadFocus) refuge.focus();
}

/** Show or clear an error. */
export function complain(element, error) {
  element.hidden = !error;
  say(element, error ? sentenceOf(error) : "");
}

const sentenceOf = (error) => (error.code ? `${error.message} (${error.code})` : error.message);

export const clock = (moment) => new Date(moment).toLocaleTimeString([], { hourCycle: "h23" });

async function ask(url, { method = "GET", body, json = false } = {}) {
  const headers = { Accept: "application/json, text/html;q=0.9" };
  if (method !== "GET") headers["X-CSRFToken"] = CSRF;
  if (json) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, body, headers, redirect: "error" });
  } catch {
    throw new Problem({ detail: "The server does not answer.", code: "" }, 0);
  }
  const kind = response.headers.get("Content-Type") ?? "";
  const answer = kind.includes("json") ? parse(await response.text()) : await response.text();
  if (response.ok) return answer;
  throw new Problem(typeof answer === "string" ? { detail: `The server answered ${response.status}.` } : answer, response.status);
}
