/**
 * One talk as a card: made once, then kept equal to the talk, so that focus and animation survive every redraw.
 */

import { avatar, h, place, setMarked, setText } from "./dom.js";
import { highlight, snippet } from "./search.js";
import { insideSentence, paragraphs, titleWords } from "./text.js";

/** @typedef {import("./people.js").Person} Person */
/**
 * @typedef {object} Look how a card is shown
 * @property {import("./time.js").Times} times
 * @property {string[]} words that are looked for
 * @property {Person[]} watchers others who have this talk open
 * @property {boolean} selected open in the drawer
 * @property {boolean} alone shown in a list, without a room's column above it
 * @property {number} lines of the abstract there is room for
 */

const FLASH_MS = 2600;

export class Card {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #calm;

  /** @param {string} id @param {(id: string) => void} onOpen */
  constructor(id, onOpen) {
    this.id = id;
    this.time = h("span", { class: "card-time" });
    this.room = h("span", { class: "card-room" });
    this.track = h("span", { class: "chip" });
    this.title = h("button", { type: "button", class: "card-open", data: { testid: "card-title" }, onclick: () => onOpen(id) });
    this.subtitle = h("p", { class: "card-subtitle" });
    this.people = h("p", { class: "card-people", data: { testid: "card-speakers" } });
    this.snippet = h("p", { class: "card-snippet" });
    this.watchers = h("div", { class: "card-watchers" });
    this.told = h("span", { class: "visually-hidden" });
    this.element = h(
      "article", { class: "card", data: { testid: "session-card", id } },
      h("div", { class: "card-top" }, this.time, this.room, this.track),
      h("h3", {}, this.title), this.people, this.subtitle, this.snippet, this.watchers, this.told,
    );
  }

  /** @param {import("./programme.js").Talk} talk @param {Look} look */
  update(talk, { times, words, watchers, selected, alone, lines }) {
    const { element } = this;
    element.style.setProperty("--hue", String(talk.hue));
    element.classList.toggle("selected", selected);
    element.classList.toggle("trackless", talk.track === null);
    element.dataset.language = talk.record.language ?? "";
    setText(this.time, talk.start === null ? "No time yet" : `${times.clock(talk.start)} – ${times.clock(talk.end)}`);
    setText(this.room, alone ? talk.room?.name ?? "" : "");
    setText(this.track, talk.track?.name ?? "");
    this.track.hidden = talk.track === null;
    this.track.title = talk.track?.name ?? "";
    setMarked(this.title, highlight(titleWords(talk.title), words));
    setMarked(this.subtitle, highlight(talk.subtitle, words));
    setMarked(this.people, highlight(talk.speakers.map(insideSentence).join(", "), words));
    element.style.setProperty("--lines", String(lines));
    setMarked(this.snippet, highlight(lines > 0 ? this.#excerpt(talk, words, lines) : "", words));
    this.#showWatchers(watchers);
  }

  /** Some of the talk's text: around the first hit, or its beginning. @param {import("./programme.js").Talk} talk @param {string[]} words @param {number} lines */
  #excerpt({ record }, words, lines) {
    if (words.length > 0) return snippet(`${record.abstract ?? ""}\n${record.description ?? ""}`, words);
    return paragraphs(record.abstract).flat().map(({ text }) => text).join(" ").slice(0, lines * 120);
  }

  /** @param {Person[]} watchers */
  #showWatchers(watchers) {
    const { element } = this;
    const key = watchers.map(({ key: who, editing }) => `${who}${editing ? "!" : ""}`).join(" ");
    if ((element.dataset.watchers ?? "") === key) return;
    element.dataset.watchers = key;
    element.classList.toggle("watched", watchers.length > 0);
    element.classList.toggle("edited", watchers.some(({ editing }) => editing));
    if (watchers.length > 0) element.style.setProperty("--ring", String(watchers[0].hue));
    place(this.watchers, watchers.slice(0, 3).map(avatar));
    setText(this.told, watchers.map(({ name, editing }) => `${insideSentence(name)} ${editing ? "is editing" : "is looking at"} this.`).join(" "));
  }

  /** Somebody else changed it. */
  flash() {
    const { element } = this;
    element.classList.remove("flash");
    void element.offsetWidth; // starts the animation again when it still runs
    element.classList.add("flash");
    element.dataset.changed = "true";
    clearTimeout(this.#calm);
    this.#calm = setTimeout(() => {
      element.classList.remove("flash");
      delete element.dataset.changed;
    }, FLASH_MS);
  }
}
