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
