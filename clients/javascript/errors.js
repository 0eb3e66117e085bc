/**
 * What can go wrong, as the hub names it. The code is the contract; the message is prose for people.
 */

/** @typedef {{code: string, message: string, path?: string, details?: unknown, retry_after?: number}} ErrorBody */

export class HubError extends Error {
  /** @param {ErrorBody} body an `error` answer, or the same shape made here */
  constructor(body) {
    super(body.message);
    this.name = "HubError";
    /** dotted word of the hub's error table */
    this.code = body.code;
    /** the field at fault, when one is */
    this.path = body.path ?? null;
    /** more about it, shape by code */
    this.details = body.details ?? null;
    /** seconds after which asking again can help, when it can */
    this.retry_after = body.retry_after ?? null;
  }
}

/** Not run by the hub: it is on its way down and the same request belongs on the next socket. */
const NOT_RUN = new Set(["server.draining"]);

/** Waiting helps although the request itself was right. */
const PASSING = new Set(["server.draining", "server.unavailable", "rate.limited", "write.unknown"]);

/** @param {string} code */
export const wasNotRun = (code) => NOT_RUN.has(code);

/** @param {ErrorBody} body */
export const mayPass = (body) => PASSING.has(body.code) || typeof body.retry_after === "number";

/** @param {string} code */
export const isAboutIdentity = (code) => code.startsWith("auth.");
