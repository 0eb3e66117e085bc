/**
 * Messages that go by: what went wrong, and what to do next.
 */

import { h, icon } from "./dom.js";

const STAY_MS = 9000;

/** What the reader can do, by the hub's error code. @type {Record<string, string>} */
const NEXT = {
  "access.denied": "Ask an owner of this account for the role you need.",
  "auth.expired": "Sign in again with a new link.",
  "auth.invalid": "Ask for a new sign-in link; each works once, for 15 minutes.",
  "auth.required": "Sign in first.",
  "data.invalid": "Correct it and save again.",
  "file.mismatch": "Upload the file again.",
  "rate.limited": "Wait a moment, then try again.",
  "record.conflict": "Look at the new version, then try again.",
  "record.not_found": "It is gone, or not visible to you.",
  "server.draining": "The hub restarts; this page comes back by itself.",
  "server.unavailable": "Your change was not made. Try again when the dot says Live.",
  "storage.full": "Tell the operator: the disk of the hub is full.",
  "watch.too_large": "Tell the operator: this programme is too large for one page.",
  "write.unknown": "Look whether the change arrived before you repeat it.",
};

/**
 * The next step for an error, in a sentence.
 * @param {{code: string, retry_after?: number | null}} error
 */
export function nextStep({ code, retry_after }) {
  if (retry_after) return `Try again in ${Math.ceil(retry_after)} s.`;
  return NEXT[code] ?? "Try again. If it stays, tell the operator the code below.";
}

/** @param {Element} list the region that holds them */
export function toaster(list) {
  /**
   * @param {string} message
   * @param {{code?: string, next?: string}} [more]
   */
  const show = (message, { code, next } = {}) => {
    const toast = h(
      "li", { class: "toast", data: { testid: "toast", code: code ?? "", kind: code ? "error" : "note" }, role: code ? "alert" : null },
      h("div", {}, h("p", { class: "toast-message", text: message }),
        next ? h("p", { class: "toast-next", text: next }) : null,
        code ? h("p", { class: "toast-code", text: code }) : null),
      h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => toast.remove() }, icon("close")),
    );
    let timer = setTimeout(() => toast.remove(), STAY_MS);
    toast.addEventListener("pointerenter", () => clearTimeout(timer));
    toast.addEventListener("pointerleave", () => { timer = setTimeout(() => toast.remove(), STAY_MS / 2); });
    list.append(toast);
    while (list.children.length > 4) list.firstElementChild?.remove();
  };
  return {
    note: (/** @type {string} */ message) => show(message),
    /** @param {any} error a HubError */
    error: (error) => show(error.message, { code: error.code ?? "server.error", next: nextStep(error) }),
  };
}
