/**
 * Who else is on the page, from the roster of the event's channel.
 *
 * A page's state is `{session: id | null, editing: boolean}`: which talk is open on it.
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
    const name = member.name || (member.kind === "device" ? "A device" : "Somebody");
    const from = hashOf(name + member.rec) % HUES.length;
    const free = HUES.map((_hue, step) => HUES[(from + step) % HUES.length]).find((hue) => !taken.has(hue));
    const hue = free ?? HUES[from];
    taken.add(hue);
    return [keyOf(member), { key: keyOf(member), name, hue, letters: initials(name), editing: false }];
  }));
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
      if (theirs === session || !state?.session) continue;
      const there = found.get(state.session) ?? [];
      const known = there.find(({ key }) => key === person.key);
      if (known) known.editing ||= state.editing === true;
      else there.push({ ...person, editing: state.editing === true });
      found.set(state.session, there);
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
  const items = shown.map((member) => {
    const person = /** @type {Person} */ (people.get(keyOf(member)));
    const label = `${insideSentence(person.name)}${isMe(member) ? " (you)" : ""}${member.status === "active" ? "" : `, ${member.status}`}`;
    return h("li", { class: member.status === "active" ? "" : "absent", data: { testid: "member", name: person.name, status: member.status }, title: label },
      avatar({ ...person, name: label }), h("span", { class: "visually-hidden", text: label }));
  });
  if (shown.length < sorted.length) items.push(h("li", { class: "more", text: `+${sorted.length - shown.length}` }));
  place(list, items);
}
