/**
 * Finding words in the programme. Pure. Case and accents do not matter: "muller" finds "Müller".
 */

/** @param {string} character */
const foldOne = (character) => character.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace("ß", "ss");

/**
 * Fold a text and remember where each folded character came from.
 * @param {string} text
 * @returns {{folded: string, from: number[]}} `from[i]` = index in `text` of folded unit i
 */
function foldWithOrigin(text) {
  let folded = "";
  const from = [];
  let index = 0;
  for (const character of text) {
    const piece = foldOne(character);
    folded += piece;
    for (let unit = 0; unit < piece.length; unit += 1) from.push(index);
    index += character.length;
  }
  return { folded, from };
}

/** @param {string} text */
export const fold = (text) => foldWithOrigin(text).folded;

/** The words that are looked for. @param {string} query @returns {string[]} */
export const terms = (query) => fold(query).split(/\s+/).filter(Boolean);

/**
 * Whether every word occurs somewhere.
 * @param {string} haystack folded
 * @param {string[]} words
 */
export const matches = (haystack, words) => words.every((word) => haystack.includes(word));

/**
 * Cut a text into pieces that are hits and pieces that are not.
 * @param {string} text
 * @param {string[]} words
 * @returns {{text: string, hit: boolean}[]}
 */
export function highlight(text, words) {
  if (words.length === 0) return [{ text, hit: false }];
  const { folded, from } = foldWithOrigin(text);
  const marked = new Uint8Array(text.length);
  for (const word of words) {
    for (let at = folded.indexOf(word); at !== -1; at = folded.indexOf(word, at + word.length)) {
      const end = at + word.length < from.length ? from[at + word.length] : text.length;
      marked.fill(1, from[at], end);
    }
  }
  const pieces = [];
  let start = 0;
  for (let index = 1; index <= text.length; index += 1) {
    if (index < text.length && marked[index] === marked[start]) continue;
    pieces.push({ text: text.slice(start, index), hit: marked[start] === 1 });
    start = index;
  }
  return pieces;
}

/**
 * The surroundings of the first hit in a long text; empty where there is none.
 * @param {string} text
 * @param {string[]} words
 * @param {number} [around] characters each side
 */
export function snippet(text, words, around = 70) {
  const { folded, from } = foldWithOrigin(text);
  const found = words.map((word) => folded.indexOf(word)).filter((at) => at >= 0);
  if (found.length === 0) return "";
  const at = from[Math.min(...found)];
  const begin = at <= around ? 0 : text.indexOf(" ", at - around) + 1;
  const stop = at + around >= text.length ? text.length : text.lastIndexOf(" ", at + around);
  const cut = text.slice(Math.min(begin, at), Math.max(stop, at + 1)).replace(/\s+/g, " ");
  return `${begin > 0 ? "… " : ""}${cut}${stop < text.length ? " …" : ""}`;
}
