/**
 * The open requests of one client: which wait for a socket, which wait for an answer, and what becomes of
 * them when the socket is lost. Knows messages and ids; no socket, no timer.
 *
 * A read is asked again. A write carries a `key`, so it is sent again unchanged and happens once. What belongs
 * to the socket itself (hello, watches, channels, feeds) ends with it. Anything else that was sent has an unknown
 * outcome and is refused with `write.unknown`.
 */

/** @typedef {"read" | "key" | "socket" | "once"} Repeat */
/**
 * @typedef {object} Entry
 * @property {number} id
 * @property {string} op the operation
 * @property {Record<string, any>} message what goes over the wire, the same on every try
 * @property {Repeat} repeat
 * @property {boolean} sent whether the present socket has it
 * @property {boolean} tried whether any socket ever had it
 * @property {(answer: {data: any, seq?: number}) => void} ok called in the order of the wire
 * @property {(error: import("./errors.js").ErrorBody) => void} fail
 * @property {any} [timer] of the caller
 */

const READS = new Set([
  "record.get", "record.find", "record.search", "record.aggregate", "record.history", "presence.roster",
  "presence.status", "schema.describe", "lookup.list", "lookup.resolve", "file.grant", "manifest.get",
  "lock.take", "lock.release",
]);

const WRITES = new Set([
  "record.create", "record.upsert", "record.update", "record.move", "record.delete", "record.restore",
  "record.revert", "record.update_where", "record.delete_where", "record.batch", "action.call",
]);

const OF_THE_SOCKET = /^(session|watch|channel|feed)\.(?!send$)|^(presence\.update|lock\.keep|client\.reply)$/;

/**
 * Say how an operation may be repeated after its socket was lost.
 * @param {string} op
 * @returns {Repeat}
 */
export function repeatOf(op) {
  if (READS.has(op)) return "read";
  if (WRITES.has(op)) return "key";
  return OF_THE_SOCKET.test(op) ? "socket" : "once";
}

export class Requests {
  /** @type {Map<number, Entry>} open requests, oldest first */
  #open = new Map();

  /** the last id given; ids are never used twice by one client */
  #last = 0;

  /** @param {() => string} newKey makes the key of a write, unlike any other */
  constructor(newKey) {
    this.newKey = newKey;
  }

  get size() {
    return this.#open.size;
  }

  /**
   * Note a new request.
   * @param {string} op
   * @param {Record<string, any>} fields
   * @param {Pick<Entry, "ok" | "fail">} outcome
   * @param {Repeat} [repeat]
   * @returns {Entry}
   */
  add(op, fields, { ok, fail }, repeat = repeatOf(op)) {
    this.#last += 1;
    const id = this.#last;
    const key = repeat === "key" && fields.key === undefined ? { key: this.newKey() } : {};
    const message = { op, id, ...fields, ...key };
    const entry = { id, op: op, message, repeat, sent: false, tried: false, ok, fail };
    this.#open.set(id, entry);
    return entry;
  }

  /**
   * Take the request out that an answer belongs to.
   * @param {number} id
   * @returns {Entry | undefined}
   */
  settle(id) {
    const entry = this.#open.get(id);
    this.#open.delete(id);
    return entry;
  }

  /** @param {number} id */
  find(id) {
    return this.#open.get(id);
  }

  /** The requests no present socket has, in the order they were made. */
  unsent() {
    return [...this.#open.values()].filter((entry) => !entry.sent);
  }

  /** @param {Entry} entry */
  markSent(entry) {
    entry.sent = true;
    entry.tried = true;
  }

  /**
   * The socket is gone: keep what may be repeated, and give back what may not, already taken out.
   * @returns {Entry[]}
   */
  lost() {
    const refused = [];
    for (const entry of this.#open.values()) {
      if (entry.repeat === "socket" || (entry.sent && entry.repeat === "once")) {
        this.#open.delete(entry.id);
        refused.push(entry);
      }
      entry.sent = false;
    }
    return refused;
  }

  /** Take everything out: the client stops. */
  drain() {
    const all = [...this.#open.values()];
    this.#open.clear();
    return all;
  }
}

/**
 * What an unanswered request is refused with when waiting has no more sense.
 * @param {Entry} entry
 * @param {string} sentence what happened
 * @returns {import("./errors.js").ErrorBody}
 */
export function unanswered(entry, sentence) {
  if (entry.tried && (entry.repeat === "key" || entry.repeat === "once")) {
    return { code: "write.unknown", message: `${sentence} Whether the change was made is not known.` };
  }
  return { code: "server.unavailable", message: sentence };
}
