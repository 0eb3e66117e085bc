/**
 * Events inside one program: who listens to what, nothing else.
 *
 * A listener that throws does not stop the others; its error is reported to the host (`reportError` in
 * browsers, an uncaught exception in Node), because a mistake in an app must not end a protocol.
 */

/** @param {unknown} error */
function report(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else queueMicrotask(() => { throw error; });
}

export class Emitter {
  /** @type {Map<string, Set<Function>>} listeners by event name */
  #listeners = new Map();

  /**
   * Listen to an event; the answer is a function that ends the listening.
   * @param {string} name
   * @param {(detail: any) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => { listeners.delete(listener); };
  }

  /**
   * Tell every listener of an event, in the order they came.
   * @param {string} name
   * @param {any} [detail]
   */
  emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        report(error);
      }
    }
  }
}
