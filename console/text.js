/**
 * Texts of the programme as plain paragraphs. They come from strangers and may hold simple HTML or Markdown; what
 * leaves here is text and http(s) addresses only, and is shown as text only.
 */

/** @typedef {{text: string, href?: string}} Piece */

const ENTITIES = new Map([["amp", "&"], ["lt", "<"], ["gt", ">"], ["quot", '"'], ["apos", "'"], ["nbsp", " "]]);
const TAGS = /<\/?(?:p|br|b|i|u|em|strong|a|ul|ol|li|h[1-6]|code|pre|div|span|blockquote|small|sup|sub|hr|img)\b[^<>]*>/gi;
const LINK = /\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|https?:\/\/[^\s<>"')\]]+/g;

/** @param {string} text */
const decode = (text) => text.replace(/&(#x?[0-9a-f]+|[a-z]+);/gi, (whole, name) => {
  if (!name.startsWith("#")) return ENTITIES.get(name.toLowerCase()) ?? whole;
  const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
  return code > 31 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
});

/** @param {string} tag */
function tagAsText(tag) {
  const name = tag.replace(/[</>]/g, " ").trim().split(/\s/)[0].toLowerCase();
  if (name === "br") return "\n";
  if (name === "li") return tag.startsWith("</") ? "" : "\n• ";
  return /^(p|h[1-6]|ul|ol|pre|div|blockquote|hr)$/.test(name) ? "\n\n" : "";
}

/**
 * Cut a text into pieces with and without an address.
 * @param {string} text
 * @returns {Piece[]}
 */
export function pieces(text) {
  const found = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const bare = match[1] === undefined;
    const tail = bare ? /[.,;:!?]+$/.exec(match[0])?.[0] ?? "" : "";
    const href = bare ? match[0].slice(0, match[0].length - tail.length) : match[2];
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: bare ? href : match[1], href });
    from = match.index + match[0].length - tail.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

/**
 * A text as paragraphs of pieces; line ends inside a paragraph stay.
 * @param {string | null | undefined} source
 * @returns {Piece[][]}
 */
export function paragraphs(source) {
  const anchors = (source ?? "").replace(/\r\n?/g, "\n")
    .replace(/<a\b[^<>]*?href=["'](https?:\/\/[^"'<>\s]+)["'][^<>]*>([^<>]*)<\/a>/gi, (_whole, href, words) => (
      words.trim() === "" || words.trim() === href ? href : `[${words.trim()}](${href})`
    ));
  const text = decode(anchors.replace(TAGS, tagAsText))
    .replace(/^#{1,6} +/gm, "")
    .replace(/^[*+-] +/gm, "• ");
  return text.split(/\n\s*\n/).map((paragraph) => paragraph.trim()).filter(Boolean).map(pieces);
}

const VISIBLE = /[^\s\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800]/u;
const TURNS = /[\u202A-\u202E\u2066-\u2069]/g; // embeds, overrides and isolates: they turn what follows
const RIGHT_TO_LEFT = /[\u200F\u202A-\u202E\u2066-\u2069]|\p{Script=Hebrew}|\p{Script=Arabic}|\p{Script=Syriac}|\p{Script=Thaana}|\p{Script=Nko}|\p{Script=Adlam}/u;

/** Whether a reader sees anything of a text. @param {string | null | undefined} text */
export const canBeSeen = (text) => VISIBLE.test(text ?? "");

/** A title, or what stands for one of which nothing can be seen. @param {string | null | undefined} title */
export const titleWords = (title) => (title && canBeSeen(title) ? title : "(no title)");

/** A name to stand inside a sentence: it cannot turn the words around it. @param {string} name */
export const insideSentence = (name) => (RIGHT_TO_LEFT.test(name) ? `\u2068${name.replace(TURNS, "")}\u2069` : name);

/** An http(s) address, or null: nothing else becomes a link. @param {string | null | undefined} address */
export function safeAddress(address) {
  return address && /^https?:\/\/\S+$/i.test(address) ? address : null;
}
