/**
 * Watched records in an order of the app's own, kept while they change; every step costs what it touches.
 */

import { Emitter } from "./emitter.js";
import { compareText } from "./order.js";

/** @typedef {import("./liveset.js").Change} Change */

export class SortedView extends Emitter {
  /** @type {() => void} */
  #forget;

  /**
   * @param {{records: Map<string, any>, on: (name: string, fn: (change: Change) => void) => () => void}} source
   * @param {(left: any, right: any) => number} compare
   * @param {(record: any) => boolean} [accept] which records belong to the view; absent = all
   */
  constructor(source, compare, accept = () => true) {
    super();
    this.compare = (/** @type {any} */ a, /** @type {any} */ b) => compare(a, b) || compareText(a.id, b.id);
    this.accept = accept;
    /** @type {any[]} the records in order; do not change it */
    this.items = [...source.records.values()].filter(accept).sort(this.compare);
    this.#forget = source.on("change", (change) => this.#apply(change));
  }

  /** Stop following. */
  stop() {
    this.#forget();
  }

  /** @param {Change} change */
  #apply(change) {
    const gone = [...change.left.map(({ record }) => record), ...change.updated.map(({ before }) => before)];
    const come = [...change.entered, ...change.updated.map(({ record }) => record)];
    for (const record of gone) if (this.accept(record)) this.#remove(record);
    for (const record of come) if (this.accept(record)) this.items.splice(this.#place(record), 0, record);
    this.emit("change", change);
  }

  /** @param {any} record as it was when it was put in */
  #remove(record) {
    const place = this.#place(record);
    if (this.items[place]?.id === record.id) this.items.splice(place, 1);
  }

  /** Where a record stands, or would stand. @param {any} record */
  #place(record) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(this.items[middle], record) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
