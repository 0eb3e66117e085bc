/**
 * Oneself: the password, where one is signed in, and the accounts that one belongs to.
 */

import { h, place } from "./dom.js";
import { field, form, sureButton, when } from "./forms.js";
import { accountOption, command } from "./signin.js";

/** @param {import("./account.js").Host} host @returns {import("./account.js").Room} */
export function meRoom(host) {
  const list = h("ul", { class: "rows", data: { testid: "sessions" } });
  const done = h("p", { class: "done-note", role: "status", hidden: true });

  const draw = async () => {
    if (!host.may("session.list")) return;
    try {
      const { sessions } = await host.hub.call("session.list");
      place(list, sessions.map(row));
      everywhere.hidden = sessions.length < 2;
    } catch (error) {
      host.fail(error);
    }
  };

  /** @param {any} session */
  const row = (session) => h("li", { class: "entry", data: { testid: "session", id: session.id, current: String(session.current) } },
    h("div", {}, h("strong", { text: session.client || "Somewhere" }),
      h("span", { text: session.current ? "This page" : `Signed in ${when(session.created_at)}${session.used_at ? `, renewed ${when(session.used_at)}` : ""}` })),
    session.current ? null : sureButton({ label: "Sign out", sure: "Sign out there?", testid: "session-end", fail: host.fail, run: async () => {
      await host.hub.call("session.end", { args: { id: session.id } });
      await draw();
    } }));

  const everywhere = sureButton({ label: "Sign out everywhere else", sure: "Really everywhere else?", testid: "sessions-end", fail: host.fail, run: async () => {
    const { ended } = await host.hub.call("session.end_all", { args: { others: true } });
    done.textContent = `Signed out in ${ended} other ${ended === 1 ? "place" : "places"}.`;
    done.hidden = false;
    await draw();
  } });

  const old = field("Password now", { type: "password", autocomplete: "current-password", hint: "Leave it empty if you have none yet.", data: { testid: "password-old" } });
  const fresh = field("New password", { type: "password", autocomplete: "new-password", required: true, minlength: 10, hint: "At least 10 characters. All other places are signed out.", data: { testid: "password-new" } });
  const password = form({ label: "Set password", testid: "password", quiet: true, fields: [old.element, fresh.element], run: async () => {
    await host.hub.call("user.set_password", { args: { new: fresh.input.value, ...(old.input.value ? { old: old.input.value } : {}) } });
    old.input.value = "";
    fresh.input.value = "";
    done.textContent = "Your password is set.";
    done.hidden = false;
    await draw();
  } });

  const account = field("Account", { tag: "select", required: true, data: { testid: "switch-name" } });
  const change = form({ label: "Open", testid: "switch", quiet: true, row: true, fields: [account.element], run: async () => host.enter(account.input.value) });
  const elsewhere = h("section", { hidden: true }, h("h3", { text: "Another account" }), change.element);
  const mail = h("div", { data: { testid: "password-mail" } });

  /** Say which accounts there are to switch to, and with which mail address the password works. */
  const know = async () => {
    try {
      const { accounts, email } = await host.hub.call("session.accounts");
      const { account: here, user } = host.session();
      const others = accounts.filter((/** @type {any} */ { id }) => id !== here);
      account.input.replaceChildren(...others.map(accountOption));
      elsewhere.hidden = others.length === 0;
      place(mail, email ? [h("p", { class: "hint", text: `You sign in with ${email} and your password.` })] : [
        h("p", { class: "hint", text: "You have no mail address here yet, and a password works only together with one. The operator of the hub gives you one:" }),
        command(`user mail ${user} you@mail.example --account ${here}`)]);
    } catch (error) {
      host.fail(error);
    }
  };

  const person = h("div", {},
    h("section", {}, h("h3", { text: "Where you are signed in" }), list, everywhere), done,
    h("section", {}, h("h3", { text: "Password" }), mail, password.element));
  const element = h("div", {}, person, elsewhere);
  return { name: "me", title: "You", element, offered: () => true, open: () => {
    person.hidden = host.session()?.user === null;
    done.hidden = true;
    draw();
    know();
  } };
}
