/**
 * Watches on a connection: each query runs once however many hold it, and starts again on every new socket.
 *
 * Events of a watch: `change` a Change of liveset.js · `ready` the content is complete for the first time ·
 * `error` a HubError: the hub refuses this query and the watch has ended.
 */

import { Emitter } from "./emitter.js";
import { HubError, mayPass } from "./errors.js";
import { LiveSet } from "./liveset.js";
import { SortedView } from "./view.js";

/** @typedef {import("./liveset.js").Change} Change */

const AGAIN_SECONDS = 1;

/** One text per query: keys in order, so that the same question is the same text. @param {any} value */
function canonical(value) {
  return JSON.stringify(value, (_key, inner) => (
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  ));
}

export class Watch extends Emitter {
  /** @param {Watches} book @param {LiveSet} set */
  constructor(book, set) {
    super();
    this.book = book;
    this.set = set;
    /** how many parts of the app hold it; nobody left = `watch.stop` */
    this.holders = 1;
    /** @type {HubError | null} why the hub refused it */
    this.error = null;
  }

  /** The content by id; do not change it. */
  get records() {
    return this.set.records;
  }

  get ready() {
    return this.set.ready;
  }

  /** The content in the `order` of the query, `id` last: of a window with `limit`, what it shows. Do not change it. */
  get items() {
    return this.set.ordered;
  }

  /**
   * The content in an order of the app's own, kept while it changes.
   * @param {(left: any, right: any) => number} compare
   * @param {(record: any) => boolean} [accept]
   */
  view(compare, accept) {
    return new SortedView(this, compare, accept);
  }

  /** Give it up. */
  stop() {
    this.book.release(this);
  }
}

export class Watches {
  /** @type {Map<string, Watch>} by canonical query */
  #held = new Map();

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    connection.on("online", () => { for (const watch of this.#held.values()) this.#start(watch); });
    connection.on("offline", () => { for (const watch of this.#held.values()) watch.set.lost(); });
    connection.on("horizon", (seq) => { for (const watch of this.#held.values()) watch.set.horizon(seq); });
    connection.on("push", (message) => this.#push(message));
  }

  /**
   * Watch a query: `{type, where?, parent?, order?, fields?, limit?}`.
   * @param {Record<string, any>} query
   * @returns {Watch}
   */
  hold(query) {
    const key = canonical(query);
    const held = this.#held.get(key);
    if (held !== undefined) {
      held.holders += 1;
      return held;
    }
    const watch = new Watch(this, new LiveSet(query));
    this.#held.set(key, watch);
    if (this.connection.state === "online") this.#start(watch);
    return watch;
  }

  /** @param {Watch} watch */
  release(watch) {
    watch.holders -= 1;
    const key = canonical(watch.set.query);
    if (watch.holders > 0 || this.#held.get(key) !== watch) return;
    this.#held.delete(key);
    this.#stopOnHub(watch);
  }

  /** @param {Watch} watch */
  #start(watch) {
    const { set } = watch;
    const session = this.connection.session;
    this.connection.ask("watch.start", set.begin(), {
      ok: ({ data }) => {
        if (this.connection.session !== session) return;
        if (!this.#isHeld(watch)) {
          set.watch = data.watch; // given up while the answer was on its way
          this.#stopOnHub(watch);
        } else if (set.phase === "starting") this.#tell(watch, () => set.started(data));
      },
      fail: (error) => {
        if (!this.#isHeld(watch) || this.connection.session !== session || set.phase !== "starting") return;
        if (mayPass(error)) this.#startLater(watch, error.retry_after ?? AGAIN_SECONDS);
        else {
          this.#held.delete(canonical(set.query));
          watch.error = new HubError(error);
          watch.emit("error", watch.error);
        }
      },
    });
  }

  /** @param {Watch} watch @param {number} seconds */
  #startLater(watch, seconds) {
    const session = this.connection.session;
    this.connection.platform.later(() => {
      const same = this.connection.state === "online" && this.connection.session === session;
      if (same && this.#isHeld(watch)) this.#start(watch);
    }, seconds);
  }

  /** @param {any} message */
  #push(message) {
    if (message.watch === undefined) return;
    for (const watch of this.#held.values()) {
      if (watch.set.watch !== message.watch) continue;
      if (message.op === "change") this.#tell(watch, () => watch.set.change(message));
      else if (message.op === "snapshot") this.#tell(watch, () => watch.set.snapshot(message));
      else if (message.op === "reset") this.#again(watch);
    }
  }

  /** Apply a message and tell the app what it changed. @param {Watch} watch @param {() => Change[]} apply */
  #tell(watch, apply) {
    const before = watch.set.ready;
    for (const change of apply()) {
      if (change.entered.length + change.updated.length + change.left.length > 0) watch.emit("change", change);
    }
    if (!before && watch.set.ready) watch.emit("ready");
    if (watch.set.astray) {
      this.#stopOnHub(watch);
      this.#again(watch);
    }
  }

  /** @param {Watch} watch */
  #again(watch) {
    watch.set.reset();
    this.#start(watch);
  }

  /** @param {Watch} watch */
  #stopOnHub(watch) {
    const quiet = () => {}; // a watch the hub has ended already needs no stop
    if (watch.set.watch !== null && this.connection.state === "online") {
      this.connection.ask("watch.stop", { watch: watch.set.watch }, { ok: quiet, fail: quiet });
    }
    watch.set.lost();
  }

  /** @param {Watch} watch */
  #isHeld(watch) {
    return this.#held.get(canonical(watch.set.query)) === watch;
  }
}
