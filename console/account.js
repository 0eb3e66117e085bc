/**
 * The dialog around the account: oneself, people, roles, keys, devices. What one may not do is not offered.
 */

import { h, icon, place } from "./dom.js";
import { words } from "./forms.js";
import { devicesRoom, keysRoom } from "./keys.js";
import { meRoom } from "./me.js";
import { peopleRoom, rolesRoom } from "./members.js";

/**
 * What the rooms of the dialog share.
 * @typedef {object} Host
 * @property {import("../clients/javascript/hub.js").Hub} hub
 * @property {(permission: string) => boolean} can whether one holds a permission, such as `api_key.create`
 * @property {(action: string) => boolean} may whether one may call an action
 * @property {(query: any, draw: (set: any) => void) => void} watch keep a list of records drawn while the dialog is open
 * @property {(error: unknown) => void} fail show what was refused
 * @property {() => any} session the answer of the hello
 * @property {(account: string) => void} enter switch to another account
 */
/** @typedef {{name: string, title: string, offered: () => boolean, element: any, open: () => void}} Room */

export class AccountDialog {
  #session = /** @type {any} */ (null);
  #permissions = new Set();
  #actions = new Set();
  /** @type {{stop: () => void}[]} */
  #watches = [];
  /** @type {Room | null} */
  #room = null;

  /**
   * @param {any} hub
   * @param {any} toasts
   * @param {{open: (account: string) => void}} outcome
   */
  constructor(hub, toasts, outcome) {
    this.hub = hub;
    this.element = /** @type {HTMLDialogElement} */ (document.querySelector("dialog.account"));
    this.problem = h("p", { class: "problem", role: "alert", hidden: true, data: { testid: "account-error" } });
    const host = {
      hub,
      can: (/** @type {string} */ permission) => this.#permissions.has(permission),
      may: (/** @type {string} */ action) => this.#actions.has(action),
      watch: (/** @type {any} */ query, /** @type {(set: any) => void} */ draw) => this.#watch(query, draw),
      fail: (/** @type {unknown} */ error) => this.say(words(error)),
      session: () => this.#session,
      enter: (/** @type {string} */ account) => { this.close(); outcome.open(account); },
    };
    /** @type {Room[]} */
    this.rooms = [meRoom(host), peopleRoom(host), rolesRoom(host), keysRoom(host), devicesRoom(host)];
    this.tabs = h("div", { class: "rooms", role: "tablist", "aria-label": "Account", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#move(event) });
    this.title = h("h2", { id: "account-title" });
    this.body = h("div", { class: "room", id: "account-room", role: "tabpanel", tabindex: "-1" });
    this.element.append(h("div", { class: "account-inner" },
      h("header", {}, this.title, h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close (Esc)", data: { testid: "account-close" }, onclick: () => this.close() }, icon("close"))),
      this.tabs, this.problem, this.body));
    this.element.addEventListener("close", () => this.#leave());
    this.element.addEventListener("click", (event) => { if (event.target === this.element) this.close(); });
  }

  /** A session began: what it may is asked when the dialog is opened. @param {any} session */
  greeted(session) {
    this.#session = session;
    if (this.element.open) this.#learn(); // rights may have changed
  }

  async open() {
    if (this.element.open) return;
    this.say("");
    this.title.textContent = this.#session?.display?.user ?? "Account";
    this.element.showModal();
    await this.#learn();
  }

  close() {
    if (this.element.open) this.element.close();
  }

  /** @param {string} text */
  say(text) {
    this.problem.textContent = text;
    this.problem.hidden = text === "";
  }

  async #learn() {
    try {
      const { types, actions } = await this.hub.describe();
      this.#permissions = new Set(Object.values(types).flatMap((/** @type {any} */ type) => type.permissions));
      this.#actions = new Set(Object.keys(actions));
    } catch (error) {
      this.say(words(error));
      return;
    }
    const offered = this.rooms.filter((room) => room.offered());
    place(this.tabs, offered.map((room) => this.#tab(room)));
    this.#show(offered.find(({ name }) => name === this.#room?.name) ?? offered[0]);
  }

  /** @param {Room} room */
  #tab(room) {
    return [...this.tabs.children].find((tab) => tab.dataset.name === room.name) ?? h("button", {
      type: "button", role: "tab", id: `account-tab-${room.name}`, "aria-controls": "account-room", text: room.title,
      data: { testid: "account-tab", name: room.name }, onclick: () => this.#show(room),
    });
  }

  /** @param {Room} room */
  #show(room) {
    this.#leave();
    this.say("");
    this.#room = room;
    for (const tab of this.tabs.children) {
      const chosen = tab.dataset.name === room.name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    this.body.setAttribute("aria-labelledby", `account-tab-${room.name}`);
    this.body.dataset.testid = `room-${room.name}`;
    place(this.body, [room.element]);
    this.body.scrollTop = 0;
    room.open();
  }

  /** Arrows choose the tab beside. @param {KeyboardEvent} event */
  #move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const all = [...this.tabs.children];
    const at = all.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const next = all[(at + step + all.length) % all.length];
    next.click();
    next.focus();
    event.preventDefault();
  }

  /** @param {any} query @param {(set: any) => void} draw */
  #watch(query, draw) {
    const watch = this.hub.watch(query);
    this.#watches.push(watch);
    const now = () => draw(watch);
    watch.on("change", now);
    watch.on("ready", now);
    watch.on("error", (/** @type {unknown} */ error) => this.say(words(error)));
    if (watch.ready) now();
  }

  #leave() {
    for (const watch of this.#watches.splice(0)) watch.stop();
  }
}
