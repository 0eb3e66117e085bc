/**
 * Everything about one talk, beside or over the programme.
 */

import { avatar, h, icon, place } from "./dom.js";
import { insideSentence, paragraphs, safeAddress } from "./text.js";
import { duration } from "./time.js";
import { TitleEditor } from "./title.js";

/** @param {string} code "en" → "English" */
function languageName(code) {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(code) ?? code;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // not a language code: shown as it is
    return code;
  }
}

/** @param {string} href @param {string} text */
const outside = (href, text) => h("a", { href, text, target: "_blank", rel: "noopener noreferrer nofollow" });

/** @param {string | null | undefined} source @param {string} className */
const prose = (source, className) => paragraphs(source).map((pieces) => (
  h("p", { class: className }, ...pieces.map(({ text, href }) => (href && safeAddress(href) ? outside(href, text) : text)))
));

/** @param {Parameters<typeof icon>[0]} name @param {string} label @param {...(Node | string | null)} content */
const fact = (name, label, ...content) => (
  h("div", { class: "fact" }, h("dt", {}, icon(name), h("span", { class: "visually-hidden", text: label })), h("dd", {}, ...content))
);

export class Drawer {
  /** @type {string | null} the talk that is open */
  open = null;

  /** what the body shows, to draw it only when that changes */
  #shown = "";

  /**
   * @param {HTMLElement} element
   * @param {import("./title.js").TitleHost & {close: () => void}} host
   */
  constructor(element, host) {
    this.element = element;
    this.title = new TitleEditor(host);
    this.track = h("span", { class: "chip" });
    this.body = h("div", { class: "drawer-body" });
    this.watchers = h("div", { class: "drawer-watchers", data: { testid: "drawer-watchers" } });
    this.closer = h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close (Esc)", data: { testid: "drawer-close" }, onclick: host.close }, icon("close"));
    element.replaceChildren(h("div", { class: "drawer-inner" },
      h("div", { class: "drawer-top" }, this.track, this.watchers, this.closer), this.title.element, this.body));
  }

  /** Show a talk, or nothing. @param {string | null} id */
  show(id) {
    if (id === this.open) return;
    this.title.leave();
    this.open = id;
    this.#shown = "";
    this.element.hidden = id === null;
    this.element.scrollTop = 0;
  }

  /**
   * @param {import("./programme.js").Talk} talk
   * @param {{times: import("./time.js").Times, watchers: import("./people.js").Person[], changed: string | null}} look
   */
  draw(talk, { times, watchers, changed }) {
    this.title.refresh();
    this.element.style.setProperty("--hue", String(talk.hue));
    this.element.dataset.id = talk.id;
    const other = this.title.other; // is shown at what is locked
    place(this.watchers, watchers.filter(({ key }) => key !== other?.key).map((person) => h("span", { class: "watcher" }, avatar(person),
      h("span", { text: `${insideSentence(person.name.split(" ")[0])} ${person.editing ? "is editing" : "is reading"}` }))));
    const shown = JSON.stringify([talk.record, talk.speakers, talk.room?.name, talk.track?.name, times.zone, changed]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.track.textContent = talk.track?.name ?? "";
    this.track.hidden = talk.track === null;
    this.body.replaceChildren(...this.#content(talk, times, changed));
  }

  /** @param {import("./programme.js").Talk} talk @param {import("./time.js").Times} times @param {string | null} changed */
  #content(talk, times, changed) {
    const { record } = talk;
    const address = safeAddress(record.url);
    const quiet = [record.kind, record.recording_license].filter(Boolean).join(" · ");
    const facts = [
      talk.start === null ? null : fact("clock", "When", h("strong", { text: `${times.clock(talk.start)} – ${times.clock(talk.end)}` }),
        ` ${times.long(talk.day)} · ${duration((talk.end - talk.start) / 60_000)}`),
      talk.room ? fact("pin", "Where", talk.room.name) : null,
      record.language ? fact("language", "Language", languageName(record.language)) : null,
      quiet ? fact("tag", "Kind", quiet) : null,
      record.do_not_record ? fact("record", "Recording", "Will not be recorded") : null,
      address ? fact("link", "Page", outside(address, address.replace(/^https?:\/\//, "").replace(/\/$/, ""))) : null,
    ];
    return [
      talk.subtitle ? h("p", { class: "drawer-subtitle", text: talk.subtitle }) : null,
      talk.speakers.length > 0 ? h("p", { class: "drawer-speakers", data: { testid: "drawer-speakers" }, text: talk.speakers.map(insideSentence).join(", ") }) : null,
      h("dl", { class: "facts" }, ...facts),
      ...prose(record.abstract, "abstract"),
      ...prose(record.description === record.abstract ? "" : record.description, "description"),
      h("p", { class: "drawer-end", text: `Version ${record.version}${changed ? ` · ${changed}` : ""}` }),
    ].filter((node) => node !== null);
  }
}
