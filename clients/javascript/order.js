/**
 * The hub's order of records, here: text by code point (not by UTF-16 unit), null lowest, `id` always last.
 */

/**
 * Compare two texts by code point.
 * @param {string} left
 * @param {string} right
 */
export function compareText(left, right) {
  if (left === right) return 0;
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index += 1) {
    const a = left.charCodeAt(index);
    const b = right.charCodeAt(index);
    if (a === b) continue;
    // Surrogates stand for code points above every single unit, though their numbers lie below U+E000.
    const high = (/** @type {number} */ unit) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
    return high(a) - high(b);
  }
  return left.length - right.length;
}

/**
 * Compare two plain values: null lowest, false before true, numbers by size, texts by code point.
 * @param {any} left
 * @param {any} right
 */
export function compareValues(left, right) {
  const a = left ?? null;
  const b = right ?? null;
  if (a === b) return 0;
  if (a === null) return -1;
  if (b === null) return 1;
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * A comparator from the hub's `order`, for example `byOrder(["-starts_at", "title"])`.
 * @param {string[]} order
 * @returns {(left: any, right: any) => number}
 */
export function byOrder(order) {
  const keys = [...order, "id"].map((key) => (
    key.startsWith("-") ? { name: key.slice(1), sign: -1 } : { name: key, sign: 1 }
  ));
  return (left, right) => {
    for (const { name, sign } of keys) {
      const found = compareValues(left[name], right[name]);
      if (found !== 0) return sign * found;
    }
    return 0;
  };
}
