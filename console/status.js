/**
 * How the page is connected, as a dot and words.
 *
 * A short cut says "Reconnecting…"; only when it lasts, or the browser knows that there is no network, does it
 * say "Offline", so that the words do not flicker.
 */

import { setText } from "./dom.js";

const PATIENCE_MS = 4000;

const WORDS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  offline: "Offline",
  "signed-out": "Signed out",
  ended: "Disconnected",
};

/** @type {Partial<Record<keyof typeof WORDS, string>>} what a narrow screen has no room for */
const MORE = { offline: "changes will resume" };

/**
 * Keep an element equal to the hub's state.
 * @param {HTMLElement} element
 * @param {import("../clients/javascript/index.js").Hub} hub
 */
export function showStatus(element, hub) {
  const words = /** @type {Element} */ (element.querySelector(".status-words"));
  const more = /** @type {Element} */ (element.querySelector(".status-more"));
  let was_online = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let patience;

  /** @param {keyof typeof WORDS} state @param {string} [title] */
  const show = (state, title = "") => {
    element.dataset.state = state;
    document.body.dataset.connection = state;
    element.title = title;
    setText(words, WORDS[state]);
    setText(more, MORE[state] ?? "");
  };

  const losing = () => {
    if (element.dataset.state === "offline") return;
    show(was_online ? "reconnecting" : "connecting");
    if (!navigator.onLine) show("offline");
    patience ??= setTimeout(() => show("offline"), PATIENCE_MS);
  };

  hub.on("state", ({ state, final, error }) => {
    if (state === "connecting" || (state === "offline" && !final)) {
      losing();
      return;
    }
    clearTimeout(patience);
    patience = undefined;
    if (state === "online") {
      was_online = true;
      const { name, version } = hub.session.server;
      show("live", `Connected to ${name} ${version}`);
    } else if (state === "signed-out") {
      was_online = false;
      show("signed-out");
    } else show("ended", error?.message);
  });
  addEventListener("online", () => hub.retryNow());
  addEventListener("offline", () => { if (hub.state !== "online") losing(); });
  document.addEventListener("visibilitychange", () => {
    hub.setStatus(document.hidden ? "away" : "active");
    if (!document.hidden) hub.retryNow();
  });
}
