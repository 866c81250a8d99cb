/** The live page: the streams of all topics by WebSocket, everything else from the API. */

import { Broker } from "../datapunk_broker/client.js";
import { onRedriven, refreshLetters } from "./letters.js";
import { refreshNotes, refreshTables, switching } from "./overview.js";
import { complain, find, read, say } from "./page.js";
import { publishing } from "./publish.js";
import { arrive, follow, miss, recall, revive } from "./stream.js";

const RECENT = 10; // messages of each topic that the page begins with
const AT_ONCE = 100; // milliseconds to a look when something happened
const SOON = 400; // between looks while something is on its way
const LATER = 2000; // and while nothing is
const PATIENCE = 5; // a look that takes long is made so many times less often
const TOPICS = JSON.parse(find("followed").textContent); // those whose messages one may read

let timer = null;
let due = 0; // when the next look is

/** Look again and again; only what is asked for in between makes the next look come sooner. */
async function look() {
  due = 0;
  const began = performance.now();
  const looks = document.hidden ? [] : [follow(), refreshTables(), refreshLetters(), refreshNotes(), remember()];
  const [followed, ...others] = await Promise.allSettled(looks);
  const error = others.find(({ reason }) => reason)?.reason;
  complain(find("live-error"), error && new Error(`Not all of this is up to date. ${error.message} It is tried again.`));
  const took = performance.now() - began;
  const wait = Math.max(took * PATIENCE, isAsked || followed?.value ? SOON : LATER);
  isAsked = false;
  plan(wait);
}

let isAsked = false;

/** Something happened. */
function happened() {
  isAsked = true;
  if (due > performance.now() + AT_ONCE) plan(AT_ONCE);
}

function plan(wait) {
  clearTimeout(timer);
  due = performance.now() + wait;
  timer = setTimeout(look, wait);
}

function state(text, mood) {
  say(find("state"), text);
  find("state").dataset.mood = mood;
}

function connect() {
  const broker = new Broker();
  broker.addEventListener("open", () => state("Live", "good"));
  broker.addEventListener("closed", ({ detail }) =>
    detail.reconnect ? state("Reconnecting", "wait") : state("Disconnected: load the page again", "bad"),
  );
  const message = (one) => {
    arrive(one);
    happened();
  };
  for (const topic of TOPICS) broker.subscribe(topic, {}, { message, error: (error) => miss(topic, error) });
}

let isRemembered = false;

/** Show what came before the page was opened; a look that fails is followed by another. */
async function remember() {
  if (isRemembered) return;
  const messages = (await Promise.all(TOPICS.map(latest))).flat();
  isRemembered = true;
  recall(messages.sort((a, b) => (a.id < b.id ? 1 : -1)));
}

async function latest(topic) {
  try {
    return (await read(`topics/${topic}/messages/?page_size=${RECENT}`)).results;
  } catch (error) {
    if ([403, 404].includes(error.status)) return []; // the stream says so
    throw error;
  }
}

publishing(happened);
switching();
onRedriven((message) => revive(message).then(happened));
document.addEventListener("visibilitychange", happened);
connect();
look();
