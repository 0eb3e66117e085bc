/**
 * The hub as an app sees it: records, watches, channels and actions over one connection that keeps itself alive.
 *
 * @example
 * const hub = new Hub({ url: "wss://hub.example/ws", token });
 * hub.on("state", ({ state }) => console.log(state));
 * hub.start();
 * const talks = hub.watch({ type: "event_session", parent: { type: "event", rec } });
 * talks.on("change", ({ entered, updated, left }) => draw(talks.records));
 * await hub.update("event_session", id, { title: "New" }, { if_version: 3 });
 */

import { Channels } from "./channel.js";
import { Commands } from "./commands.js";
import { Connection } from "./connection.js";
import { Feeds } from "./feed.js";
import { Locks } from "./lock.js";
import { Watches } from "./watch.js";

/** @typedef {{type: string, rec: string}} Reference */

/** Leave out what was not given. @param {Record<string, any>} fields */
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

export class Hub extends Connection {
  /** @param {import("./connection.js").Options} options */
  constructor(options) {
    super(options);
    this.watches = new Watches(this);
    this.channels = new Channels(this);
    this.feeds = new Feeds(this);
    this.commands = new Commands(this);
    this.locks = new Locks(this);
  }

  /** @param {string} type @param {string} rec @param {{fields?: string[], include?: object, view?: string, deleted?: boolean}} [options] */
  get(type, rec, options = {}) {
    return this.request("record.get", { type, rec, ...given(options) });
  }

  /**
   * One page of records: `{records, next?, total?, capped?, seq}`.
   * @param {string} type
   * @param {{where?: object, parent?: Reference, order?: string[], fields?: string[], include?: object, limit?: number,
   *   after?: string, count?: boolean | "exact" | {cap: number}, view?: string, deleted?: boolean}} [query]
   */
  find(type, query = {}) {
    return this.request("record.find", { type, ...given(query) });
  }

  /**
   * One page of the records that words are found in, best first: `{hits: [{record, highlights}], next?, seq}`.
   * A highlight is a field's text in pieces, every second one a hit: plain text, for `textContent`.
   * @param {string} q
   * @param {{types?: string[], where?: object, limit?: number, after?: string}} [query]
   */
  search(q, query = {}) {
    return this.request("record.search", { q, ...given(query) });
  }

  /**
   * What the records add up to: `{rows, more?, seq}`; `values` such as `{n: "count", first: {min: "starts_at"}}`.
   * @param {string} type
   * @param {Record<string, "count" | Record<string, string>>} values
   * @param {{where?: object, parent?: Reference, group?: string, limit?: number}} [query]
   */
  aggregate(type, values, query = {}) {
    return this.request("record.aggregate", { type, values, ...given(query) });
  }

  /** @param {string} type @param {Record<string, any>} data @param {Reference} [parent] */
  create(type, data, parent) {
    return this.request("record.create", given({ type, data, parent }));
  }

  /** @param {string} type @param {Record<string, any>} data @param {{match: string[], parent?: Reference}} options */
  upsert(type, data, { match, parent }) {
    return this.request("record.upsert", given({ type, data, match, parent }));
  }

  /**
   * Replace the given fields of a record; with `if_version` only if nobody was quicker (`record.conflict`).
   * @param {string} type
   * @param {string} rec
   * @param {Record<string, any>} data
   * @param {{if_version?: number}} [options]
   */
  update(type, rec, data, { if_version } = {}) {
    return this.request("record.update", given({ type, rec, data, if_version }));
  }

  /** @param {string} type @param {string} rec @param {{if_version?: number, mode?: "soft" | "hard"}} [options] */
  delete(type, rec, options = {}) {
    return this.request("record.delete", { type, rec, ...given(options) });
  }

  /** Several writes as one. @param {Record<string, any>[]} ops @param {{atomic?: boolean}} [options] */
  batch(ops, options = {}) {
    return this.request("record.batch", { ops, ...given(options) });
  }

  /** @param {string} action @param {{target?: Reference, args?: Record<string, any>, timeout?: number}} [options] */
  call(action, options = {}) {
    return this.request("action.call", { action, ...given(options) });
  }

  /** A link to a file's bytes that works for a short time: `{url, expires_at}`. @param {string} hash */
  grant(hash) {
    return this.request("file.grant", { hash });
  }

  /**
   * The types, operators and actions that this session may use: `{hash, types, actions}`.
   * @param {{types?: string[], have?: string}} [options]
   */
  describe(options = {}) {
    return this.request("schema.describe", given(options));
  }

  /**
   * The entries of a lookup that are in force for the account, or for the record `for`: `{rows, total, next?, seq}`. They
   * may change when a record of type `lookup_row` or `lookup_policy` does: watch those, and ask again.
   * @param {string} lookup
   * @param {{for?: Reference, q?: string, part_of?: string, language?: string, only_priority?: boolean,
   *   include_disabled?: boolean, limit?: number, after?: string}} [options]
   */
  lookup(lookup, options = {}) {
    return this.request("lookup.list", { lookup, ...given(options) });
  }

  /**
   * The one entry of a lookup that a code, a name or an alias means, or throws HubError (`record.not_found`).
   * @param {string} lookup
   * @param {string} q
   * @param {{for?: Reference, part_of?: string, language?: string}} [options]
   */
  async lookupOne(lookup, q, options = {}) {
    return (await this.request("lookup.resolve", { lookup, q, ...given(options) })).rows[0];
  }

  /**
   * Keep a query's records current until `stop` of the answer.
   * @param {{type: string, where?: object, parent?: Reference, order?: string[], fields?: string[], limit?: number}} query
   */
  watch(query) {
    return this.watches.hold(query);
  }

  /**
   * Follow every commit of the account until `stop` of the answer, from where it was acknowledged. Who keeps the position
   * gives it as `since`.
   * @param {string} name
   * @param {{since?: {epoch: string, seq: number}}} [options]
   */
  feed(name, { since } = {}) {
    return this.feeds.follow(name, since ?? null);
  }

  /**
   * Be in a channel until `leave` of the answer.
   * @param {string} channel
   * @param {any} [state]
   * @param {{roster?: import("./channel.js").Wanted}} [options] of whom to be told: `full` (everybody), `count` (how many
   *   there are), `none`, or `{users, devices}`
   */
  join(channel, state = {}, { roster } = {}) {
    return this.channels.join(channel, state, roster);
  }

  /**
   * Ask another client of the account to do something: `{data, from}`, its answer and who it is. Throws HubError:
   * `command.absent`, `command.failed` (it refused; `details` has its `code` and `message`), `command.timeout`. With
   * `queue_seconds` the command waits so long for a client that is not there; the answer may be `{queued: true}` then.
   * @param {{session?: string, user?: string, device?: string}} to one of them
   * @param {string} name
   * @param {Record<string, any>} [data]
   * @param {{timeout?: number, queue_seconds?: number}} [options] in seconds
   */
  command(to, name, data = {}, { timeout = 10, queue_seconds } = {}) {
    const fields = given({ to, command: name, data, timeout, queue_seconds });
    return this.request("client.call", fields, { seconds: timeout + this.request_seconds });
  }

  /**
   * Obey a command from now on. What the handler returns, or a promise of it, is the answer; throw a HubError to refuse.
   * Commands without a handler are refused.
   * @param {string} name
   * @param {import("./commands.js").Handler} handler
   */
  obey(name, handler) {
    this.commands.handlers.set(name, handler);
  }

  /**
   * Who of up to 1,000 users and devices is here: `{users, devices}`, by id `{status, last_seen, telemetry?}`. Who was
   * never in the account is in neither.
   * @param {{users?: string[], devices?: string[]}} who
   */
  presence({ users = [], devices = [] }) {
    return this.request("presence.status", { users, devices });
  }

  /**
   * Take the lock of a record and keep it until `release` of the answer; throws HubError (`lock.held`, `details` has the
   * `holder`).
   * @param {string} type
   * @param {string} rec
   * @param {{steal?: boolean}} [options]
   */
  lock(type, rec, { steal = false } = {}) {
    return this.locks.take(type, rec, steal);
  }
}
