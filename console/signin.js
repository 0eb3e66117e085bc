/**
 * The cards of somebody who is not in yet: signing in, an invitation, a new password, the choice of an account.
 */

import { act } from "/client/index.js";
import { h, icon, mark } from "./dom.js";
import { field, form, words } from "./forms.js";
import { providerButtons } from "./providers.js";

/** The code in a sign-in link, a fragment or by itself; null where there is none. @param {string} text */
export function codeIn(text) {
  const found = /[#&]signin=([^&\s]+)/.exec(text);
  if (found) return decodeURIComponent(found[1]);
  const bare = text.trim();
  return /^[\w.~-]{8,}$/.test(bare) ? bare : null;
}

/**
 * Take what a link brought out of this page's address, so that it stays in no history: a code to sign in, to accept an
 * invitation or to set a new password with. Null where the address has none.
 * @returns {{kind: "signin" | "invite" | "reset", code: string} | null}
 */
export function takeCode() {
  const found = /^#(signin|invite|reset)=([^&\s]+)/.exec(location.hash);
  if (found === null) return null;
  history.replaceState(null, "", location.pathname);
  return { kind: /** @type {any} */ (found[1]), code: decodeURIComponent(found[2]) };
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

/** What the list of sessions calls this browser. */
export const clientName = () => {
  const agent = navigator.userAgent;
  const browser = /** @type {[string, RegExp][]} */ ([["Edge", /Edg\//], ["Firefox", /Firefox\//], ["Chrome", /Chrom\w*\//], ["Safari", /Safari\//]]).find(([, sign]) => sign.test(agent))?.[0] ?? "A browser";
  const system = /Android|iPhone|iPad|Windows|Mac|Linux/.exec(agent)?.[0];
  return system ? `${browser} on ${system}` : browser;
};

/**
 * The sign-in card: by password, with a provider, or with a link.
 * @param {{onTokens: (made: import("./tokens.js").Tokens) => void}} outcome
 */
export function signInCard({ onTokens }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true, data: { testid: "signin-error" } });
  const note = h("p", { class: "done-note", role: "status", hidden: true, data: { testid: "signin-note" } });
  /** @param {string} text */
  const say = (text) => {
    problem.textContent = text;
    problem.hidden = text === "";
    note.hidden = true;
  };
  const fail = (/** @type {unknown} */ error) => say(words(error));

  const mail = field("Mail address", { type: "email", name: "username", autocomplete: "username", required: true, maxlength: 254, data: { testid: "signin-mail" } });
  const password = field("Password", { type: "password", name: "password", autocomplete: "current-password", required: true, data: { testid: "signin-password" } });
  const byPassword = form({ label: "Sign in", testid: "signin-by-password", fields: [mail.element, password.element], run: async () => {
    say("");
    const made = await act("session.sign_in", { email: mail.input.value.trim(), password: password.input.value, client: clientName() });
    password.input.value = "";
    onTokens(made);
  } });
  const forgot = h("button", { type: "button", class: "link", text: "Forgot your password?", data: { testid: "signin-forgot" }, onclick: async () => {
    say("");
    if (!mail.input.reportValidity()) return;
    try {
      note.textContent = (await act("user.send_reset", { email: mail.input.value.trim() })).message;
      note.hidden = false;
    } catch (error) {
      fail(error);
    }
  } });

  const link = field("Link", { type: "text", autocomplete: "off", spellcheck: "false", required: true, placeholder: `${location.origin}/#signin=…`, data: { testid: "signin-link" } });
  const byLink = h("form", { class: "plain", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    const code = codeIn(link.input.value);
    if (code === null) say("That is not a sign-in link. It ends with #signin= and a code.");
    else redeem(code);
  } }, link.element, h("button", { type: "submit", text: "Open the link", data: { testid: "signin-submit" } }));

  /** Redeem a code; also used for the code in the page's address. @param {string} code */
  const redeem = async (code) => {
    say("");
    try {
      onTokens(await act("session.redeem", { code, client: clientName() }));
      link.input.value = "";
    } catch (error) {
      fail(error);
    }
  };
  const title = h("h1", { id: "signin-title", text: "Sign in to Aether Hub" });
  const others = providerButtons({ redeem, say, fail, name: (account) => {
    title.textContent = `Sign in to ${account?.title || account?.name || "Aether Hub"}`;
  } });
  const element = h(
    "section", { class: "card-page", "aria-labelledby": "signin-title", data: { testid: "signin" } },
    h("div", { class: "card-large" }, mark(),
      title, problem, note, byPassword.element, forgot,
      h("details", { class: "by-link", data: { testid: "signin-by-link" } }, h("summary", { text: "Sign in with a link" }),
        h("p", { text: "On the machine of the hub, run this and open the link it prints. A link works once, for 15 minutes." }),
        command("signin-link"), whereToRun("For another account than main add ", code("--account NAME"), "."), byLink),
      others.element),
  );
  return { element, redeem, say, look: others.look };
}

/**
 * The card of somebody who was invited, or who sets a new password: the code came with a link.
 * @param {{onTokens: (made: import("./tokens.js").Tokens) => void, onJoined: (account: string) => void, token: () => string | null, cancel: () => void}} outcome
 */
export function codeCard({ onTokens, onJoined, token, cancel }) {
  let kind = "invite";
  let given = "";
  const title = h("h1", { id: "code-title" });
  const about = h("p", {});
  const name = field("Your name", { type: "text", name: "name", autocomplete: "name", maxlength: 200, data: { testid: "code-name" } });
  const password = field("New password", { type: "password", name: "new-password", autocomplete: "new-password", minlength: 10, hint: "At least 10 characters. A few words are good.", data: { testid: "code-password" } });
  const done = form({ label: "Go on", testid: "code", fields: [name.element, password.element], run: async () => {
    const secret = password.input.value;
    if (kind === "reset") {
      onTokens(await act("user.reset", { code: given, password: secret, client: clientName() }));
    } else {
      const shown = name.input.value.trim();
      const args = { code: given, client: clientName(), ...(shown ? { name: shown } : {}), ...(secret ? { password: secret } : {}) };
      const made = await act("invitation.accept", token() === null ? args : { code: given }, { token: token() });
      if (made.access) onTokens(made);
      else onJoined(made.account);
    }
    given = "";
    password.input.value = "";
  } });
  const element = h("section", { class: "card-page", "aria-labelledby": "code-title", data: { testid: "code-card" } },
    h("div", { class: "card-large" }, mark(), title, about, done.element, h("button", { type: "button", class: "link", text: "Not now", onclick: cancel })));

  /** Ask what a link is for. @param {{kind: string, code: string}} link */
  const open = (link) => {
    kind = link.kind;
    given = link.code;
    const signedIn = token() !== null;
    title.textContent = kind === "reset" ? "Set a new password" : "You are invited";
    about.textContent = kind === "reset" ? "All other places where you are signed in are signed out by it."
      : signedIn ? "Accept, and this account is yours to open, beside those that you have."
        : "Accept, and you are in. Without a password you sign in by links that are mailed to you.";
    name.element.hidden = kind === "reset" || signedIn;
    password.element.hidden = kind !== "reset" && signedIn;
    password.input.required = kind === "reset";
    done.say("");
    (kind === "reset" ? password.input : name.input).focus();
  };
  return { element, open };
}

/** @typedef {{id: string, name: string, title: string, role: string}} MyAccount one of what `session.accounts` answers */

/** An account to choose. @param {MyAccount} account */
export const accountOption = ({ id, name, title }) => h("option", { value: id, text: title && title.toLowerCase() !== name ? `${title} (${name})` : title || name });

/**
 * The card of somebody who belongs to several accounts.
 * @param {{onAccount: (account: string) => void}} outcome
 */
export function accountCard({ onAccount }) {
  const choice = field("Account", { tag: "select", required: true, data: { testid: "account-name" } });
  const open = form({ label: "Open", testid: "account-choice", fields: [choice.element], run: async () => onAccount(choice.input.value) });
  const about = h("p", {});
  const element = h("section", { class: "card-page", data: { testid: "account" } }, h("div", { class: "card-large" }, mark(),
    h("h1", { text: "Which account?" }), about, open.element));

  /** Offer the accounts that somebody belongs to. @param {MyAccount[]} accounts */
  const offer = (accounts) => {
    about.textContent = accounts.length > 0 ? "Choose the one to open; you can switch later." : "You belong to none here. Ask somebody who manages one to invite you.";
    open.element.hidden = accounts.length === 0;
    choice.input.replaceChildren(...accounts.map(accountOption));
    if (accounts.length > 0) choice.input.focus();
  };
  return { element, offer };
}
