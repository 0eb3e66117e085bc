/**
 * The lock of the talk that is open: who else edits it, and holding it while its form is open here.
 *
 * A lock is advice. Where it cannot be had because the hub is away, the form opens all the same: what keeps writers from
 * overwriting each other is the version of the record.
 */

/** @typedef {import("../clients/javascript/channel.js").Holder} Holder */
/**
 * @typedef {object} LockHost
 * @property {() => void} changed somebody else's lock came or went
 * @property {(holder: Holder | null) => void} lost the form here has to close: somebody took over, or nobody may hold it
 */

const TYPE = "event_session";
const PATIENCE_MS = 1000; // for the hub's word on a lock, before the form opens anyway

export class TalkLock {
  /** @type {import("../clients/javascript/channel.js").Channel | null} of the open talk */
  #channel = null;

  /** @type {import("../clients/javascript/lock.js").Lock | null} */
  #lock = null;

  /** @type {string | null} the talk whose form is open here */
  #wanted = null;

  /** @param {import("../clients/javascript/index.js").Hub} hub @param {LockHost} host */
  constructor(hub, host) {
    this.hub = hub;
    this.host = host;
    hub.on("online", () => this.#again());
    document.addEventListener("visibilitychange", () => this.#again());
  }

  /** Hear who edits a talk, or none. @param {string | null} talk */
  follow(talk) {
    const name = talk === null ? null : `${TYPE}:${talk}`;
    if (name === (this.#channel?.name ?? null)) return;
    this.#channel?.leave();
    this.#channel = name === null ? null : this.hub.join(name, null);
    this.#channel?.on("lock", () => this.host.changed());
  }

  /** Who else has the lock of the open talk. @returns {Holder | null} */
  get other() {
    const holder = this.#channel?.lock?.holder ?? null;
    return holder === null || this.hub.isOwn(holder.session) ? null : holder;
  }

  /**
   * Hold the lock of a talk while its form is open. Returns false where somebody else has it; true where it is held, or the
   * hub does not say within a second.
   * @param {string} talk
   * @param {boolean} steal
   */
  async hold(talk, steal) {
    this.#wanted = talk;
    if (this.hub.state !== "online") return true; // asked for when the hub is back
    const asked = this.#ask(talk, steal);
    /** @type {Promise<"late">} */
    const late = new Promise((done) => { setTimeout(() => done("late"), PATIENCE_MS); });
    const first = await Promise.race([asked, late]);
    if (first !== "late") return first;
    asked.then((held) => { if (!held && this.#wanted === null) this.host.lost(this.other); });
    return true;
  }

  /** The form is closed. */
  release() {
    this.#wanted = null;
    const lock = this.#lock;
    this.#lock = null;
    lock?.release().catch(() => {}); // it ends with its lease all the same
  }

  /** @param {string} talk @param {boolean} steal @returns {Promise<boolean>} */
  async #ask(talk, steal) {
    try {
      const lock = await this.hub.lock(TYPE, talk, { steal });
      if (this.#wanted !== talk) lock.release().catch(() => {}); // the form was closed meanwhile
      else this.#hold(lock);
      return true;
    } catch (error) {
      const { code, details } = /** @type {any} */ (error);
      if (code !== "lock.held") return true;
      if (!steal && this.hub.isOwn(details?.holder?.session)) return this.#ask(talk, true);
      if (this.#wanted === talk) this.#wanted = null;
      return false;
    }
  }

  /** @param {import("../clients/javascript/lock.js").Lock} lock */
  #hold(lock) {
    this.#lock = lock;
    lock.on("lost", ({ why, holder }) => {
      if (this.#lock !== lock) return;
      this.#lock = null;
      const taken = holder !== null && !this.hub.isOwn(holder.session);
      if (!taken && why !== "deleted" && why !== "record.not_found") this.#again(); // it has lapsed, or was an earlier page's
      else {
        this.#wanted = null;
        this.host.lost(taken ? holder : null);
      }
    });
  }

  /** Ask for the lock of the open form again, as soon as somebody looks at the page. */
  async #again() {
    const talk = this.#wanted;
    if (talk === null || this.#lock !== null || document.hidden || this.hub.state !== "online") return;
    if (!await this.#ask(talk, false)) this.host.lost(this.other);
  }
}
