/**
 * What a client needs from its host: a WebSocket class, a clock, dice and keys. Tests pass their own.
 */

/**
 * @typedef {object} Platform
 * @property {any} WebSocket class with the browser's interface
 * @property {() => number} now monotonic seconds
 * @property {(fn: () => void, seconds: number) => any} later
 * @property {(timer: any) => void} cancel
 * @property {() => number} random
 * @property {() => string} newKey
 */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** 132 random bits as 22 url-safe characters; `crypto.randomUUID` is missing on plain-http pages. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(22));
  return Array.from(bytes, (byte) => ALPHABET[byte & 63]).join("");
}

/**
 * The host's own things, where nothing else is given.
 * @param {Partial<Platform>} [given]
 * @returns {Platform}
 */
export function platform(given = {}) {
  return {
    WebSocket: globalThis.WebSocket,
    now: () => performance.now() / 1000,
    later: (fn, seconds) => setTimeout(fn, seconds * 1000),
    cancel: (timer) => clearTimeout(timer),
    random: Math.random,
    newKey,
    ...given,
  };
}
