/**
 * The console's first room: signs in, chooses an event, and hands over to the page of that event.
 */

import { act, Backoff, Hub, signOut } from "/client/index.js";
import { AccountDialog } from "./account.js";
import { EventPage } from "./page.js";
import { accountCard, codeCard, signInCard, takeCode } from "./signin.js";
import { showStatus } from "./status.js";
import { toaster } from "./toast.js";
import { titleWords } from "./text.js";
import { memory, Renewal } from "./tokens.js";
import { h, place } from "./dom.js";

const LAST_EVENT = "aether.event";

const find = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));

const toasts = toaster(find(".toasts"));
const hub = new Hub({
  url: `${location.origin.replace(/^http/, "ws")}/ws`,
  token: memory.token,
  account: memory.account,
  client: { name: "aether-console", version: "0.1.0" },
  backoff: new Backoff({ most_seconds: 5 }), // somebody is looking at this page
});
const page = new EventPage(hub, toasts);
const switcher = find("[data-testid=event-switcher]");

/** @type {import("../clients/javascript/watch.js").Watch | null} all events of the account; null when signed out */
let events = null;

const renewal = new Renewal({
  renew: (refresh) => act("session.refresh", { token: refresh }),
  onToken: (token) => {
    hub.token = token;
    if (hub.state === "online") hub.request("session.auth", { token }).catch(toasts.error);
  },
});
const dialog = new AccountDialog(hub, toasts, { open: (account) => {
  memory.account = account;
  hub.account = account;
  events?.stop();
  events = null;
  page.forget();
  enter(memory.token ?? "");
} });

/** @param {"starting" | "app" | "signin" | "account" | "code"} view */
function show(view) {
  if (view === "signin" && document.body.dataset.view !== view) signIn.look();
  document.body.dataset.view = view;
}

/** Somebody has signed in. @param {import("./tokens.js").Tokens} made */
function signedIn(made) {
  memory.keep(made);
  renewal.plan();
  enter(memory.token ?? "");
}

const signIn = signInCard({ onTokens: signedIn });
const account = accountCard({ onAccount: (name) => {
  memory.account = name;
  hub.account = name;
  hub.signIn(memory.token);
} });
const codes = codeCard({
  onTokens: signedIn,
  onJoined: (joined) => {
    memory.account = joined;
    hub.account = joined;
    enter(memory.token ?? "");
  },
  token: () => memory.token,
  cancel: () => {
    if (memory.token === null) show("signin");
    else enter(memory.token);
  },
});
place(find("#cards"), [signIn.element, account.element, codes.element]);

/** @param {string} token */
function enter(token) {
  show("app");
  page.draw();
  hub.signIn(token);
}

/** Nobody is signed in: nothing of anybody's stays on the page. @param {string} why */
function leave(why) {
  memory.forget();
  renewal.stop();
  dialog.close();
  hub.account = null;
  events?.stop();
  events = null;
  page.forget();
  switcher.replaceChildren();
  show("signin");
  signIn.say(why);
}

/** The token was refused: renew it where that can be, else the sign-in has ended. */
async function renewed() {
  try {
    const token = memory.renew === null ? null : await renewal.now();
    if (token === null) throw new Error("nothing to renew");
    enter(token);
  } catch (error) {
    const passing = /** @type {any} */ (error).code === undefined && memory.renew !== null; // the hub is away
    if (passing) setTimeout(renewed, 3000);
    else leave("Your sign-in has ended. Sign in again.");
  }
}

hub.on("state", ({ state, error }) => {
  if (state === "signed-out" && error && memory.renew !== null) renewed();
  else if (state === "signed-out") leave(error ? "Your sign-in has ended. Sign in again with a new link." : "");
  else if (error) toasts.error({ retry_after: null, ...error });
});

hub.on("online", (session) => {
  if (session.account === null) {
    chooseAccount();
    return;
  }
  show("app");
  learnRights(session);
  dialog.greeted(session);
  find("#signout").title = `Sign out${session.display?.user ? ` ${session.display.user}` : ""}`;
  if (events !== null) return;
  events = hub.watch({ type: "event" });
  events.on("change", chooseEvent);
  events.on("ready", chooseEvent);
  events.on("error", toasts.error);
  if (events.ready) chooseEvent();
});

/** Let somebody choose who comes into no account by themselves. */
async function chooseAccount() {
  try {
    const { accounts } = await hub.call("session.accounts");
    if (hub.session?.account !== null) return; // another tab chose meanwhile
    show("account");
    account.offer(accounts);
  } catch (error) {
    toasts.error(error);
  }
}

/** Ask what this session may do; a page that cannot know shows nothing to edit with. @param {any} session */
async function learnRights(session) {
  try {
    const { types } = await hub.describe({ types: ["event_session"] });
    if (hub.session === session) page.allow(types.event_session?.permissions ?? []);
  } catch (error) {
    if (hub.session === session && hub.state === "online") toasts.error(error);
  }
}

hub.on("notice", ({ code, message }) => {
  toasts.note(message);
  if (code !== "rights.changed" || hub.session === null) return;
  learnRights(hub.session);
  dialog.greeted(hub.session);
});

/** The event to open when nobody said which: running, else the next, else the last. @param {any[]} all */
function likely(all) {
  const today = new Date().toISOString().slice(0, 10);
  const sorted = [...all].sort((a, b) => ((a.starts_on ?? "") < (b.starts_on ?? "") ? -1 : 1));
  return sorted.find(({ ends_on }) => (ends_on ?? "") >= today) ?? sorted.at(-1) ?? null;
}

/** Keep the switcher equal to the events, and open one. */
function chooseEvent() {
  const all = [...(events?.records.values() ?? [])].sort((a, b) => (a.title ?? "").localeCompare(b.title ?? ""));
  const wanted = [new URLSearchParams(location.hash.slice(1)).get("event"), page.event?.id, localStorage.getItem(LAST_EVENT)];
  const event = wanted.map((id) => events?.records.get(id ?? "")).find(Boolean) ?? likely(all);
  switcher.replaceChildren(...all.map(({ id, title }) => h("option", { value: id, text: titleWords(title) })));
  switcher.closest("label").hidden = all.length < 2;
  if (event) switcher.value = event.id;
  page.choose(event, events?.ready);
}

switcher.addEventListener("change", () => {
  localStorage.setItem(LAST_EVENT, switcher.value);
  page.choose(events?.records.get(switcher.value) ?? null, true);
  page.remember();
});

find("#signout").addEventListener("click", async () => {
  const { token } = memory;
  hub.signOut();
  if (token !== null) await signOut(token).catch(toasts.error);
});

memory.onToken((token) => {
  if (token === null) hub.signOut();
  else if (token !== hub.token && hub.state === "online" && memory.renew !== null) {
    hub.token = token; // another tab renewed it
    hub.request("session.auth", { token }).catch(() => enter(token));
    renewal.plan();
  } else if (token !== hub.token) enter(token);
});

find("#account-open").addEventListener("click", () => dialog.open());

/** A link was opened that brings a code, at the start or in a page that is open already. */
function redeemAddress() {
  const link = takeCode();
  if (link === null) return false;
  if (link.kind === "signin") {
    show("signin");
    signIn.redeem(link.code);
  } else {
    show("code");
    codes.open(link);
  }
  return true;
}

addEventListener("hashchange", redeemAddress);
showStatus(find("[data-testid=connection]"), hub);
if (!redeemAddress()) {
  if (memory.token !== null) show("app");
  renewal.plan();
  page.draw();
  hub.start();
}
