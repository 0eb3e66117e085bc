/**
 * Channels on a connection: joined with a state, joined again on every new socket, roster kept.
 *
 * Events of a channel: `roster` `{joined, updated, left, count?}` · `message` a message push, each once and in the order of the
 * channel, also over reconnects · `gap` `{why}`: messages were missed that the hub no longer has (`epoch`, `expired`) ·
 * `lock` `{holder, number} | null`: who holds the lock of the channel's record now ·
 * `error` a HubError: the hub refuses the channel and it has ended · `ended`: its record was deleted · `refused` a
 * HubError: the hub did not take a new state, or a wish for when the session vanishes.
 */

import { Emitter } from "./emitter.js";
import { HubError, mayPass } from "./errors.js";
import { Roster } from "./roster.js";

const AGAIN_SECONDS = 1;

/** @typedef {{kind: "user" | "device", rec: string, name: string, session: string}} Holder of a lock */
/** @typedef {"full" | "count" | "none" | {users?: string[], devices?: string[]}} Wanted of whom to be told */

export class Channel extends Emitter {
  /** @type {any[]} presence pushes that overtook the answer of the join; null = joined or not joining */
  #early = [];

  /** whether a join is under way on the present socket */
  #joining = false;

  /** the page of the roster that is being read; null = none */
  #reading = /** @type {{after: string} | null} */ (null);

  /** where the history of messages stands: `{epoch, offset}`; null before the first join */
  #place = /** @type {{epoch: string, offset: number} | null} */ (null);

  /**
   * @param {Channels} book
   * @param {string} name `namespace:id`
   * @param {any} state what the others see about this session; null = joined without being seen
   * @param {Wanted} [wanted]
   */
  constructor(book, name, state, wanted = "full") {
    super();
    this.book = book;
    this.name = name;
    this.state = state;
    this.wanted = wanted;
    /** @type {Record<string, any>[] | null} what is done when this session vanishes */
    this.on_drop = null;
    this.roster = new Roster();
    /** @type {{holder: Holder, number: number} | null} who holds the lock of the channel's record, as the hub told last */
    this.lock = null;
    /** @type {HubError | null} */
    this.error = null;
  }

  /** The members in the order they came. */
  get members() {
    return [...this.roster.members.values()];
  }

  /** How many members there are, as far as is told: more than `members` while a long list of them is read. */
  get count() {
    return this.roster.count;
  }

  /** Say something new about this session; kept for the next join too. @param {any} state */
  setState(state) {
    if (JSON.stringify(state) === JSON.stringify(this.state)) return;
    const unseen = this.state === null;
    this.state = state;
    if (this.roster.version === null) return; // it goes out with the join
    if (unseen) this.join();
    else this.#update("state");
  }

  /** Say of whom to be told from now on. @param {Wanted} wanted */
  want(wanted) {
    if (JSON.stringify(wanted) === JSON.stringify(this.wanted)) return;
    this.wanted = wanted;
    if (this.roster.version !== null && !this.#joining) this.join();
  }

  /**
   * Say what the hub shall do in this session's name when it vanishes from here, for good and without a word; null: no
   * longer anything. Kept for every session to come. What is not allowed is told by `refused`.
   * @param {Record<string, any>[] | null} wishes `record.update` and `channel.send` requests
   */
  onDrop(wishes) {
    this.on_drop = wishes;
    if (this.roster.version !== null) this.#update("on_drop");
  }

  /** @param {"state" | "on_drop"} what */
  #update(what) {
    const { connection } = this.book;
    connection.ask("presence.update", { channel: this.name, [what]: this[what] }, {
      ok: () => {},
      fail: (error) => {
        if (!mayPass(error)) this.emit("refused", new HubError(error));
        else this.book.later(this, error.retry_after ?? AGAIN_SECONDS, () => this.#update(what));
      },
    });
  }

  /**
   * Send a message to everybody in the channel; resolves to `{offset?}`, its place where it is kept.
   * @param {string} event
   * @param {any} data
   * @param {{to?: {session?: string, user?: string, device?: string}, echo?: boolean, ttl?: number}} [options] `to` names
   *   for whom it is, `echo: false` leaves this session out, after `ttl` seconds nobody is told who comes late
   * @returns {Promise<{offset?: number}>}
   */
  send(event, data, options = {}) {
    return new Promise((resolve, reject) => {
      this.book.connection.ask("channel.send", { channel: this.name, event, data, ...options }, {
        ok: (answer) => {
          // without echo the answer stands where the message would
          if (options.echo === false && answer.data.offset !== undefined) this.#pass(answer.data.offset);
          resolve(answer.data);
        },
        fail: (error) => reject(new HubError(error)),
      });
    });
  }

  /** Move on to an offset, if it is the next; where there is a hole before it, recover. @param {number} offset */
  #pass(offset) {
    if (this.#joining || this.#place === null || offset <= this.#place.offset) return false; // in the answer of a join
    if (offset > this.#place.offset + 1) {
      this.join();
      return false;
    }
    this.#place.offset = offset;
    return true;
  }

  /** Leave for good. */
  leave() {
    this.book.forget(this);
  }

  /** Join on the present socket. */
  join() {
    const { connection } = this.book;
    const { session } = connection;
    const state = this.state;
    const recover = this.#place !== null ? { recover: { ...this.#place } } : {};
    const presence = state === null ? {} : { presence: { state } };
    const { wanted } = this;
    const roster = wanted === "full" ? {} : { roster: wanted };
    this.#joining = true;
    this.#reading = null;
    this.#early = [];
    connection.ask("channel.join", { channel: this.name, ...presence, ...roster, ...recover }, {
      ok: ({ data }) => {
        if (connection.session !== session) return;
        this.#joined(data);
        if (this.state !== state && this.state !== null) this.#update("state");
        if (this.on_drop !== null) this.#update("on_drop");
        if (this.wanted !== wanted && !this.#joining) this.join();
      },
      fail: (error) => {
        if (connection.session !== session) return;
        this.#joining = false;
        if (mayPass(error)) this.book.later(this, error.retry_after ?? AGAIN_SECONDS, () => this.join());
        else {
          this.error = new HubError(error);
          this.book.forget(this);
          this.emit("error", this.error);
        }
      },
    });
  }

  /** @param {any} data */
  #joined(data) {
    this.#joining = false;
    const again = this.#place !== null;
    this.#place = { epoch: data.epoch, offset: data.offset };
    this.emit("roster", this.roster.open(data));
    this.#locked(data.lock ?? null);
    if (again && data.why !== undefined) this.emit("gap", { why: data.why });
    for (const message of data.messages ?? []) this.emit("message", message);
    for (const push of this.#early) this.presence(push);
    this.#early = [];
    if (!this.#joining) this.#read(data.next);
  }

  /** Read the roster's next page, if there is one, and so on, one at a time. @param {string | undefined} after */
  #read(after) {
    this.#reading = null;
    if (after === undefined || !this.book.holds(this)) return;
    const reading = { after };
    this.#reading = reading;
    this.book.connection.ask("presence.roster", { channel: this.name, after }, {
      repeat: "socket", // the next socket joins anew
      ok: ({ data }) => {
        if (this.#reading !== reading) return;
        this.#changed(this.roster.page(data));
        if (this.#reading === reading) this.#read(data.next);
      },
      fail: (error) => {
        this.book.later(this, error.retry_after ?? AGAIN_SECONDS, () => {
          if (this.#reading !== reading) return;
          if (mayPass(error)) this.#read(after);
          else this.join(); // its answer begins the list again, or says why not
        });
      },
    });
  }

  /** @param {import("./roster.js").RosterChange} change */
  #changed(change) {
    const much = change.joined.length + change.updated.length + change.left.length > 0;
    if (much || change.count !== undefined) this.emit("roster", change);
  }

  /** @param {any} push */
  presence(push) {
    if (this.#joining) {
      this.#early.push(push);
      return;
    }
    const change = this.roster.push(push);
    if (change === "hole") this.join();
    else this.#changed(change);
  }

  /** @param {{holder: Holder, number: number} | null} lock */
  #locked(lock) {
    const before = this.lock;
    this.lock = lock;
    if (before?.number !== lock?.number) this.emit("lock", lock);
  }

  /** @param {any} push */
  message(push) {
    if (push.event === "$lock") {
      const { holder, number } = push.data;
      if (!this.#joining) this.#locked(holder === null ? null : { holder, number });
      return;
    }
    if (push.offset === undefined || this.#pass(push.offset)) this.emit("message", push);
  }

  /** Messages do not go on by themselves. @param {any} push */
  reset(push) {
    if (push.why === "ended") {
      this.book.forget(this);
      this.emit("ended", push);
    } else if (!this.#joining) this.join();
  }

  /** The socket is gone. */
  lost() {
    this.#joining = false;
    this.#reading = null;
    this.roster.lost();
  }
}

export class Channels {
  /** @type {Map<string, Channel>} by name */
  #joined = new Map();

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    connection.on("online", () => { for (const channel of this.#joined.values()) channel.join(); });
    connection.on("offline", () => { for (const channel of this.#joined.values()) channel.lost(); });
    connection.on("push", (message) => {
      const channel = this.#joined.get(message.channel);
      if (message.op === "presence") channel?.presence(message);
      else if (message.op === "message") channel?.message(message);
      else if (message.op === "reset") channel?.reset(message);
    });
  }

  /**
   * Join a channel, or get the one that is joined.
   * @param {string} name
   * @param {any} state
   * @param {Wanted} [wanted] undefined = as it is, or `full`
   * @returns {Channel}
   */
  join(name, state, wanted) {
    const known = this.#joined.get(name);
    if (known !== undefined) {
      known.setState(state);
      if (wanted !== undefined) known.want(wanted);
      return known;
    }
    const channel = new Channel(this, name, state, wanted);
    this.#joined.set(name, channel);
    if (this.connection.state === "online") channel.join();
    return channel;
  }

  /**
   * Do something again for a channel, if it and the present socket still live then: a new socket joins anew anyway.
   * @param {Channel} channel
   * @param {number} seconds
   * @param {() => void} again
   */
  later(channel, seconds, again) {
    const { session } = this.connection;
    this.connection.platform.later(() => {
      const same = this.connection.state === "online" && this.connection.session === session;
      if (same && this.holds(channel)) again();
    }, seconds);
  }

  /** Whether a channel is still one of these. @param {Channel} channel */
  holds(channel) {
    return this.#joined.get(channel.name) === channel;
  }

  /** @param {Channel} channel */
  forget(channel) {
    if (!this.holds(channel)) return;
    this.#joined.delete(channel.name);
    if (channel.roster.version === null || this.connection.state !== "online") return;
    const quiet = () => {}; // leaving what is left already is no mistake
    this.connection.ask("channel.leave", { channel: channel.name }, { ok: quiet, fail: quiet });
  }
}
