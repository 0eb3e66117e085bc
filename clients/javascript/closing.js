/**
 * What a close code asks the client to do. The range is the contract, so codes of later versions are
 * obeyed too: 4400–4499 come back, 4500–4999 not unchanged.
 */

/** @typedef {"return" | "sign-in" | "stay-away"} Verdict */

const STAY_AWAY = new Set([1002, 1003, 1007, 1009]);
const SIGN_IN = new Set([4503, 4505]);

/**
 * Say what follows from a close code.
 * @param {number} code
 * @returns {Verdict} come back by yourself, come back with a new token, or do not come back unchanged
 */
export function verdict(code) {
  if (SIGN_IN.has(code)) return "sign-in";
  if (STAY_AWAY.has(code) || (code >= 4500 && code <= 4999)) return "stay-away";
  return "return";
}

const WORDS = new Map([
  [1002, "The hub did not understand this client."],
  [1003, "The hub does not take this kind of message."],
  [1007, "The hub was sent text that is not valid."],
  [1009, "The hub was sent a message that is too large."],
  [4503, "The sign-in is not valid any more."],
  [4504, "The hub does not accept this page or this client."],
  [4505, "The sign-in was withdrawn."],
  [4506, "There are too many connections for this identity."],
]);

/**
 * A sentence for people about a close code that is final.
 * @param {number} code
 */
export const sentence = (code) => WORDS.get(code) ?? `The hub ended the connection (${code}).`;
