/**
 * Locks: what this session says that it edits, kept alive for as long as it is held, over reconnects too.
 *
 * A lock is advice: it keeps nobody from writing. Events of a lock: `lost` `{why, holder}`: somebody took it over
 * (`stolen`), it `lapsed`, its record was `deleted`, or the code of a refusal · `again` `{number}`: it was lost and got
 * back in between, so read the record again.
 */

import { Emitter } from "./emitter.js";
import { HubError, mayPass } from "./errors.js";

export class Lock extends Emitter {
  /** @param {Locks} book @param {string} type @param {string} rec @param {{number: number, holder: any}} taken */
  constructor(book, type, rec, { number, holder }) {
    super();
    this.book = book;
    this.type = type;
    this.rec = rec;
    this.number = number;
    this.holder = holder;
    /** whether this session has the lock, as far as is known */
    this.held = true;
  }

  /** Let it go; where it is lost already, nothing. */
  async release() {
    if (!this.held) return;
    this.held = false;
    this.book.forget(this);
    await this.book.connection.request("lock.release", { type: this.type, rec: this.rec });
  }

  /** @param {{number: number, holder: any}} data */
  kept({ number, holder }) {
    if (!this.held) return;
    const other = number !== this.number;
    this.number = number;
    this.holder = holder;
    if (other) this.emit("again", { number });
  }

  /** @param {string} why @param {any} holder */
  lose(why, holder) {
    if (!this.held) return;
    this.held = false;
    this.holder = holder;
    this.book.forget(this);
    this.emit("lost", { why, holder });
  }
}

export class Locks {
  /** @type {Map<string, Lock>} by type and record */
  #held = new Map();

  /** @type {any} */
  #timer = null;

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    connection.on("online", () => { for (const lock of this.#held.values()) this.#keep(lock); });
    connection.on("push", (message) => {
      if (message.op === "message" && message.event === "$lock") this.#told(message.data);
    });
  }

  /**
   * @param {string} type
   * @param {string} rec
   * @param {boolean} steal
   * @returns {Promise<Lock>}
   */
  take(type, rec, steal) {
    return new Promise((resolve, reject) => {
      this.connection.ask("lock.take", { type, rec, ...(steal ? { steal } : {}) }, {
        ok: ({ data }) => {
          const lock = new Lock(this, type, rec, data);
          this.#held.set(`${type} ${rec}`, lock);
          this.#later(data.lease / 3);
          resolve(lock);
        },
        fail: (error) => reject(new HubError(error)),
      });
    });
  }

  /** @param {Lock} lock */
  forget(lock) {
    const key = `${lock.type} ${lock.rec}`;
    if (this.#held.get(key) === lock) this.#held.delete(key);
  }

  /** @param {number} seconds */
  #later(seconds) {
    this.#timer ??= this.connection.platform.later(() => {
      this.#timer = null;
      if (this.#held.size > 0) this.#later(seconds);
      if (this.connection.state === "online") for (const lock of this.#held.values()) this.#keep(lock);
    }, seconds);
  }

  /** @param {Lock} lock */
  #keep(lock) {
    this.connection.ask("lock.keep", { type: lock.type, rec: lock.rec }, {
      ok: ({ data }) => lock.kept(data),
      fail: (error) => {
        const { holder = null } = /** @type {any} */ (error.details ?? {});
        if (!mayPass(error)) lock.lose(error.code, holder);
      },
    });
  }

  /** @param {any} news */
  #told({ type, rec, why, number, holder, was }) {
    const lock = this.#held.get(`${type} ${rec}`);
    const mine = this.connection.session?.session;
    if (lock === undefined || holder?.session === mine) return;
    if (was?.session === mine && number >= lock.number) lock.lose(why, holder);
  }
}
