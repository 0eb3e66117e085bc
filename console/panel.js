/**
 * The column beside the programme: who is here and where, the tracks, what changed a moment ago, the files.
 */

import { avatar, h, icon, place } from "./dom.js";
import { busyWith, keyOf } from "./people.js";
import { changeWords } from "./programme.js";
import { insideSentence, titleWords } from "./text.js";
import { ago } from "./time.js";

/** @param {string} title @param {string} testid @param {...Node} children */
const section = (title, testid, ...children) => (
  h("section", { class: "panel-section", data: { testid } }, h("h2", { text: title }), ...children)
);

/** "182 MB" @param {number} bytes */
export function sizeWords(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** What a person does, from the states of their other pages: what is written before what is read. @param {any[]} states @param {Map<string, any>} byId */
function busy(states, byId) {
  const all = states.map(({ state }) => busyWith(state)).filter(({ talk }) => talk !== null && byId.has(talk));
  const found = all.find(({ field }) => field !== null) ?? all[0];
  return found === undefined ? null : { talk: byId.get(/** @type {string} */ (found.talk)), field: found.field };
}

/**
 * Everybody on the page, and what each looks at or writes. Who is known keeps the element, and only what changed is drawn.
 * @param {Element} list
 * @param {any} scene
 */
function drawPeople(list, { members, people: known, me, mySession, byId, open }) {
  const items = new Map([...list.children].map((/** @type {any} */ item) => [item.dataset.key, item]));
  place(list, members.map((/** @type {any} */ member) => {
    const person = known.get(keyOf(member));
    const mine = member.kind === "user" && member.rec === me;
    const states = (member.sessions ?? []).filter((/** @type {any} */ { session }) => session !== mySession);
    const does = busy(states, byId);
    const item = items.get(person.key) ?? h("li", { data: { key: person.key } });
    const shown = JSON.stringify([person, mine, states.length > 0, member.status, does?.talk.id, does?.talk.title, does?.field]);
    if (item.dataset.shown === shown) return item;
    item.dataset.shown = shown;
    item.classList.toggle("absent", member.status !== "active");
    const idle = member.status === "away" ? "Away" : "Looking at the programme";
    const verb = does?.field ? `Editing the ${fieldWords(does.field)} of` : "Reading";
    item.replaceChildren(avatar({ ...person, editing: does !== null && does.field !== null }), h("div", {},
      h("strong", { text: person.name }), mine ? h("span", { class: "you", text: states.length > 0 ? "you, also on another page" : "you" }) : null,
      h("p", {}, ...(does !== null
        ? [`${verb} `, h("button", { type: "button", class: "link", text: titleWords(does.talk.title), title: does.talk.title, onclick: () => open(does.talk.id) })]
        : [mine ? null : h("span", { text: idle })].filter((words) => words !== null)))));
    return item;
  }));
}

/** "starts_at" → "starts at": what another app shows as written is text of strangers. @param {string} field */
const fieldWords = (field) => insideSentence(field.slice(0, 40).replaceAll("_", " "));

/** @param {any} scene */
function tracks({ tracks: all, talks, track, chooseTrack }) {
  const items = all.map((/** @type {any} */ { id, name, hue }) => {
    const count = talks.filter((/** @type {any} */ talk) => talk.track?.id === id).length;
    return h("li", {}, h("button", {
      type: "button", class: "track", style: { "--hue": hue }, "aria-pressed": String(track === id),
      data: { testid: "track", id }, onclick: () => chooseTrack(track === id ? null : id),
    }, h("i", {}), h("span", { text: name }), h("small", { text: String(count) })));
  });
  return section("Tracks", "tracks", h("ul", { class: "tracks" }, ...items));
}

/** @param {any} scene */
function edits({ edits: all, byId, open, nameOf, now }) {
  const items = all.filter((/** @type {any} */ { talk }) => byId.has(talk)).map((/** @type {any} */ { talk, before, record, at, own }) => (
    h("li", { data: { id: talk } }, h("button", { type: "button", class: "link", text: titleWords(record.title), title: record.title, onclick: () => open(talk) }),
      h("p", { text: `${changeWords(before, record)} · ${own ? "you" : insideSentence(nameOf(record.updated_by))} · ${ago(at, now)}` }))
  ));
  return section("Latest changes", "changes", h("ul", { class: "edits" }, ...items));
}

/** @param {any} scene */
function files({ files: all, download }) {
  const items = all.map((/** @type {any} */ file) => (
    h("li", {}, h("button", { type: "button", class: "file", data: { testid: "file", id: file.id, sha256: file.sha256 }, title: `Download ${insideSentence(file.name)}`, onclick: () => download(file) },
      icon("file"), h("span", { text: file.name }), h("small", { text: sizeWords(file.size) })))
  ));
  return section("Files", "files", h("ul", { class: "files" }, ...items));
}

/** What is on the page already, where it says the same. @param {Element} element @param {any} fresh */
const kept = (element, fresh) => [...element.children].find((old) => old.isEqualNode(fresh)) ?? fresh;

/**
 * Draw the column. What says something new is drawn anew, and what had the focus there gets it back; people are kept.
 * @param {HTMLElement} element
 * @param {any} scene
 */
export function drawPanel(element, scene) {
  const list = element.querySelector(".people") ?? h("ul", { class: "people" });
  const here = list.closest("section") ?? section("Here now", "people", list);
  const parts = [
    scene.members.length > 0 ? here : null,
    scene.edits.length > 0 ? kept(element, edits(scene)) : null,
    scene.tracks.length > 0 ? kept(element, tracks(scene)) : null,
    scene.files.length > 0 ? kept(element, files(scene)) : null,
  ].filter((part) => part !== null);
  const buttons = () => [...element.querySelectorAll("button")];
  const before = /** @type {any} */ (document.activeElement);
  const focused = buttons().indexOf(before);
  drawPeople(list, scene);
  place(element, parts);
  if (focused >= 0 && !before.isConnected) buttons()[focused]?.focus({ preventScroll: true });
}

/**
 * Follow a link that the hub signs for a short time.
 * @param {import("../clients/javascript/index.js").Hub} hub
 * @param {{name: string, sha256: string}} file
 */
export async function downloadFile(hub, { name, sha256 }) {
  const { url } = await hub.grant(sha256);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
