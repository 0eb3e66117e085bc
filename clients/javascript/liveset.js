/**
 * The records of one watched query, kept equal to the hub's answer by its messages. Pure: messages in, what
 * changed out; no socket, no time.
 *
 * Exactly once: the set has a position (a seq of the account); what is not above it was applied already. After
 * a lost socket the next `watch.start` says the position and gets what was missed, or a whole new snapshot. The
 * old content stays until a new snapshot is complete, and the difference is told like any other change.
 */

import { byOrder } from "./order.js";

/** @typedef {Record<string, any> & {id: string, version: number}} HubRecord */
/**
 * @typedef {object} Change exactly what became different by one message
 * @property {"snapshot" | "change"} kind
 * @property {number} seq position after it
 * @property {string | null} origin session of the writer, where the hub says so
 * @property {HubRecord[]} entered
 * @property {{before: HubRecord, record: HubRecord}[]} updated
 * @property {{record: HubRecord, why: string}[]} left
 */
/** @typedef {"idle" | "starting" | "loading" | "live"} Phase */

const MOST_HAVE = 500; // a window with more ids than this starts again instead of resuming

export class LiveSet {
  /** @type {(left: any, right: any) => number} */
  #compare;
  /** @type {HubRecord[] | null} the content in order, until it changes */
  #ordered = null;

  /** @param {Record<string, any>} query fields of `watch.start` without `since` */
  constructor(query) {
    this.query = query;
    /** @type {Map<string, HubRecord>} the content, by id */
    this.records = new Map();
    /** @type {Phase} idle without a socket, loading while pages of a snapshot are missing */
    this.phase = "idle";
    /** whether the content was complete at least once */
    this.ready = false;
    /** @type {string | null} the hub's opaque mark that belongs to `seq` */
    this.mark = null;
    /** position: every change up to here is in `records` */
    this.seq = 0;
    /** @type {string | null} name of the shared query on the present socket */
    this.watch = null;
    /** @type {{records: Map<string, HubRecord>, seq: number, mark: string, later: any[]} | null} unfinished snapshot */
    this.staged = null;
    /** a message came that cannot be true of what this set holds: start again from a snapshot */
    this.astray = false;
    this.#compare = byOrder(query.order ?? []);
  }

  /** The content in the `order` of the query, `id` last; do not change it. */
  get ordered() {
    this.#ordered ??= [...this.records.values()].sort(this.#compare);
    return this.#ordered;
  }

  /** Begin on a socket: the fields of `watch.start`. */
  begin() {
    this.phase = "starting";
    this.staged = null;
    if (this.mark === null) return this.query;
    /** @type {Record<string, any>} */
    const since = { mark: this.mark, seq: this.seq };
    if (this.query.limit !== undefined) {
      if (this.records.size > MOST_HAVE) return this.query;
      since.have = Object.fromEntries([...this.records.values()].map(({ id, version }) => [id, version]));
    }
    return { ...this.query, since };
  }

  /**
   * Take the answer of `watch.start`.
   * @param {any} data
   * @returns {Change[]}
   */
  started(data) {
    this.watch = data.watch;
    if (data.resumed) {
      this.phase = "live";
      this.mark = data.mark;
      const changes = data.events.flatMap((/** @type {any} */ missed) => this.#apply(missed));
      this.seq = Math.max(this.seq, data.seq);
      return changes;
    }
    this.phase = "loading";
    this.staged = { records: new Map(), seq: data.seq, mark: data.mark, later: [] };
    return this.#page(data.records, !data.more);
  }

  /**
   * Take a further page of a large snapshot.
   * @param {{records: HubRecord[], last?: boolean}} push
   * @returns {Change[]}
   */
  snapshot(push) {
    return this.staged === null ? [] : this.#page(push.records, push.last === true);
  }

  /**
   * Take a `change` push.
   * @param {any} push
   * @returns {Change[]}
   */
  change(push) {
    if (this.staged !== null) {
      this.staged.later.push(push); // later pages may hold older states than this
      return [];
    }
    return this.phase === "live" ? this.#apply(push) : [];
  }

  /** Everything owed up to this seq was received on this socket. @param {number} seq */
  horizon(seq) {
    if (this.phase === "live" && seq > this.seq) this.seq = seq;
  }

  /** The socket is gone. */
  lost() {
    this.phase = "idle";
    this.staged = null;
    this.watch = null;
  }

  /** The hub asks to start again from a snapshot; the content stays until it is there. */
  reset() {
    this.lost();
    this.mark = null;
    this.astray = false;
  }

  /** @param {HubRecord[]} records @param {boolean} last @returns {Change[]} */
  #page(records, last) {
    const staged = /** @type {NonNullable<LiveSet["staged"]>} */ (this.staged);
    for (const record of records) staged.records.set(record.id, record);
    if (!last) return [];
    const change = difference(this.records, staged.records, staged.seq);
    this.records = staged.records;
    this.#ordered = null;
    this.seq = staged.seq;
    this.mark = staged.mark;
    this.staged = null;
    this.phase = "live";
    this.ready = true;
    return [change, ...staged.later.flatMap((push) => this.#apply(push))];
  }

  /** @param {{seq: number, origin?: string, events: any[]}} body @returns {Change[]} */
  #apply({ seq, origin, events }) {
    if (seq <= this.seq || this.astray) return [];
    /** @type {Map<string, {record: HubRecord | null, why: string}>} what this push makes of each record it names */
    const made = new Map();
    for (const event of events) {
      const before = made.get(event.rec)?.record ?? (made.has(event.rec) ? null : this.records.get(event.rec));
      if (event.kind === "leave") made.set(event.rec, { record: null, why: event.why });
      else if (event.kind === "enter") made.set(event.rec, { record: event.record, why: "" });
      else if (before) made.set(event.rec, { record: { ...before, ...event.patch, version: event.version }, why: "" });
      else {
        this.astray = true;
        return [];
      }
    }
    /** @type {Change} */
    const change = { kind: "change", seq, origin: origin ?? null, entered: [], updated: [], left: [] };
    this.#ordered = null;
    for (const [rec, { record, why }] of made) {
      const before = this.records.get(rec);
      if (record === null) this.records.delete(rec);
      else this.records.set(rec, record);
      if (record !== null && before !== undefined) change.updated.push({ before, record });
      else if (record !== null) change.entered.push(record);
      else if (before !== undefined) change.left.push({ record: before, why });
    }
    this.seq = seq;
    return [change];
  }
}

/**
 * What a new snapshot changes.
 * @param {Map<string, HubRecord>} old
 * @param {Map<string, HubRecord>} now
 * @param {number} seq
 * @returns {Change}
 */
function difference(old, now, seq) {
  /** @type {Change} */
  const change = { kind: "snapshot", seq, origin: null, entered: [], updated: [], left: [] };
  for (const record of now.values()) {
    const before = old.get(record.id);
    if (before === undefined) change.entered.push(record);
    else if (before.version !== record.version) change.updated.push({ before, record });
  }
  for (const record of old.values()) {
    if (!now.has(record.id)) change.left.push({ record, why: "snapshot" });
  }
  return change;
}
