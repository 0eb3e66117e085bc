/**
 * One socket to the hub that is kept alive: hello, resume, beats, and coming back when it is lost.
 *
 * Knows the life of a socket and the requests on it. Does not know records, watches or channels: those
 * listen to `online`, `offline`, `horizon` and `push`, and start again what they hold.
 *
 * Events: `state` `{state, was, error?, retry_seconds?, final?}` · `online` the hello's answer · `offline` ·
 * `push` a message without id · `horizon` a seq up to which everything owed was received · `notice`.
 */

import { Backoff } from "./backoff.js";
import { sentence, verdict } from "./closing.js";
import { Emitter } from "./emitter.js";
import { HubError, isAboutIdentity, mayPass, wasNotRun } from "./errors.js";
import { platform } from "./platform.js";
import { Requests, unanswered } from "./requests.js";

/** @typedef {"signed-out" | "connecting" | "online" | "offline"} State */
/** @typedef {import("./errors.js").ErrorBody} ErrorBody */
/**
 * @typedef {object} Options
 * @property {string} url of the hub's socket, for example `wss://hub.example/ws`
 * @property {string | null} [token] API key, JWT or session token; null = nobody yet
 * @property {boolean} [guest] connect without a token too
 * @property {string | null} [account] id or name; null = the only or the default one
 * @property {{name: string, version: string}} [client]
 * @property {number} [request_seconds] how long a request may take, time without a connection included
 * @property {Partial<import("./platform.js").Platform>} [platform]
 * @property {Backoff} [backoff]
 */

const HELLO_SECONDS = 10;
const BEAT_GRACE_SECONDS = 10;
const AGAIN_SECONDS = 0.5;

export class Connection extends Emitter {
  /** @type {any} the present socket, from its making to its end */
  #socket = null;

  /** @type {string | null} secret that restores the session on the next socket */
  #resume = null;

  /** @type {Set<any>} timers of the present socket */
  #timers = new Set();

  /** @type {any} timer of the next try */
  #retry = null;

  /** @type {number | null} clock before which a goaway asked us not to come back */
  #not_before = null;

  /** when the last frame came, seconds of the platform's clock */
  #heard = 0;

  /** ids of all sessions this client has had: a change of an earlier one is its own too */
  #sessions = new Set();

  /** a running client tries to be online; a stopped one does not */
  #running = false;

  /** @param {Options} options */
  constructor(options) {
    super();
    this.url = options.url;
    this.token = options.token ?? null;
    this.guest = options.guest ?? false;
    this.account = options.account ?? null;
    this.client = options.client ?? { name: "aether-hub-javascript", version: "0.1.0" };
    this.request_seconds = options.request_seconds ?? 30;
    this.platform = platform(options.platform);
    this.backoff = options.backoff ?? new Backoff({ random: this.platform.random });
    this.requests = new Requests(this.platform.newKey);
    /** @type {State} */
    this.state = "offline";
    /** @type {any} answer of the last hello; null before the first */
    this.session = null;
    /** @type {"active" | "idle" | "away"} what beats say about the person */
    this.status = "active";
    /** @type {Record<string, any> | null} what beats say about a device: cpu, memory, disk in percent, version, mode */
    this.telemetry = null;
  }

  /** Begin, and keep trying until `stop`. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#connect();
  }

  /** End cleanly; open requests are refused. */
  stop() {
    this.#running = false;
    this.#leave(1000);
    this.#enter("offline", { final: true });
    for (const entry of this.requests.drain()) this.#refuse(entry, unanswered(entry, "The client was stopped."));
  }

  /** Go on with another token, for example after `signed-out`. @param {string | null} token */
  signIn(token) {
    this.token = token;
    this.#resume = null;
    this.#not_before = null;
    this.#running = true;
    this.#leave(1000);
    this.#connect();
  }

  /** Forget the token and end the socket; the server-side sign-out is `signOut` of auth.js. */
  signOut() {
    this.token = null;
    this.#resume = null;
    this.#leave(1000);
    this.#enter("signed-out");
    for (const entry of this.requests.drain()) this.#refuse(entry, unanswered(entry, "Signed out."));
  }

  /** Try now instead of waiting, for example because the network came back. */
  retryNow() {
    if (this.#running && this.#retry !== null && this.#not_before === null) this.#connect();
  }

  /** Say how present the person is; goes out with a beat at once. @param {"active" | "idle" | "away"} status */
  setStatus(status) {
    if (status === this.status) return;
    this.status = status;
    if (this.state === "online") this.#sendBeat();
  }

  /** Whether a change's `origin` is this client, on this socket or an earlier one. @param {string | null | undefined} origin */
  isOwn(origin) {
    return this.#sessions.has(origin);
  }

  /**
   * Ask the hub and wait for its answer's data.
   * @param {string} op
   * @param {Record<string, any>} [fields]
   * @param {{seconds?: number}} [options]
   * @returns {Promise<any>} rejected with a HubError
   */
  request(op, fields = {}, { seconds = this.request_seconds } = {}) {
    return new Promise((resolve, reject) => {
      this.ask(op, fields, {
        seconds,
        ok: (answer) => resolve(answer.data),
        fail: (error) => reject(new HubError(error)),
      });
    });
  }

  /**
   * The same with functions that are called in the very order of the wire, before the next message is read.
   * @param {string} op
   * @param {Record<string, any>} fields
   * @param {{
   *   ok: (answer: {data: any, seq?: number}) => void, fail: (error: ErrorBody) => void, seconds?: number,
   *   repeat?: import("./requests.js").Repeat,
   * }} outcome `repeat`: undefined = as the operation is repeated
   */
  ask(op, fields, { ok, fail, seconds = this.request_seconds, repeat }) {
    const entry = this.requests.add(op, fields, { ok, fail }, repeat);
    entry.timer = this.platform.later(() => {
      this.requests.settle(entry.id);
      fail(unanswered(entry, `No answer within ${seconds} seconds.`));
    }, seconds);
    this.#flush();
  }

  #connect() {
    this.platform.cancel(this.#retry);
    this.#retry = null;
    if (this.token === null && !this.guest) {
      this.#enter("signed-out");
      return;
    }
    this.#enter("connecting");
    const socket = new this.platform.WebSocket(this.url, ["aether.v1.json"]);
    this.#socket = socket;
    const mine = (/** @type {(event: any) => void} */ handle) => (/** @type {any} */ event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.onopen = mine(() => this.#hello());
    socket.onmessage = mine((event) => this.#frame(event.data));
    socket.onclose = mine((event) => this.#closed(event.code));
    socket.onerror = () => {}; // a close always follows, and it carries the code
    this.#soon(HELLO_SECONDS, () => this.#abandon());
  }

  #hello() {
    /** @type {Record<string, any>} */
    const fields = { client: this.client };
    if (this.token !== null) fields.token = this.token;
    if (this.account !== null) fields.account = this.account;
    if (this.#resume !== null) fields.resume = this.#resume;
    const entry = this.requests.add("session.hello", fields, {
      ok: ({ data }) => this.#greeted(data),
      fail: (error) => this.#refused(error),
    });
    this.requests.markSent(entry);
    this.#socket.send(JSON.stringify(entry.message));
  }

  /** @param {any} data the hello's answer */
  #greeted(data) {
    this.#cancelTimers();
    this.session = data;
    this.#sessions.add(data.session);
    this.#resume = data.resume ?? null;
    this.backoff.online(this.platform.now());
    this.#soon(data.heartbeat, () => this.#beat());
    this.#enter("online");
    this.emit("online", data);
    this.#flush();
  }

  /** @param {ErrorBody} error the hello was refused */
  #refused(error) {
    if (error.path === "resume" && this.#resume !== null) {
      this.#resume = null;
      this.#hello();
    } else if (isAboutIdentity(error.code)) this.#end("signed-out", error);
    else if (mayPass(error)) this.#abandon(error);
    else this.#end("offline", error);
  }

  #beat() {
    this.#sendBeat();
    this.#soon(this.session.heartbeat, () => this.#beat());
  }

  #sendBeat() {
    const sent = this.platform.now();
    const quiet = () => {};
    const said = { status: this.status, ...(this.telemetry === null ? {} : { telemetry: this.telemetry }) };
    this.ask("session.beat", said, { ok: quiet, fail: quiet, seconds: BEAT_GRACE_SECONDS * 2 });
    this.#soon(BEAT_GRACE_SECONDS, () => { if (this.#heard < sent) this.#abandon(); });
  }

  /** @param {unknown} text */
  #frame(text) {
    this.#heard = this.platform.now();
    if (typeof text !== "string") return;
    const socket = this.#socket;
    let decoded;
    try {
      decoded = JSON.parse(text);
    } catch (error) {
      this.#abandon({ code: "frame.malformed", message: `The hub sent a frame that is not JSON: ${error}` });
      return;
    }
    for (const message of Array.isArray(decoded) ? decoded : [decoded]) {
      if (this.#socket !== socket) return; // an earlier member ended this socket
      this.#message(message);
    }
  }

  /** @param {any} message */
  #message(message) {
    if (message.op === "ok" || message.op === "error") this.#answer(message);
    else if (message.op === "goaway") this.#goaway(message);
    else if (message.op === "notice") this.emit("notice", message);
    else this.emit("push", message);
  }

  /** @param {any} message */
  #answer(message) {
    const entry = this.requests.find(message.id);
    if (entry === undefined) return; // late: its request was given up
    const again = message.code === "write.unknown" && entry.repeat === "key";
    if (message.op === "error" && entry.op !== "session.hello" && (again || wasNotRun(message.code))) {
      // Not run, or outcome unknown under a key: the same message again, within the request's own time.
      this.#soon(message.retry_after ?? AGAIN_SECONDS, () => { entry.sent = false; this.#flush(); });
      return;
    }
    this.requests.settle(message.id);
    this.platform.cancel(entry.timer);
    // A watch.start moves only its own position: watch.js reads it from the answer.
    if (typeof message.seq === "number" && entry.op !== "watch.start") this.emit("horizon", message.seq);
    if (message.op === "ok") entry.ok(message);
    else entry.fail(message);
  }

  /** @param {{retry_after: number, jitter: number}} message */
  #goaway({ retry_after, jitter }) {
    const seconds = retry_after + jitter * this.platform.random();
    this.#not_before = this.platform.now() + seconds;
    this.#soon(seconds, () => this.#abandon()); // the hub closes; should it not, we do
  }

  /** @param {number} code */
  #closed(code) {
    const what = verdict(code);
    if (what === "return") this.#abandon();
    else {
      const identity = what === "sign-in";
      this.#end(identity ? "signed-out" : "offline", {
        code: identity ? "auth.invalid" : "access.denied",
        message: sentence(code),
      });
    }
  }

  /** The socket is no use any more: come back later. @param {ErrorBody} [error] */
  #abandon(error) {
    this.#leave(1000);
    const now = this.platform.now();
    let seconds = this.backoff.lost(now);
    if (error?.retry_after) seconds += error.retry_after;
    if (this.#not_before !== null) seconds = Math.max(seconds, this.#not_before - now);
    this.#retry = this.platform.later(() => {
      this.#not_before = null;
      this.#connect();
    }, seconds);
    this.#enter("offline", { error, retry_seconds: seconds });
  }

  /** Do not come back by ourselves. @param {State} state @param {ErrorBody} error */
  #end(state, error) {
    this.#running = false;
    this.#resume = null;
    this.#leave(1000);
    this.#enter(state, { error, final: true });
    for (const entry of this.requests.drain()) this.#refuse(entry, error);
  }

  /** Let go of the present socket, if there is one. @param {number} code */
  #leave(code) {
    this.#cancelTimers();
    this.platform.cancel(this.#retry);
    this.#retry = null;
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    socket.close(code);
    for (const entry of this.requests.lost()) {
      this.#refuse(entry, unanswered(entry, "The connection was lost before the answer came."));
    }
    this.emit("offline");
  }

  /** @param {import("./requests.js").Entry} entry @param {ErrorBody} error */
  #refuse(entry, error) {
    this.platform.cancel(entry.timer);
    if (entry.op !== "session.hello") entry.fail(error);
  }

  /** Send what waits, when there is a socket that will live. */
  #flush() {
    if (this.state !== "online" || this.#not_before !== null) return;
    const entries = this.requests.unsent();
    for (const entry of entries) {
      this.requests.markSent(entry);
      this.#socket.send(JSON.stringify(entry.message));
    }
  }

  /** @param {State} state @param {object} [detail] */
  #enter(state, detail = {}) {
    const was = this.state;
    this.state = state;
    this.emit("state", { state, was, ...detail });
  }

  /** A timer that ends with the socket. @param {number} seconds @param {() => void} fn */
  #soon(seconds, fn) {
    const timer = this.platform.later(() => {
      this.#timers.delete(timer);
      fn();
    }, seconds);
    this.#timers.add(timer);
  }

  #cancelTimers() {
    for (const timer of this.#timers) this.platform.cancel(timer);
    this.#timers.clear();
  }
}
