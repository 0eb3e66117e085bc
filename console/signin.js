/**
 * The card of somebody who is not signed in, and where the token of somebody who is is kept.
 */

import { signIn } from "/client/index.js";
import { h, icon, mark } from "./dom.js";
import { providerButtons } from "./providers.js";
import { nextStep } from "./toast.js";

const TOKEN = "aether.token";
const ACCOUNT = "aether.account";

export const memory = {
  get token() { return localStorage.getItem(TOKEN); },
  set token(token) { token === null ? localStorage.removeItem(TOKEN) : localStorage.setItem(TOKEN, token); },
  get account() { return localStorage.getItem(ACCOUNT); },
  set account(account) { account === null ? localStorage.removeItem(ACCOUNT) : localStorage.setItem(ACCOUNT, account); },
  /** Tell when another tab signs in or out. @param {(token: string | null) => void} listener */
  onToken(listener) {
    addEventListener("storage", (event) => { if (event.key === TOKEN) listener(event.newValue); });
  },
};

/** The code in a sign-in link, a fragment or by itself; null where there is none. @param {string} text */
export function codeIn(text) {
  const found = /[#&]signin=([^&\s]+)/.exec(text);
  if (found) return decodeURIComponent(found[1]);
  const bare = text.trim();
  return /^[\w.~-]{8,}$/.test(bare) ? bare : null;
}

/** Take the code out of this page's address, so that it stays in no history. */
export function takeCode() {
  const code = location.hash.startsWith("#signin=") ? codeIn(location.hash) : null;
  if (code !== null) history.replaceState(null, "", location.pathname);
  return code;
}

/** The command in the folder of the hub, as README.md installs it; where it is another the page cannot know. */
const AETHER = ".venv/bin/aether";

/** @param {string} text */
const code = (text) => h("code", { text });

/** Where a command of this page works, and what to do elsewhere. @param {...(Node | string)} more */
export const whereToRun = (...more) => h("p", { class: "where" },
  "Run it in the hub's folder. Installed another way? Take the ", code("aether"), " that starts the hub, with the same ", code("--data"), ". ", ...more);

/** A command of the hub with a button that copies it. @param {string} words after its name */
export function command(words) {
  return copyLine(`${AETHER} ${words}`);
}

/** A line with a button that copies it. @param {string} text */
function copyLine(text) {
  const told = h("span", { class: "visually-hidden", role: "status" });
  const button = h("button", { type: "button", class: "quiet", "aria-label": `Copy ${text}`, onclick: async () => {
    await navigator.clipboard.writeText(text);
    told.textContent = "Copied";
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  } }, icon("copy"));
  return h("div", { class: "command" }, h("code", { text }), navigator.clipboard ? button : null, told);
}

/**
 * The sign-in card.
 * @param {{onToken: (token: string) => void}} outcome
 */
export function signInCard({ onToken }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true, data: { testid: "signin-error" } });
  const field = h("input", {
    id: "signin-link", type: "text", autocomplete: "off", spellcheck: "false", required: true,
    placeholder: `${location.origin}/#signin=…`, "aria-describedby": "signin-hint", data: { testid: "signin-link" },
  });
  const button = h("button", { type: "submit", class: "primary", text: "Sign in", data: { testid: "signin-submit" } });

  /** @param {string} text */
  const say = (text) => {
    problem.textContent = text;
    problem.hidden = text === "";
  };

  /** Redeem a code; also used for the code in the page's address. @param {string} code */
  const redeem = async (code) => {
    button.disabled = true;
    say("");
    try {
      onToken((await signIn(code)).token);
      field.value = "";
    } catch (error) {
      fail(error);
    } finally {
      button.disabled = false;
    }
  };

  /** Say what was refused, and what to do next. @param {unknown} error */
  const fail = (error) => {
    const known = /** @type {any} */ (error);
    say(known.code ? `${known.message} ${nextStep(known)}` : "The hub does not answer. Is it running?");
  };
  const others = providerButtons({ redeem, say, fail });

  const form = h("form", { onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    const code = codeIn(field.value);
    if (code === null) say("That is not a sign-in link. It ends with #signin= and a code.");
    else redeem(code);
  } }, h("label", { for: "signin-link", text: "Or paste the link here" }), h("div", { class: "row" }, field, button));

  const element = h(
    "section", { class: "card-page", "aria-labelledby": "signin-title", data: { testid: "signin" } },
    h("div", { class: "card-large" }, mark(),
      h("h1", { id: "signin-title", text: "Sign in to Aether Hub" }),
      h("p", { id: "signin-hint", text: "On the machine of the hub, run this and open the link it prints. A link works once, for 15 minutes." }),
      command("signin-link"), whereToRun("For another account than main add ", code("--account NAME"), "."), form, problem, others.element),
  );
  return { element, redeem, say, look: others.look };
}

/**
 * The card of somebody who belongs to several accounts.
 * @param {{onAccount: (account: string) => void}} outcome
 */
export function accountCard({ onAccount }) {
  const field = h("input", { id: "account", type: "text", autocomplete: "off", spellcheck: "false", required: true, data: { testid: "account-name" } });
  const form = h("form", { onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    onAccount(field.value.trim());
  } }, h("label", { for: "account", text: "Account" }), h("div", { class: "row" }, field, h("button", { type: "submit", class: "primary", text: "Open" })));
  const element = h("section", { class: "card-page", data: { testid: "account" } }, h("div", { class: "card-large" }, mark(),
    h("h1", { text: "Which account?" }), h("p", { text: "You belong to more than one. Name the one to open, for example main." }), form));
  return { element, field };
}
