/**
 * How long to wait before the next try: full jitter, so that a crowd that was cut at once comes back spread
 * out. Knows numbers only; the clock and the dice are passed in.
 */

export class Backoff {
  /**
   * @param {{first_seconds?: number, most_seconds?: number, stable_seconds?: number, random?: () => number}} [options]
   *   `first_seconds` bounds the first wait, doubled per failure up to `most_seconds`; a connection counts as good
   *   only after `stable_seconds`, so that a hub which accepts and cuts at once is not hammered
   */
  constructor({ first_seconds = 0.25, most_seconds = 30, stable_seconds = 10, random = Math.random } = {}) {
    this.first_seconds = first_seconds;
    this.most_seconds = most_seconds;
    this.stable_seconds = stable_seconds;
    this.random = random;
    /** tries since the last stable connection */
    this.failures = 0;
    /** @type {number | null} when the present connection came up, seconds of the caller's clock */
    this.online_since = null;
  }

  /** The connection works. @param {number} now */
  online(now) {
    this.online_since = now;
  }

  /**
   * The connection is gone, or never came: seconds to wait before the next try.
   * @param {number} now
   * @returns {number}
   */
  lost(now) {
    const stable = this.online_since !== null && now - this.online_since >= this.stable_seconds;
    if (stable) this.failures = 0;
    this.online_since = null;
    const bound = Math.min(this.most_seconds, this.first_seconds * 2 ** Math.min(this.failures, 32));
    this.failures += 1;
    return bound * this.random();
  }
}
