/**
 * Signing in and out over HTTP: a one-use code becomes a session token. Where the token is kept is the app's matter.
 */

import { HubError } from "./errors.js";

/** @param {Response} response @returns {Promise<HubError>} */
async function refusal(response) {
  const retry = Number(response.headers.get("Retry-After"));
  const fallback = { code: "server.unavailable", message: `The hub answered ${response.status}.` };
  const body = await response.json().catch(() => fallback); // a proxy on the way may answer anything
  return new HubError({ ...fallback, ...body, retry_after: body.retry_after ?? (retry || undefined) });
}

/**
 * Turn the code of a sign-in link into a session token.
 * @param {string} code
 * @param {{origin?: string, fetch?: typeof fetch}} [options] `origin` of the hub; empty = this page's
 * @returns {Promise<{token: string, expires_at: string}>}
 */
export async function signIn(code, { origin = "", fetch: fetcher = fetch } = {}) {
  const response = await fetcher(`${origin}/auth/signin`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code }),
  });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/**
 * End a session token on the hub.
 * @param {string} token
 * @param {{origin?: string, fetch?: typeof fetch}} [options]
 */
export async function signOut(token, { origin = "", fetch: fetcher = fetch } = {}) {
  const response = await fetcher(`${origin}/auth/signout`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
  });
  if (!response.ok) throw await refusal(response);
}

/**
 * Call an action by itself, without a socket: those of guests, such as `session.sign_in`, need no token.
 * @param {string} action
 * @param {Record<string, any>} args
 * @param {{origin?: string, token?: string | null, fetch?: typeof fetch}} [options]
 * @returns {Promise<any>} its result; throws HubError
 */
export async function act(action, args, { origin = "", token = null, fetch: fetcher = fetch } = {}) {
  const response = await fetcher(`${origin}/rpc`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token === null ? {} : { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ op: "action.call", id: 1, action, args }),
  });
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data;
}

/**
 * What a sign-in page shows: the providers, with `start` where signing in with each begins, and the account that the
 * host name leads to, null where it leads to none.
 * @param {{origin?: string, fetch?: typeof fetch}} [options]
 * @returns {Promise<{providers: {name: string, title: string, start: string}[], account: {name: string, title: string} | null}>}
 */
export async function welcome({ origin = "", fetch: fetcher = fetch } = {}) {
  const response = await fetcher(`${origin}/auth/providers`);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/**
 * The sign-in providers of a hub; `start` is where signing in with one begins.
 * @param {{origin?: string, fetch?: typeof fetch}} [options]
 * @returns {Promise<{name: string, title: string, start: string}[]>}
 */
export async function providers(options = {}) {
  return (await welcome(options)).providers;
}

/**
 * Sign in with a provider in a window of its own. Call it while a click is handled, or no window may open.
 * Rejects with `auth.invalid` where the window was closed, and with what the hub said where it refused.
 * @param {{start: string}} provider one of `providers()`
 * @returns {Promise<string>} the code for `signIn`
 */
export function signInBy({ start }) {
  const hub = new URL(start).origin;
  const opened = window.open(`${start}?mode=popup&origin=${encodeURIComponent(location.origin)}`, "aether-signin", "popup,width=520,height=680");
  return new Promise((resolve, reject) => {
    if (opened === null) {
      reject(new HubError({ code: "auth.invalid", message: "The browser opened no window; allow windows of this page." }));
      return;
    }
    /** @param {() => void} outcome */
    const end = (outcome) => {
      clearInterval(looking);
      removeEventListener("message", told);
      outcome();
    };
    const told = (/** @type {MessageEvent} */ { origin, source, data }) => {
      if (origin !== hub || source !== opened || data?.kind !== "aether.signin") return;
      if (data.code) end(() => resolve(data.code));
      else end(() => reject(new HubError(data.error)));
    };
    const looking = setInterval(() => {
      if (opened.closed) setTimeout(() => end(() => reject(new HubError({ code: "auth.invalid", message: "The window was closed before you were signed in." }))), 300);
    }, 300);
    addEventListener("message", told);
  });
}
