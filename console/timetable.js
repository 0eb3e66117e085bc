/**
 * A day as a timetable (columns are rooms, downwards is time) or as a list. Draws what layout.js says.
 */

import { Card } from "./card.js";
import { h, place } from "./dom.js";
import { columnsOf, layoutDay } from "./layout.js";
import { duration } from "./time.js";

/** @typedef {import("./programme.js").Talk} Talk */
/**
 * @typedef {object} Scene what is to be drawn
 * @property {Talk[]} talks in order
 * @property {{id: string, name: string}[]} rooms
 * @property {import("./time.js").Times} times
 * @property {string[]} words that are looked for
 * @property {Map<string, import("./people.js").Person[]>} watchers by talk
 * @property {string | null} open talk in the drawer
 */

const TEXT_FROM = 122; // pixels of a card that its head takes; below it stands some of the abstract
const TEXT_LINE = 19;
const NO_ROOM = { id: "", name: "No room yet" };

export class Timetable {
  /** @type {Map<string, Card>} */
  #cards = new Map();

  /** @param {HTMLElement} element @param {(id: string) => void} onOpen */
  constructor(element, onOpen) {
    this.element = element;
    this.onOpen = onOpen;
  }

  /** The element of a talk's card, if it is on the page. @param {string} id @returns {HTMLElement | null} */
  find(id) {
    const element = this.#cards.get(id)?.element;
    return element?.isConnected ? element : null;
  }

  /** @param {Set<string>} ids */
  flash(ids) {
    for (const id of ids) this.#cards.get(id)?.flash();
  }

  /** Forget cards of talks that are no more. @param {Map<string, Talk>} talks */
  keep(talks) {
    for (const id of this.#cards.keys()) if (!talks.has(id)) this.#cards.delete(id);
  }

  /** @param {Talk} talk @param {Scene} scene @param {{alone: boolean, lines: number}} room */
  #card(talk, scene, { alone, lines }) {
    const card = this.#cards.get(talk.id) ?? new Card(talk.id, this.onOpen);
    this.#cards.set(talk.id, card);
    card.update(talk, {
      times: scene.times, words: scene.words, alone, lines, selected: scene.open === talk.id, watchers: scene.watchers.get(talk.id) ?? [],
    });
    return card.element;
  }

  /** One day, all rooms side by side. @param {Scene} scene */
  drawGrid(scene) {
    const used = new Set(scene.talks.map(({ room }) => room?.id ?? ""));
    const rooms = [...scene.rooms, NO_ROOM].filter(({ id }) => used.has(id));
    const slots = scene.talks.map(({ id, room, start, end }) => ({ id, room: room?.id ?? "", start: start ?? 0, end }));
    const plan = layoutDay(slots, rooms.map(({ id }) => id));
    const columns = columnsOf(plan.places, rooms.length);
    const byId = new Map(scene.talks.map((talk) => [talk.id, talk]));
    const cards = plan.places.map(({ id, column, top, height, lane, lanes }) => {
      const element = this.#card(/** @type {Talk} */ (byId.get(id)), scene, { alone: false, lines: Math.floor((height - TEXT_FROM) / TEXT_LINE) });
      const set = (/** @type {string} */ name, /** @type {number} */ value) => element.style.setProperty(name, String(value));
      set("--column", column);
      set("--from", columns.from[column]);
      set("--wide", columns.wide[column]);
      set("--top", Math.round(top));
      set("--height", Math.round(height));
      set("--lane", lane);
      set("--lanes", lanes);
      return element;
    });
    const folded = (/** @type {number} */ moment) => plan.pauses.some(({ from, to }) => moment > from && moment < to);
    const ticks = scene.times.hours(plan.from, plan.to).filter(({ moment }) => !folded(moment)).map(({ moment, label }) => (
      h("div", { class: "tick", style: { "--top": Math.round(plan.at(moment)) } }, h("span", { text: label }))
    ));
    const pauses = plan.pauses.map(({ top, height, minutes }) => (
      h("div", { class: "pause", style: { "--top": top, "--height": height } }, h("span", { text: `${duration(minutes)} without a session` }))
    ));
    const now = Date.now();
    const marker = now > plan.from && now < plan.to
      ? [h("div", { class: "now", style: { "--top": Math.round(plan.at(now)) } }, h("span", { text: "now" }))] : [];

    let grid = /** @type {any} */ (this.element.querySelector(":scope > .grid"));
    if (grid === null) {
      grid = h("div", { class: "grid" }, h("div", { class: "grid-head" }), h("div", { class: "grid-body" }));
      place(this.element, [grid]);
    }
    grid.style.setProperty("--units", String(columns.units));
    grid.style.setProperty("--columns", columns.wide.map((width) => `minmax(0, ${width}fr)`).join(" "));
    grid.style.setProperty("--tall", String(Math.round(plan.height)));
    const [head, body] = grid.children;
    const names = rooms.map(({ id, name }) => {
      const count = scene.talks.filter(({ room }) => (room?.id ?? "") === id).length;
      return h("div", { class: "grid-room", data: { testid: "room" } }, h("strong", { text: name, title: name }), h("span", { text: String(count) }));
    });
    head.replaceChildren(h("div", { class: "grid-corner" }), ...names);
    place(body, [...ticks, ...pauses, ...cards, ...marker]);
  }

  /** Talks below one another, by time; with `days` in groups of a day. @param {Scene} scene @param {boolean} days */
  drawList(scene, days) {
    const cards = scene.talks.map((talk) => this.#card(talk, scene, { alone: true, lines: scene.words.length > 0 ? 3 : 0 }));
    const clock = (/** @type {Talk} */ { start }) => (start === null ? "" : scene.times.clock(start));
    const key = JSON.stringify([days, scene.times.zone, scene.talks.map((talk) => [talk.id, talk.day, clock(talk)])]);
    const held = /** @type {HTMLElement | null} */ (this.element.querySelector(":scope > .list"));
    if (held?.dataset.key === key) return; // the same cards in the same places
    const list = h("div", { class: "list", data: { key } });
    let previous = /** @type {Talk | null} */ (null);
    scene.talks.forEach((talk, index) => {
      const newDay = previous === null || talk.day !== previous.day;
      if (days && newDay) {
        list.append(h("h2", { class: "list-day", text: talk.day === "" ? "Without a time" : scene.times.long(talk.day) }));
      }
      if (newDay || clock(talk) !== clock(/** @type {Talk} */ (previous))) {
        list.append(h("div", { class: "list-group" }, h("div", { class: "list-time", text: clock(talk) }), h("div", { class: "list-cards" })));
      }
      list.lastElementChild.lastElementChild.append(cards[index]);
      previous = talk;
    });
    place(this.element, [list]);
  }

  /** Nothing to draw: say why. @param {string} title @param {Node | null} [above] @param {...Node} below */
  drawNothing(title, above = null, ...below) {
    const held = /** @type {HTMLElement | null} */ (this.element.querySelector(":scope > .nothing"));
    const said = [title, ...below.map(({ textContent }) => textContent)].join("\n");
    if (held?.dataset.said === said) return; // so that a button in it keeps the focus
    place(this.element, [h("div", { class: "nothing", data: { testid: "empty", said } }, above, h("h2", { text: title }), ...below)]);
  }

  /** The programme is on its way. */
  drawWaiting() {
    if (this.element.querySelector(":scope > .waiting")) return;
    place(this.element, [h("div", { class: "waiting", "aria-label": "Loading" }, ...Array.from({ length: 8 }, () => h("i")))]);
  }
}
