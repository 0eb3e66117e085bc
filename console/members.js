/**
 * The people of the account with their roles, invitations, and the account's own roles.
 */

import { h, place } from "./dom.js";
import { field, form, sureButton, when } from "./forms.js";

export const LADDER = ["viewer", "member", "editor", "manager", "owner"];

/** The roles that can be chosen: those of the ladder, and the account's own. @param {any} set */
export const roleNames = (set) => [...LADDER, ...[...(set?.records?.values() ?? [])].map(({ name }) => name).sort()];

/** Fill a choice of roles, and keep what is chosen. @param {any} select @param {string[]} names @param {string} chosen */
export function fillRoles(select, names, chosen) {
  const all = names.includes(chosen) ? names : [...names, chosen];
  if ([...select.options].map((/** @type {any} */ option) => option.value).join() !== all.join()) {
    select.replaceChildren(...all.map((name) => h("option", { value: name, text: name })));
  }
  select.value = chosen;
}

/** @param {import("./account.js").Host} host @returns {import("./account.js").Room} */
export function peopleRoom(host) {
  const list = h("ul", { class: "rows", data: { testid: "members" } });
  const waiting = h("ul", { class: "rows", data: { testid: "invitations" } });
  const told = h("div", { class: "shown-once", role: "status", hidden: true, data: { testid: "invite-link" } });
  let own = /** @type {any} */ (null);
  let members = /** @type {any} */ (null);
  const rows = new Map();

  /** @param {any} member */
  const make = (member) => {
    const select = h("select", { "aria-label": `Role of ${member.name}`, data: { testid: "member-role" }, onchange: async () => {
      const held = members.records.get(member.id);
      try {
        await host.hub.update("membership", member.id, { role: select.value }, { if_version: held.version });
      } catch (error) {
        select.value = held.role;
        host.fail(error);
      }
    } });
    const end = sureButton({ label: "Remove", sure: `Remove ${member.name}?`, testid: "member-remove", fail: host.fail, run: () => host.hub.delete("membership", member.id) });
    const role = h("span", { class: "chip" });
    const facts = h("div", {}, h("strong", { text: member.name }), h("span", { text: member.email ?? "" }));
    return { select, role, facts, element: h("li", { class: "entry", data: { testid: "member-row", id: member.id, name: member.name } }, facts,
      host.can("membership.update") ? select : role, host.can("membership.delete") ? end : null) };
  };

  const draw = () => {
    if (members === null) return;
    const names = roleNames(own);
    place(list, members.items.map((/** @type {any} */ member) => {
      if (!rows.has(member.id)) rows.set(member.id, make(member));
      const row = rows.get(member.id);
      fillRoles(row.select, names, member.role);
      row.role.textContent = member.role;
      return row.element;
    }));
    fillRoles(role.input, names, role.input.value || "viewer");
  };

  const mail = field("Mail address", { type: "email", autocomplete: "off", required: true, maxlength: 254, data: { testid: "invite-mail" } });
  const name = field("Name", { type: "text", autocomplete: "off", required: true, maxlength: 200, data: { testid: "invite-name" } });
  const role = field("Role", { tag: "select", data: { testid: "invite-role" } });
  const invite = form({ label: "Invite", testid: "invite", fields: [name.element, mail.element, role.element], run: async () => {
    const made = await host.hub.call("invitation.create", { args: { email: mail.input.value.trim(), name: name.input.value.trim(), role: role.input.value } });
    told.replaceChildren(...(made.link
      ? [h("p", { text: `Hand this link to ${name.input.value.trim()}. It is shown once, and counts once, for a week.` }), h("code", { text: made.link })]
      : [h("p", { text: `A mail to ${mail.input.value.trim()} is on its way.` })]));
    told.hidden = false;
    mail.input.value = "";
    name.input.value = "";
  } });
  const inviting = h("section", {}, h("h3", { text: "Invite somebody" }), invite.element, told);
  const open = h("section", {}, h("h3", { text: "Invitations that wait" }), waiting);
  const element = h("div", {}, h("section", {}, list), inviting, open);

  return { name: "people", title: "People", element, offered: () => host.can("membership.read"), open: () => {
    rows.clear();
    own = members = null;
    told.hidden = true;
    inviting.hidden = !host.may("invitation.create");
    open.hidden = true;
    fillRoles(role.input, LADDER, "viewer");
    host.watch({ type: "membership", order: ["name"] }, (set) => { members = set; draw(); });
    if (host.can("role.read")) host.watch({ type: "role" }, (set) => { own = set; draw(); });
    if (!host.can("invitation.read")) return;
    host.watch({ type: "invitation", where: { used_at: { $null: true } }, order: ["name"] }, (set) => {
      open.hidden = set.items.length === 0;
      place(waiting, set.items.map((/** @type {any} */ one) => h("li", { class: "entry", data: { testid: "invitation", id: one.id } },
        h("div", {}, h("strong", { text: one.name }), h("span", { text: `${one.email} · ${one.role} · until ${when(one.expires_at)}` })),
        host.can("invitation.delete") ? sureButton({ label: "Take back", sure: "Take it back?", testid: "invitation-end", fail: host.fail, run: () => host.hub.delete("invitation", one.id) }) : null)));
    });
  } };
}

/** @param {import("./account.js").Host} host @returns {import("./account.js").Room} */
export function rolesRoom(host) {
  const list = h("ul", { class: "rows", data: { testid: "roles" } });
  let editing = /** @type {any} */ (null);
  const name = field("Name", { type: "text", autocomplete: "off", spellcheck: "false", required: true, maxlength: 64, pattern: "[a-z][a-z0-9_\\-]*", hint: "Small letters and digits, such as speaker-care.", data: { testid: "role-name" } });
  const permissions = field("Permissions", { tag: "textarea", rows: 4, required: true, spellcheck: "false", hint: "One a line: event.update, event.*, *.read. You can give only what you hold.", data: { testid: "role-permissions" } });
  const save = form({ label: "Make the role", testid: "role", fields: [name.element, permissions.element], run: async () => {
    const wanted = permissions.input.value.split(/[\s,]+/).filter(Boolean);
    if (editing === null) await host.hub.create("role", { name: name.input.value.trim(), permissions: wanted });
    else await host.hub.update("role", editing.id, { permissions: wanted }, { if_version: editing.version });
    edit(null);
  } });
  const stop = h("button", { type: "button", class: "link", text: "Leave it as it is", hidden: true, onclick: () => edit(null) });
  const title = h("h3", {});

  /** Begin to change a role, or to make one. @param {any} role */
  const edit = (role) => {
    editing = role;
    title.textContent = role === null ? "A role of this account's own" : `Change ${role.name}`;
    save.button.textContent = role === null ? "Make the role" : "Save";
    name.element.hidden = role !== null;
    name.input.required = role === null;
    name.input.value = role?.name ?? "";
    permissions.input.value = role?.permissions.join("\n") ?? "";
    stop.hidden = role === null;
    save.say("");
    if (role !== null) permissions.input.focus();
  };

  const making = h("section", {}, title, save.element, stop);
  const none = h("p", { class: "hint", text: "This account has no roles of its own: viewer, member, editor, manager and owner are built in." });
  const element = h("div", {}, h("section", {}, none, list), making);
  return { name: "roles", title: "Roles", element, offered: () => host.can("role.read"), open: () => {
    making.hidden = !host.can("role.create");
    edit(null);
    host.watch({ type: "role", order: ["name"] }, (set) => {
      none.hidden = set.items.length > 0;
      place(list, set.items.map((/** @type {any} */ role) => h("li", { class: "entry", data: { testid: "role-row", id: role.id, name: role.name } },
        h("div", {}, h("strong", { text: role.name }), h("span", { text: role.permissions.join(", ") })),
        host.can("role.update") ? h("button", { type: "button", class: "small", text: "Change", data: { testid: "role-change" }, onclick: () => edit(role) }) : null,
        host.can("role.delete") ? sureButton({ label: "Delete", sure: `Delete ${role.name}?`, testid: "role-delete", fail: host.fail, run: () => host.hub.delete("role", role.id) }) : null)));
    });
  } };
}
