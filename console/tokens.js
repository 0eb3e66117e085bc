/**
 * The tokens of whoever is signed in: kept in the browser, renewed before they end, by one tab at a time.
 *
 * A token that renews counts once; who shows one that was used already ends the session. So the tabs of a browser take
 * turns, and whoever comes second finds what the first one got.
 */

const TOKEN = "aether.token";
const RENEW = "aether.renew";
const ACCOUNT = "aether.account";
const EARLY = 0.25; // of its lifetime before it ends
const LEAST_MS = 5_000;
const AGAIN_MS = 15_000;
const LATE_MS = 2 ** 31 - 1; // the longest a timer waits

/** @typedef {{access: string, access_expires_at: string, refresh: string}} Tokens what `session.sign_in` answers */

export const memory = {
  get token() { return localStorage.getItem(TOKEN); },
  get account() { return localStorage.getItem(ACCOUNT); },
  set account(account) { account === null ? localStorage.removeItem(ACCOUNT) : localStorage.setItem(ACCOUNT, account); },
  /** What renews the token; null for one that stays as it is. @returns {{refresh: string, expires_at: string, since: number} | null} */
  get renew() { return JSON.parse(localStorage.getItem(RENEW) ?? "null"); },
  /** Keep what a sign-in answered. @param {Tokens} made */
  keep(made) {
    localStorage.setItem(RENEW, JSON.stringify({ refresh: made.refresh, expires_at: made.access_expires_at, since: Date.now() }));
    localStorage.setItem(TOKEN, made.access);
  },
  forget() {
    for (const name of [TOKEN, RENEW, ACCOUNT]) localStorage.removeItem(name);
  },
  /** Tell when another tab signs in, renews or signs out. @param {(token: string | null) => void} listener */
  onToken(listener) {
    addEventListener("storage", (event) => { if (event.key === TOKEN) listener(event.newValue); });
  },
};

/** Run one at a time over all tabs, where the browser can. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
const inTurn = (work) => (navigator.locks ? navigator.locks.request(RENEW, work) : work());

export class Renewal {
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {{renew: (refresh: string) => Promise<Tokens>, onToken: (token: string) => void}} host `renew` asks the hub
   */
  constructor(host) {
    this.host = host;
  }

  /** Renew the kept token when its time comes. */
  plan() {
    clearTimeout(this.#timer);
    const { renew } = memory;
    if (renew === null) return;
    const ends = Date.parse(renew.expires_at);
    const wait = ends - Date.now() - (ends - renew.since) * EARLY;
    this.#timer = setTimeout(() => this.now().catch(() => { this.#timer = setTimeout(() => this.plan(), AGAIN_MS); }), Math.min(Math.max(wait, LEAST_MS), LATE_MS));
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** Renew the kept token; throws HubError where the session is over, and whatever says that the hub is away. */
  async now() {
    const before = memory.token;
    const token = await inTurn(async () => {
      const { renew, token: kept } = memory;
      if (renew === null || kept !== before) return kept; // another tab was quicker
      const made = await this.host.renew(renew.refresh);
      memory.keep(made);
      return made.access;
    });
    if (token !== null) this.host.onToken(token);
    this.plan();
    return token;
  }
}
