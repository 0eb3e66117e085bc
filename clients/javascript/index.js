/**
 * Client for Aether Hub. Plain ES modules for browsers and for Node ≥ 20 (pass a WebSocket class before Node 22).
 */

export { act, providers, signIn, signInBy, signOut, welcome } from "./auth.js";
export { Backoff } from "./backoff.js";
export { verdict } from "./closing.js";
export { Connection } from "./connection.js";
export { HubError } from "./errors.js";
export { Hub } from "./hub.js";
export { LiveSet } from "./liveset.js";
export { Lock } from "./lock.js";
export { byOrder, compareText, compareValues } from "./order.js";
export { Roster } from "./roster.js";
export { SortedView } from "./view.js";
