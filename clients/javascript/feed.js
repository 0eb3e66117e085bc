/**
 * Feeds on a connection: every commit of the account for a service, started again on every new socket.
 *
 * Events of a feed: `begun` {epoch, seq, why} it begins behind `seq` and not where it was left, so read what you need ·
 * `commit` {epoch, seq, at, actor, session, request, events} each once · `error` a HubError: the feed has ended.
 *
 * The hub keeps what was acknowledged, and pushes again what was not; what this feed has told already it does not tell
 * twice. A service with books of its own gives `since`, and then goes on from what it was told last.
 */

import { Emitter } from "./emitter.js";
import { HubError, mayPass } from "./errors.js";

const AGAIN_SECONDS = 1;
const LOST = "server.unavailable";

export class Feed extends Emitter {
  /** epoch and number of what was told last */
  #told = { epoch: "", seq: -1 };

  /** up to where the hub has pushed on the present socket; -1: not started there */
  #pushed = -1;

  /** the first events of a commit that comes in several pushes @type {any[]} */
  #part = [];

  /** acknowledgements without an answer @type {{seq: number, sent: boolean, resolve: Function, reject: Function}[]} */
  #acks = [];

  /** @param {Feeds} book @param {string} name @param {{epoch: string, seq: number} | null} since */
  constructor(book, name, since) {
    super();
    this.book = book;
    this.name = name;
    /** where it begins instead of where it was acknowledged */
    this.since = since;
    /** @type {HubError | null} why it has ended */
    this.error = null;
  }

  /**
   * Have the hub keep that everything up to `seq` is done: `{seq}`, or rejected with a HubError. On a new socket it
   * waits until the hub has come as far again.
   * @param {number} seq
   * @returns {Promise<{seq: number}>}
   */
  ack(seq) {
    if (this.error !== null) return Promise.reject(this.error);
    return new Promise((resolve, reject) => {
      this.#acks.push({ seq, sent: false, resolve, reject });
      this.#acknowledge();
    });
  }

  /** Give it up; its position is kept. */
  stop() {
    this.book.release(this);
    this.end(new HubError({ code: "action.cancelled", message: "The feed was stopped." }));
  }

  /** @param {{epoch: string, seq: number, resumed: boolean, why?: string}} data the answer of the start */
  begun({ epoch, seq, resumed, why }) {
    if (this.#told.epoch !== epoch || !resumed) this.#told = { epoch, seq };
    this.#pushed = seq;
    if (!resumed) this.emit("begun", { epoch, seq, why });
    this.#acknowledge();
  }

  /** @param {any} message a push of this feed */
  push({ epoch, seq, at, actor, session, request, events, more }) {
    this.#part.push(...events);
    if (more) return;
    const whole = this.#part;
    this.#part = [];
    this.#pushed = seq;
    if (epoch !== this.#told.epoch || seq > this.#told.seq) {
      this.#told = { epoch, seq };
      this.emit("commit", { epoch, seq, at, actor, session, request, events: whole });
    }
    this.#acknowledge();
  }

  /** The socket is gone, or the feed must be started again on it. */
  lost() {
    // By its own books a service goes on from what it was told, as long as this feed lives.
    if (this.since !== null && this.#told.seq >= 0) this.since = this.#told;
    this.#pushed = -1;
    this.#part = [];
  }

  /** It will not come back. @param {HubError} error */
  end(error) {
    if (this.error !== null) return;
    this.error = error;
    for (const ack of this.#acks.splice(0)) ack.reject(error);
  }

  #acknowledge() {
    for (const ack of this.#acks) {
      if (ack.sent || ack.seq > this.#pushed) continue;
      ack.sent = true;
      const done = () => { this.#acks = this.#acks.filter((other) => other !== ack); };
      this.book.connection.ask("feed.ack", { name: this.name, seq: ack.seq }, {
        ok: ({ data }) => { done(); ack.resolve(data); },
        fail: (error) => {
          ack.sent = false;
          if (error.code === LOST && this.error === null) return; // again on the next socket: twice is as once
          done();
          ack.reject(new HubError(error));
        },
      });
    }
  }
}

export class Feeds {
  /** @type {Map<string, Feed>} by name */
  #feeds = new Map();

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    connection.on("online", () => { for (const feed of this.#feeds.values()) this.#start(feed); });
    connection.on("offline", () => { for (const feed of this.#feeds.values()) feed.lost(); });
    connection.on("push", (message) => this.#push(message));
  }

  /**
   * Start a feed; one that is running already must be stopped first.
   * @param {string} name
   * @param {{epoch: string, seq: number} | null} since
   * @returns {Feed}
   */
  follow(name, since) {
    if (this.#feeds.has(name)) throw new Error(`the feed ${name} is running already; stop it first`);
    const feed = new Feed(this, name, since);
    this.#feeds.set(name, feed);
    if (this.connection.state === "online") this.#start(feed);
    return feed;
  }

  /** @param {Feed} feed */
  release(feed) {
    if (!this.#drop(feed) || this.connection.state !== "online") return;
    const quiet = () => {}; // stopping what has ended is no mistake
    this.connection.ask("feed.stop", { name: feed.name }, { ok: quiet, fail: quiet });
  }

  /** @param {Feed} feed */
  #drop(feed) {
    return this.#feeds.get(feed.name) === feed && this.#feeds.delete(feed.name);
  }

  /** @param {Feed} feed @param {HubError} error */
  #end(feed, error) {
    if (!this.#drop(feed)) return;
    feed.end(error);
    feed.emit("error", error);
  }

  /** @param {Feed} feed */
  #start(feed) {
    const { session } = this.connection;
    const here = () => this.connection.session === session && this.#feeds.get(feed.name) === feed;
    const since = feed.since === null ? {} : { since: feed.since };
    this.connection.ask("feed.start", { name: feed.name, ...since }, {
      ok: ({ data }) => { if (here()) feed.begun(data); },
      fail: (error) => {
        if (!here() || this.connection.state !== "online") return; // starts again with the next socket
        if (!mayPass(error)) this.#end(feed, new HubError(error));
        else {
          this.connection.platform.later(() => {
            if (here() && this.connection.state === "online") this.#start(feed);
          }, error.retry_after ?? AGAIN_SECONDS);
        }
      },
    });
  }

  /** @param {any} message */
  #push(message) {
    if (message.op === "feed") this.#feeds.get(message.name)?.push(message);
    else if (message.op === "reset" && message.feed !== undefined) {
      const feed = this.#feeds.get(message.feed);
      if (feed === undefined) return;
      if (message.why === "taken") {
        this.#end(feed, new HubError({ code: "action.cancelled", message: "Somebody else has started this feed." }));
      } else {
        feed.lost();
        this.#start(feed);
      }
    }
  }
}
