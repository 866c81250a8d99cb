/**
 * Read and publish over the broker's WebSocket; no build step, no dependencies.
 *
 *   import { Broker } from "/static/datapunk_broker/client.js";
 *
 *   const broker = new Broker();                                    // the session signs in; or { token: "…" }
 *   const orders = broker.subscribe("orders", { from: "earliest", routingKey: "eu.*" }, {
 *     message: (message) => show(message.payload),
 *     reset: ({ oldest }) => forget(oldest),
 *   });
 *   broker.pull("audit", { message: (message) => store(message) });  // acked when it returns, nacked when it throws
 *   await broker.publish("orders", { id: 7 }, { routing_key: "eu.paid" });
 *   orders.close();
 *   broker.close();
 *
 * It comes back after whatever happens to the connection, goes on behind the last position that was handled, and
 * hands over each position once. A handler may be asynchronous: the next message waits for it, and the server sends
 * no more than `window` messages ahead.
 *
 * `message.payload` is what JSON.parse makes of the payload, where a number of thirty digits is rounded;
 * `message.payloadText` is the payload as it came.
 *
 * Events of a Broker: "open" (detail: limits), "closed" (detail: code, reconnect, in: milliseconds to the next try).
 */

const SUBPROTOCOL = "datapunk.v1.json";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const STABLE = 5_000;
const FINAL = 4500; // from here on it is no use to come again
const OPEN_WITHIN = 20_000;
const NO_PONG = 4012;
const NO_TOKEN = 4400; // this client's own: there is nothing to say hello with yet
const DONE = 1000;
const CENTURY = 36_525 * 86_400; // seconds
const isText = (value) => typeof value === "string";
const isSeconds = (value) => typeof value === "number" && value >= 0 && value <= CENTURY;
const OPTIONS = new Map([
  ...["routing_key", "ordering_key", "idempotency_key", "correlation_id", "reply_to"].map((name) => [name, isText]),
  ["headers", (value) => typeof value === "object" && !Array.isArray(value)],
  ["priority", (value) => Number.isSafeInteger(value)],
  ...["delay", "ttl"].map((name) => [name, isSeconds]),
]);
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g; // of JSON, save what stands between these
const LONE_SURROGATE = /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/; // JSON.stringify writes no other ones so

/** What the server refused; `code` is the same as everywhere, `retryAfter` in seconds where it is known. */
export class BrokerError extends Error {
  constructor(code, detail, retryAfter = null) {
    super(detail || code);
    this.name = "BrokerError";
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export class Broker extends EventTarget {
  /**
   * url: of the WebSocket, this page's own by default. token: where no session signs in; a string or a function
   * that returns one, or a promise of one. WebSocket, random: to bring one's own.
   */
  constructor({ url = "/ws/broker/", token = null, WebSocket = globalThis.WebSocket, random = Math.random } = {}) {
    super();
    this._url = absolute(url);
    this._token = token;
    this._WebSocket = WebSocket;
    this._random = random;
    this._readers = new Map();
    this._publishes = new Map();
    this._names = 0;
    this._tries = 0;
    this._closed = false;
    this._limits = null;
    this._online = () => this._timer && this._connect();
    globalThis.addEventListener?.("online", this._online);
    this._connect();
  }

  /** What the server allows, once it said so, else null. */
  get limits() {
    return this._limits;
  }

  /**
   * Follow a topic. from: "latest", "earliest", { position } (the last that was seen) or { time }.
   * Handlers: message(message), caughtUp(), reset({ reason, oldest, head }), error(BrokerError), which ends it; an
   * error that nobody handles is reported as the page's own.
   */
  subscribe(topic, { from = "latest", routingKey, headers, window = 500 } = {}, handlers = {}) {
    return this._read(new StreamReader(this, this._name(), { topic, from, routingKey, headers, window }, handlers));
  }

  /** Take the messages of a durable pull subscription; handlers as in `subscribe`. */
  pull(subscription, { message, error, window = 50 } = {}) {
    return this._read(new PullReader(this, this._name(), { subscription, window }, { message, error }));
  }

  /**
   * Publish; options as on the wire (routing_key, headers, idempotency_key, delay, …). Resolves to
   * { message_id, duplicate } once it is committed. When the connection breaks before that, it is sent again if it
   * has an idempotency_key, else rejected with the code "unknown": it may or may not be published.
   */
  publish(topic, payload = null, options = {}) {
    if (this._closed) return Promise.reject(new BrokerError("closed", "The client was closed."));
    // The server would take these for frames that are not valid, and close.
    const given = Object.entries(options).filter(([, value]) => value != null);
    const wrong = given.find(([name, value]) => !OPTIONS.get(name)?.(value));
    if (wrong) return Promise.reject(new BrokerError("payload_invalid", `There is no option ${wrong[0]} like that.`));
    if (!isText(topic)) return Promise.reject(new BrokerError("topic_not_found", "A topic's name is text."));
    const id = this._name();
    const text = JSON.stringify({ type: "publish", id, topic, payload, ...Object.fromEntries(given) });
    if (LONE_SURROGATE.test(text)) return Promise.reject(new BrokerError("payload_invalid", "Half a character."));
    return new Promise((resolve, reject) => {
      this._publishes.set(id, { text, isKeyed: options.idempotency_key != null, sent: false, resolve, reject });
      this._transmit(id);
    });
  }

  /** Leave for good. */
  close() {
    this._end(new BrokerError("closed", "The client was closed."));
    this._socket?.close(DONE);
  }

  _name() {
    this._names += 1;
    return this._names;
  }

  _read(reader) {
    this._readers.set(reader.sid, reader);
    if (this._limits) reader.begin();
    return reader;
  }

  _transmit(id) {
    const publish = this._publishes.get(id);
    if (this._limits && new TextEncoder().encode(publish.text).length > this._limits.frame_bytes)
      this._settle(id, ({ reject }) => reject(new BrokerError("message_too_large", "The server takes no such frame.")));
    else publish.sent = this._write(publish.text);
  }

  _send(frame) {
    this._write(JSON.stringify(frame));
  }

  _write(text) {
    if (!this._limits || this._socket.readyState !== 1) return false;
    this._socket.send(text);
    return true;
  }

  async _connect() {
    this._stopTimers();
    let token = this._token;
    try {
      if (typeof token === "function") token = await token();
    } catch (error) {
      this._lost(NO_TOKEN, String(error));
      return;
    }
    if (this._closed) return;
    const socket = new this._WebSocket(this._url, [SUBPROTOCOL]);
    this._socket = socket;
    this._goodbye = null;
    this._patience = setTimeout(() => this._abandon(socket), OPEN_WITHIN);
    socket.addEventListener("open", () => socket.send(JSON.stringify({ type: "hello", token })));
    socket.addEventListener("message", ({ data }) => socket === this._socket && this._hear(parse(data)));
    socket.addEventListener("close", ({ code, reason }) => socket === this._socket && this._lost(code, reason));
  }

  _hear(frame) {
    this._heard = true;
    const reader = this._readers.get(frame.sid);
    if (frame.type === "welcome") this._welcome(frame.limits);
    else if (frame.type === "goodbye") this._goodbye = frame;
    else if (frame.type === "published") this._settle(frame.id, ({ resolve }) => resolve(frame));
    else if (frame.id !== undefined && frame.type === "error")
      this._settle(frame.id, ({ reject }) => reject(new BrokerError(frame.code, frame.detail, frame.retry_after)));
    else reader?.hear(frame);
  }

  _welcome(limits) {
    this._limits = limits;
    clearTimeout(this._patience);
    this._stable = setTimeout(() => (this._tries = 0), STABLE);
    for (const reader of this._readers.values()) reader.begin();
    for (const id of [...this._publishes.keys()]) this._transmit(id);
    this._pinger = setInterval(() => this._ping(), limits.ping_seconds * 1000);
    this.dispatchEvent(new CustomEvent("open", { detail: { limits } }));
  }

  _ping() {
    this._heard = false;
    this._send({ type: "ping" });
    const socket = this._socket;
    setTimeout(() => this._heard || this._abandon(socket), this._limits.ping_seconds * 500);
  }

  _abandon(socket) {
    if (socket !== this._socket || this._closed) return;
    // The network is gone, so the close would wait for an answer that never comes.
    this._socket = null;
    socket.close(NO_PONG);
    this._lost(NO_PONG, "no_pong");
  }

  _lost(code, reason) {
    this._stopTimers();
    this._limits = null;
    for (const [id, { isKeyed, sent }] of [...this._publishes])
      if (sent && !isKeyed)
        this._settle(id, ({ reject }) => reject(new BrokerError("unknown", "The connection broke meanwhile.")));
    const reconnect = !this._closed && code < FINAL && this._goodbye?.reconnect !== false;
    const wait = reconnect ? this._random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this._tries) : null;
    if (reconnect) this._timer = setTimeout(() => this._connect(), wait);
    else this._end(new BrokerError(reason || String(code), `The server closed the connection: ${reason || code}.`));
    this._tries += 1;
    this.dispatchEvent(new CustomEvent("closed", { detail: { code, reason, reconnect, in: wait } }));
  }

  _end(error) {
    if (this._closed) return;
    this._closed = true;
    this._stopTimers();
    globalThis.removeEventListener?.("online", this._online);
    for (const id of [...this._publishes.keys()]) this._settle(id, ({ reject }) => reject(error));
    for (const reader of [...this._readers.values()]) reader.end(error.code === "closed" ? null : error);
  }

  _stopTimers() {
    for (const timer of [this._timer, this._patience, this._stable, this._pinger]) clearTimeout(timer);
    this._timer = null;
  }

  _settle(id, how) {
    const publish = this._publishes.get(id);
    this._publishes.delete(id);
    if (publish) how(publish);
  }
}

/** Return what a JSON text says: a message, or the first list of messages in it, each with its `payloadText`. */
export function parse(text) {
  const value = JSON.parse(text);
  const isMessage = value?.payload !== undefined;
  const messages = isMessage ? [value] : (Object.values(value ?? {}).find(Array.isArray) ?? []);
  let texts = null; // found once somebody asks
  messages.forEach((message, index) => {
    const get = () => (texts ??= payloadTexts(text, isMessage ? 1 : 3))[index];
    if (message?.payload !== undefined) Object.defineProperty(message, "payloadText", { get });
  });
  return value;
}

/** Return the texts of the payloads of the objects that are so deep in a JSON text; undefined for one without. */
function payloadTexts(text, level) {
  const texts = [];
  let depth = 0;
  let before = ""; // the token before this one
  let key = "";
  let begin = 0; // of the key's value
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (depth === level && token === ":") [key, begin] = [before, index + 1];
    if (depth === level && "},".includes(token)) {
      if (key === '"payload"') texts[texts.length - 1] = text.slice(begin, index).trim();
      key = "";
    }
    if ("{[".includes(token)) depth += 1;
    if ("}]".includes(token)) depth -= 1;
    if (depth === level && token === "{") texts.push(undefined);
    before = token;
  }
  return texts;
}

/** What both kinds of reading share: a queue of messages, handled one after the other, and the credit for more. */
class Reader {
  constructor(broker, sid, options, handlers) {
    Object.assign(this, { sid, options, handlers, _broker: broker, _queue: Promise.resolve(), _session: 0 });
    this.closed = false;
  }

  /** Read no more. */
  close() {
    if (this.closed) return;
    this.end(null);
    this._queue.then(() => this._broker._send({ type: "unsubscribe", sid: this.sid })); // behind the last ack
  }

  begin() {
    this._session += 1;
    this._running = false;
    this._handled = 0;
    this._window = Math.min(this.options.window, this._broker.limits.credit);
    this._granted = this._window;
    this._broker._send({ type: "subscribe", sid: this.sid, credit: this._granted, ...this._wish() });
  }

  hear(frame) {
    if (frame.type === "messages") for (const item of frame.items) this._enqueue((session) => this._take(item, session));
    else if (frame.type === "caught_up") this._enqueue(() => this.handlers.caughtUp?.());
    else if (frame.type === "subscribed") this._running = true;
    // Once it runs, an error is about an ack: the message comes again.
    else if (frame.type === "error" && !this._running) this.end(new BrokerError(frame.code, frame.detail));
    else if (frame.type === "unsubscribed" && frame.code !== "requested") this.end(new BrokerError(frame.code));
  }

  end(error) {
    if (this.closed) return;
    this.closed = true;
    this._broker._readers.delete(this.sid);
    if (error) (this.handlers.error ?? report)(error);
  }

  _enqueue(work) {
    const session = this._session;
    this._queue = this._queue.then(() => !this.closed && work(session)).catch(report);
  }

  _grant(session) {
    if (session !== this._session || this.closed) return; // credit is counted anew after each subscribe
    this._handled += 1;
    if (this._granted - this._handled > this._window / 2) return;
    this._granted = this._handled + this._window;
    this._broker._send({ type: "credit", sid: this.sid, limit: this._granted });
  }
}

class StreamReader extends Reader {
  /** The last position that was handed over, null before the first is known. */
  position = null;

  _wish() {
    const { topic, from, routingKey, headers } = this.options;
    const start = this.position === null ? from : { position: this.position };
    return { topic, from: start, routing_key: routingKey, headers };
  }

  hear(frame) {
    if (frame.type === "subscribed") this._enqueue(() => this._begun(frame));
    if (frame.type === "reset") this._enqueue(() => this._reset(frame));
    else super.hear(frame);
  }

  _begun({ head }) {
    // From here on a lost connection loses nothing, be it before the first message.
    if (this.position === null && this.options.from === "latest" && head !== null) this.position = head;
  }

  _reset(frame) {
    if (frame.oldest !== null) this.position = frame.oldest - 1;
    this.handlers.reset?.(frame);
  }

  async _take(item, session) {
    const placed = item.position !== null && this.position !== null;
    if (placed && item.previous > this.position) {
      if (session === this._session) this._again();
      return;
    }
    try {
      if (placed && item.position <= this.position) return;
      this.position = item.position ?? this.position;
      await this.handlers.message?.(item);
    } finally {
      this._grant(session);
    }
  }

  /** There is a gap: read again from the last position that was handed over. */
  _again() {
    this._broker._send({ type: "unsubscribe", sid: this.sid });
    this.begin();
  }
}

class PullReader extends Reader {
  _wish() {
    return { subscription: this.options.subscription };
  }

  async _take(item, session) {
    let settle = "nack";
    try {
      await this.handlers.message?.(item);
      settle = "ack";
    } finally {
      this._broker._send({ type: settle, sid: this.sid, ack_ids: [item.ack_id] }); // a claim outlives its connection
      this._grant(session);
    }
  }
}

function absolute(url) {
  const page = globalThis.location?.href;
  const target = page ? new URL(url, page) : new URL(url);
  target.protocol = target.protocol.replace("http", "ws");
  return target.href;
}

/** Show an error where the page's own are seen; the next message is handled all the same. */
function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else console.error(error);
}
