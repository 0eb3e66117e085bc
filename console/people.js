/**
 * Who else is on the page, from the roster of the event's channel.
 *
 * A page's state is `{selection: {type, rec} | null, editing: {type, rec, field} | null}`: which talk is open on it, and
 * which field of it is being written.
 */

import { avatar, h, place } from "./dom.js";
import { HUES, hashOf, initials } from "./programme.js";
import { insideSentence } from "./text.js";

/**
 * @typedef {object} Person somebody on one talk, or on the page
 * @property {string} key
 * @property {string} name
 * @property {number} hue
 * @property {string} letters
 * @property {boolean} editing
 */
/** @typedef {Person & {mine: boolean}} Editor who holds a lock; `mine`: this person, on another page */
/** @typedef {import("../clients/javascript/roster.js").Member} Member */

const MOST_AVATARS = 5;

/** @param {{kind: string, rec: string}} member */
export const keyOf = ({ kind, rec }) => `${kind}:${rec}`;

/**
 * The members as people, with colours that differ while there are enough: who came first chooses first, so that every
 * page shows the same and nobody's colour changes when somebody joins.
 * @param {Member[]} members
 * @returns {Map<string, Person>} by key
 */
export function peopleOf(members) {
  const taken = new Set();
  const first = [...members].sort((a, b) => (a.since < b.since ? -1 : a.since > b.since ? 1 : a.rec < b.rec ? -1 : 1));
  return new Map(first.map((member) => {
    const person = personOf(member, taken);
    taken.add(person.hue);
    return [person.key, person];
  }));
}

/**
 * Somebody by name, with a colour that nobody has, while there is one.
 * @param {{kind: string, rec: string, name: string | null}} member
 * @param {Set<number>} [taken]
 * @returns {Person}
 */
export function personOf(member, taken = new Set()) {
  const name = member.name || (member.kind === "device" ? "A device" : "Somebody");
  const from = hashOf(name + member.rec) % HUES.length;
  const free = HUES.map((_hue, step) => HUES[(from + step) % HUES.length]).find((hue) => !taken.has(hue));
  return { key: keyOf(member), name, hue: free ?? HUES[from], letters: initials(name), editing: false };
}

/** What a page shows as open, and what as being written. @param {any} state @returns {{talk: string | null, field: string | null}} */
export function busyWith(state) {
  const { editing, selection } = state ?? {};
  const id = (/** @type {any} */ ref) => (ref?.type === "event_session" && typeof ref.rec === "string" ? ref.rec : null);
  const written = id(editing);
  return { talk: written ?? id(selection), field: written !== null && typeof editing.field === "string" ? editing.field : null };
}

/**
 * Who has which talk open, this page left out.
 * @param {Member[]} members
 * @param {Map<string, Person>} people
 * @param {string | undefined} session of this page
 * @returns {Map<string, Person[]>}
 */
export function watchersByTalk(members, people, session) {
  /** @type {Map<string, Person[]>} */
  const found = new Map();
  for (const member of members) {
    const person = /** @type {Person} */ (people.get(keyOf(member)));
    for (const { session: theirs, state } of member.sessions ?? []) {
      const { talk, field } = busyWith(state);
      if (theirs === session || talk === null) continue;
      const there = found.get(talk) ?? [];
      const known = there.find(({ key }) => key === person.key);
      if (known) known.editing ||= field !== null;
      else there.push({ ...person, editing: field !== null });
      found.set(talk, there);
    }
  }
  return found;
}

/**
 * The avatars in the bar; others first, then this person.
 * @param {HTMLElement} list
 * @param {Member[]} members
 * @param {Map<string, Person>} people
 * @param {string | null | undefined} me the user of this page
 */
export function showRoster(list, members, people, me) {
  const isMe = (/** @type {Member} */ { kind, rec }) => kind === "user" && rec === me;
  const sorted = [...members].sort((a, b) => Number(isMe(a)) - Number(isMe(b)));
  const key = JSON.stringify([me, sorted.map(({ kind, rec, name, status }) => [kind, rec, name, status])]);
  list.dataset.count = String(members.length);
  list.setAttribute("aria-label", members.length === 1 ? "One person is on this page" : `${members.length} people are on this page`);
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  const shown = sorted.length > MOST_AVATARS ? sorted.slice(0, MOST_AVATARS - 1) : sorted;
  const known = new Map([...list.children].map((item) => [/** @type {any} */ (item).dataset.key, item]));
  const items = shown.map((member) => {
    const person = /** @type {Person} */ (people.get(keyOf(member)));
    const item = known.get(person.key) ?? h("li", { data: { testid: "member", key: person.key } });
    const label = `${insideSentence(person.name)}${isMe(member) ? " (you)" : ""}${member.status === "active" ? "" : `, ${member.status}`}`;
    if (item.title !== label) { // who is known keeps the place and the element: nothing flickers
      item.replaceChildren(avatar({ ...person, name: label }), h("span", { class: "visually-hidden", text: label }));
      Object.assign(item.dataset, { name: person.name, status: member.status });
      Object.assign(item, { title: label, className: member.status === "active" ? "" : "absent" });
    }
    return item;
  });
  if (shown.length < sorted.length) items.push(h("li", { class: "more", text: `+${sorted.length - shown.length}` }));
  place(list, items);
}
