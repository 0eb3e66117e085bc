/**
 * The title of a talk, edited in place by who may: Enter saves, Esc gives up, and a meanwhile changed title is a
 * question, not a loss. What was typed and neither saved nor given up is kept until the page is left. While the title is
 * edited the talk is locked; who finds it locked sees by whom, and may take over.
 */

import { avatar, h, icon, setText } from "./dom.js";
import { canBeSeen, insideSentence, titleWords } from "./text.js";

const MOST_TRIES = 3; // changes of other fields that may overtake one save

/**
 * @typedef {object} TitleHost what the editor asks of the page
 * @property {() => any} record the session's record as it is now
 * @property {(id: string, title: string, if_version: number) => Promise<any>} save
 * @property {(id: string) => Promise<any>} fetch the record as the hub has it
 * @property {() => boolean} online
 * @property {() => boolean} may_edit whether this person's role may change a title
 * @property {(editing: boolean) => void} editing
 * @property {(id: string, steal: boolean) => Promise<boolean>} hold take the talk's lock; false: somebody else has it
 * @property {() => void} release let it go
 * @property {() => import("./people.js").Editor | null} other who else holds it now
 * @property {(error: any) => void} failed
 * @property {(user: string | null) => string} nameOf
 */

export class TitleEditor {
  /** @type {any} the record when editing began; null while reading */
  #base = null;

  /** whether the form is about to open, and waits for its lock */
  #beginning = false;

  /** @type {Map<string, {base: any, text: string}>} by talk: what was typed there and left, not saved and not given up */
  #drafts = new Map();

  /** @param {TitleHost} host */
  constructor(host) {
    this.host = host;
    this.heading = h("h2", { id: "drawer-title", data: { testid: "drawer-title" }, ondblclick: () => this.begin() });
    this.pencil = h("button", { type: "button", class: "quiet", "aria-label": "Edit the title", title: "Edit the title", data: { testid: "title-edit" }, onclick: () => this.begin() }, icon("pencil"));
    this.field = h("textarea", { rows: "1", "aria-label": "Title", "aria-describedby": "title-hint", data: { testid: "title-input" }, onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event), oninput: () => this.#grow() });
    this.hint = h("span", { id: "title-hint", class: "hint" });
    this.button = h("button", { type: "button", class: "primary", text: "Save", data: { testid: "title-save" }, onclick: () => this.save() });
    this.cancelled = h("button", { type: "button", text: "Cancel", data: { testid: "title-cancel" }, onclick: () => this.end() });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true, data: { testid: "title-error" } });
    this.conflict = h("div", { class: "conflict", role: "alert", hidden: true, data: { testid: "title-conflict" } });
    this.draft = h("p", { class: "draft", hidden: true, data: { testid: "title-draft" } });
    this.lock = h("p", { class: "locked", role: "status", hidden: true, data: { testid: "title-lock" } });
    this.reading = h("div", { class: "title-reading" }, this.heading, this.pencil, this.lock, this.draft);
    this.buttons = h("div", { class: "row" }, this.hint, this.cancelled, this.button);
    this.writing = h("div", { class: "title-writing", hidden: true }, this.field, this.problem, this.conflict, this.buttons);
    this.element = h("div", { class: "title" }, this.reading, this.writing);
  }

  get active() {
    return this.#base !== null;
  }

  /** Who else edits this now; null also while it is edited here. */
  get other() {
    return this.active ? null : this.host.other();
  }

  /** Show the title as it is now; while somebody edits, a change from elsewhere is told, not shown over theirs. */
  refresh() {
    const record = this.host.record();
    if (!record) return;
    setText(this.heading, titleWords(record.title));
    const may_edit = this.host.may_edit();
    if (!may_edit) this.leave();
    const { other } = this;
    this.pencil.hidden = !may_edit || other !== null;
    this.draft.classList.toggle("waits", other !== null);
    this.#showLock(other, may_edit);
    this.#showDraft(may_edit ? this.#drafts.get(record.id)?.text : undefined);
    if (this.active && record.title !== this.#base.title && this.conflict.hidden && !this.field.disabled) this.#ask(record);
  }

  /** Begin, with what was typed here before where there is some. @param {boolean} [steal] also where somebody else does */
  async begin(steal = false) {
    const wanted = this.host.record()?.id;
    if (this.active || this.#beginning || wanted === undefined || !this.host.may_edit()) return;
    this.#beginning = true;
    const held = await this.host.hold(wanted, steal);
    this.#beginning = false;
    const record = this.host.record();
    if (!held || record?.id !== wanted) {
      if (held) this.host.release();
      this.refresh();
      return;
    }
    this.#open(record);
  }

  /** @param {any} record */
  #open(record) {
    const draft = this.#drafts.get(record.id);
    this.#drafts.delete(record.id);
    this.#base = draft?.base ?? record;
    this.field.value = draft?.text ?? record.title ?? "";
    this.#say("");
    this.#show(true);
    this.field.focus();
    if (draft === undefined) this.field.select();
    this.#grow();
    this.refresh();
    this.host.editing(true);
  }

  /** The reader goes elsewhere: keep what was typed. Returns whether there was anything to keep. */
  leave() {
    if (!this.active) return false;
    const base = this.#base;
    const text = this.field.value;
    const typed = text !== (base.title ?? "");
    if (typed) this.#drafts.set(base.id, { base, text });
    this.end();
    return typed && !this.field.disabled; // what is being saved needs no word
  }

  /** Nobody is signed in any more: nothing of theirs stays. */
  forget() {
    this.end();
    this.#drafts.clear();
  }

  /** Back to reading; nothing is saved or kept. */
  end() {
    if (!this.active) return;
    const focused = this.element.contains(document.activeElement);
    this.#base = null;
    this.#show(false);
    this.host.release();
    this.refresh();
    if (focused) this.pencil.focus();
    this.host.editing(false);
  }

  async save() {
    const title = this.field.value.replace(/\s+/g, " ").trim();
    if (!canBeSeen(title)) {
      this.#say("A talk needs a title.");
      return;
    }
    if (title === this.#base.title) {
      this.end();
      return;
    }
    const base = this.#base;
    this.#say("");
    this.#busy(true);
    try {
      await this.#send(title, base);
      if (this.#base === base) this.end();
      else if (this.#drafts.get(base.id)?.base === base) this.#drafts.delete(base.id);
      this.refresh();
    } catch (error) {
      const known = /** @type {any} */ (error);
      if (this.#base !== base) {
        if (this.#drafts.get(base.id)?.base === base) this.host.failed(known); // left meanwhile: it is still kept
        return;
      }
      if (known.code === "data.invalid") this.#say(known.message);
      else if (known.code !== "record.conflict") this.host.failed(known);
    } finally {
      if (this.#base === base) {
        this.#busy(false);
        if (this.conflict.hidden) this.field.focus();
      }
    }
  }

  /** Send it; a change of other fields meanwhile is no conflict. @param {string} title @param {any} base */
  async #send(title, base) {
    let { version } = base;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.host.save(base.id, title, version);
      } catch (error) {
        if (/** @type {any} */ (error).code !== "record.conflict" || tries === MOST_TRIES) throw error;
        const latest = await this.host.fetch(base.id);
        if (latest.title !== base.title) {
          if (this.#base === base) this.#ask(latest);
          throw error;
        }
        ({ version } = latest);
      }
    }
  }

  /** Who else edits this, and how to go on. @param {import("./people.js").Editor | null} other @param {boolean} may_edit */
  #showLock(other, may_edit) {
    const key = other === null ? "" : JSON.stringify([other.key, other.name, other.hue, other.mine, may_edit]);
    this.lock.hidden = other === null;
    if (other === null || this.lock.dataset.shown === key) return;
    this.lock.dataset.shown = key;
    const words = other.mine ? "You are editing this title on another page." : `${insideSentence(other.name)} is editing this title.`;
    this.lock.style.setProperty("--hue", String(other.hue));
    this.lock.replaceChildren(avatar(other), h("span", { text: words }), ...(may_edit ? [h("button", {
      type: "button", text: other.mine ? "Edit here" : "Take over", data: { testid: "title-take-over" }, onclick: () => this.begin(true),
    })] : []));
  }

  /** @param {string | undefined} text what was typed here before; undefined = nothing */
  #showDraft(text) {
    this.draft.hidden = text === undefined;
    if (text === undefined || this.draft.dataset.text === text) return;
    this.draft.dataset.text = text;
    const discard = () => {
      this.#drafts.delete(this.host.record()?.id);
      this.refresh();
      this.pencil.focus();
    };
    this.draft.replaceChildren(
      h("span", {}, "Your unsaved title: ", h("bdi", { text: titleWords(text) })),
      h("button", { type: "button", text: "Continue", data: { testid: "draft-continue" }, onclick: () => this.begin() }),
      h("button", { type: "button", text: "Discard", data: { testid: "draft-discard" }, onclick: discard }),
    );
  }

  /** Somebody was quicker: let the writer choose. @param {any} latest */
  #ask(latest) {
    const take = () => this.end();
    const keep = () => {
      this.#base = latest;
      this.#question(false);
      this.save();
    };
    this.conflict.replaceChildren(
      h("p", {}, h("strong", { text: insideSentence(this.host.nameOf(latest.updated_by)) }), " changed this title while you were writing:"),
      h("blockquote", { text: titleWords(latest.title) }),
      h("div", { class: "row" },
        h("button", { type: "button", text: "Use theirs", data: { testid: "conflict-take" }, onclick: take }),
        h("button", { type: "button", text: "Save mine instead", data: { testid: "conflict-keep" }, onclick: keep })),
    );
    this.#question(true);
  }

  /** @param {boolean} asked whether the writer has to choose */
  #question(asked) {
    this.conflict.hidden = !asked;
    this.buttons.hidden = asked;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (this.conflict.hidden) this.save();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      this.end();
    }
  }

  /** @param {boolean} writing */
  #show(writing) {
    this.reading.hidden = writing;
    this.writing.hidden = !writing;
    this.#question(false);
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.field.disabled = busy;
    this.button.disabled = busy;
    const saving = this.host.online() ? "Saving…" : "Saves when the hub is back…";
    this.hint.textContent = busy ? saving : "Enter saves, Esc cancels";
  }

  /** @param {string} problem */
  #say(problem) {
    this.problem.textContent = problem;
    this.problem.hidden = problem === "";
    this.#busy(false);
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }
}
