/**
 * The records of one event, watched, and what to redraw when they change.
 */

import { join } from "./programme.js";
import { Times, chooseZone } from "./time.js";

/** @typedef {{talk: string, before: any, record: any, at: number, own: boolean}} Edit a change of a session, for the list */

const TYPES = {
  sessions: "event_session", rooms: "event_location", tracks: "event_track", persons: "event_person",
  presenters: "event_presenter", files: "event_file",
};
const MOST_EDITS = 6;

export class Store {
  /** @type {ReturnType<typeof setTimeout> | undefined} a redraw that is due */
  #due;

  /** @type {(() => void)[]} */
  #endings = [];

  /** whether the whole programme was told of: from then on what comes is a change, not the first sight of it */
  #seen = false;

  /**
   * @param {import("../clients/javascript/index.js").Hub} hub
   * @param {string} event
   * @param {{changed: (flash: Set<string>) => void, refused: (error: any) => void}} listener `flash`: talks that somebody
   *   else changed since the last call
   */
  constructor(hub, event, listener) {
    this.hub = hub;
    this.event = event;
    this.listener = listener;
    /** @type {Edit[]} newest first, one per talk */
    this.edits = [];
    /** @type {Set<string>} talks to flash at the next redraw */
    this.flash = new Set();
    /** @type {Record<keyof typeof TYPES, any>} */
    this.watches = /** @type {any} */ ({});
    const parent = { type: "event", rec: event };
    for (const [name, type] of Object.entries(TYPES)) {
      const watch = hub.watch({ type, parent });
      this.watches[/** @type {keyof typeof TYPES} */ (name)] = watch;
      this.#endings.push(
        watch.on("change", (change) => this.#changed(type, change)),
        watch.on("ready", () => {
          this.#seen = this.ready;
          this.#redraw();
        }),
        watch.on("error", (error) => listener.refused(error)),
        () => watch.stop(),
      );
    }
    this.#seen = this.ready;
    this.#redraw();
  }

  /** Whether everything was there at least once. */
  get ready() {
    return Object.values(this.watches).every((watch) => watch.ready);
  }

  /** A session's record as it is now. @param {string} id */
  session(id) {
    return this.watches.sessions.records.get(id);
  }

  get files() {
    return [...this.watches.files.records.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  /** The programme as readers see it. @param {string | null | undefined} timezone of the event */
  programme(timezone) {
    const chosen = chooseZone(timezone);
    const times = new Times(chosen.zone);
    const { sessions, rooms, tracks, persons, presenters } = this.watches;
    const joined = join({
      sessions: sessions.records.values(), rooms: rooms.records.values(), tracks: tracks.records.values(),
      persons: persons.records, presenters: presenters.records.values(),
    }, times);
    return { ...joined, times, chosen };
  }

  stop() {
    clearTimeout(this.#due);
    for (const end of this.#endings) end();
  }

  /** @param {string} type @param {any} change */
  #changed(type, change) {
    const own = this.hub.isOwn(change.origin);
    if (this.#seen && !own) for (const talk of this.#touched(type, change)) this.flash.add(talk);
    if (type === TYPES.sessions && this.#seen) {
      const at = Date.now();
      const edits = change.updated.map((/** @type {any} */ { before, record }) => ({ talk: record.id, before, record, at, own }));
      const talks = new Set(edits.map((/** @type {Edit} */ { talk }) => talk));
      this.edits = [...edits.reverse(), ...this.edits.filter(({ talk }) => !talks.has(talk))].slice(0, MOST_EDITS);
    }
    this.#redraw();
  }

  /** The talks a change is about. @param {string} type @param {any} change @returns {string[]} */
  #touched(type, { entered, updated, left }) {
    const records = [
      ...entered, ...updated.map((/** @type {any} */ { record }) => record), ...left.map((/** @type {any} */ { record }) => record),
    ];
    if (type === TYPES.sessions) return records.map(({ id }) => id);
    if (type === TYPES.presenters) return records.map(({ session_id }) => session_id);
    if (type !== TYPES.persons) return [];
    const persons = new Set(records.map(({ id }) => id));
    return [...this.watches.presenters.records.values()]
      .filter(({ person_id }) => persons.has(person_id)).map(({ session_id }) => session_id);
  }

  /** Once per turn, however many messages came with it. */
  #redraw() {
    this.#due ??= setTimeout(() => {
      this.#due = undefined;
      const { flash } = this;
      this.flash = new Set();
      this.listener.changed(flash);
    }, 0);
  }
}
