/**
 * Keys for programs, and devices that are paired by the code on their screen.
 */

import { h, icon, place } from "./dom.js";
import { field, form, sureButton, when } from "./forms.js";
import { fillRoles, LADDER, roleNames } from "./members.js";

/** What is shown once, with a button that copies it. @param {string} words @param {string} secret @param {() => void} done */
function once(words, secret, done) {
  const told = h("span", { class: "visually-hidden", role: "status" });
  const copy = navigator.clipboard ? h("button", { type: "button", class: "quiet", "aria-label": "Copy the key", onclick: async () => {
    await navigator.clipboard.writeText(secret);
    told.textContent = "Copied";
  } }, icon("copy")) : null;
  return [h("p", { text: words }), h("div", { class: "command secret" }, h("code", { text: secret, data: { testid: "key-secret" } }), copy, told),
    h("button", { type: "button", text: "I have kept it", data: { testid: "key-kept" }, onclick: done })];
}

/** @param {import("./account.js").Host} host @returns {import("./account.js").Room} */
export function keysRoom(host) {
  const list = h("ul", { class: "rows", data: { testid: "keys" } });
  const shown = h("div", { class: "shown-once", role: "status", hidden: true, data: { testid: "key-shown" } });
  const hide = () => {
    shown.replaceChildren();
    shown.hidden = true;
    make.element.hidden = false;
    name.input.focus();
  };
  const name = field("Name", { type: "text", autocomplete: "off", required: true, maxlength: 200, hint: "What it is for, so that you know it again.", data: { testid: "key-name" } });
  const role = field("Role", { tag: "select", data: { testid: "key-role" } });
  const scopes = field("Only for", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "event.read, event_session.*", hint: "Permissions, with commas between; empty: all that the role may.", data: { testid: "key-scopes" } });
  const ends = field("Until", { type: "date", hint: "Empty: until it is revoked.", data: { testid: "key-ends" } });
  const make = form({ label: "Make a key", testid: "key", fields: [name.element, role.element, scopes.element, ends.element], run: async () => {
    const wanted = scopes.input.value.split(/[\s,]+/).filter(Boolean);
    const until = ends.input.value ? { expires_at: new Date(`${ends.input.value}T23:59:59`).toISOString() } : {};
    const args = { name: name.input.value.trim(), role: role.input.value, ...(wanted.length > 0 ? { scopes: wanted } : {}), ...until };
    const made = await host.hub.call("api_key.issue", { args });
    place(shown, once(`The key ${args.name}. It is shown this once: keep it now.`, made.key, hide));
    shown.hidden = false;
    make.element.hidden = true;
    for (const { input } of [name, scopes, ends]) input.value = "";
  } });
  const making = h("section", {}, h("h3", { text: "A key for a program" }), make.element, shown);
  const none = h("p", { class: "hint", text: "There are no keys." });
  const element = h("div", {}, h("section", {}, none, list), making);
  return { name: "keys", title: "Keys", element, offered: () => host.can("api_key.read"), open: () => {
    hide();
    making.hidden = !host.may("api_key.issue");
    fillRoles(role.input, LADDER, "viewer");
    if (host.can("role.read")) host.watch({ type: "role" }, (set) => fillRoles(role.input, roleNames(set), role.input.value));
    host.watch({ type: "api_key", order: ["name"] }, (set) => {
      none.hidden = set.items.length > 0;
      place(list, set.items.map((/** @type {any} */ key) => {
        const facts = [key.role, key.device_id ? "of a device" : null, key.scopes.join() === "*" ? null : key.scopes.join(", "), key.last_used_at ? `used ${when(key.last_used_at)}` : "never used", key.expires_at ? `ends ${when(key.expires_at)}` : null];
        return h("li", { class: "entry", data: { testid: "key-row", id: key.id, name: key.name } },
          h("div", {}, h("strong", { text: key.name }), h("span", { text: facts.filter(Boolean).join(" · ") })),
          host.can("api_key.delete") ? sureButton({ label: "Revoke", sure: `Revoke ${key.name}?`, testid: "key-revoke", fail: host.fail, run: () => host.hub.delete("api_key", key.id) }) : null);
      }));
    });
  } };
}

/** @param {import("./account.js").Host} host @returns {import("./account.js").Room} */
export function devicesRoom(host) {
  const list = h("ul", { class: "rows", data: { testid: "devices" } });
  const done = h("p", { class: "done-note", role: "status", hidden: true, data: { testid: "pair-done" } });
  const code = field("Code", { type: "text", autocomplete: "off", autocapitalize: "characters", spellcheck: "false", required: true, maxlength: 12, placeholder: "ABCD-2345", class: "code", hint: "As the screen of the device shows it.", data: { testid: "pair-code" } });
  const name = field("Name", { type: "text", autocomplete: "off", maxlength: 200, hint: "Empty: what the device calls itself.", data: { testid: "pair-name" } });
  const role = field("Role", { tag: "select", data: { testid: "pair-role" } });
  const pair = form({ label: "Pair the device", testid: "pair", fields: [code.element, name.element, role.element], run: async () => {
    done.hidden = true;
    const shown = name.input.value.trim();
    const made = await host.hub.call("device.confirm", { args: { code: code.input.value, role: role.input.value, ...(shown ? { name: shown } : {}) } });
    done.textContent = `${made.name} is paired, with the role ${made.role}.`;
    done.hidden = false;
    code.input.value = "";
    name.input.value = "";
    code.input.focus();
  } });
  const pairing = h("section", {}, h("h3", { text: "Pair a device" }), h("p", { class: "hint", text: "Start it on the device: aether device pair --url …" }), pair.element, done);
  const none = h("p", { class: "hint", text: "There are no devices." });
  const element = h("div", {}, h("section", {}, none, list), pairing);
  return { name: "devices", title: "Devices", element, offered: () => host.can("device.read"), open: () => {
    done.hidden = true;
    pairing.hidden = !host.may("device.confirm");
    fillRoles(role.input, LADDER, "viewer");
    if (host.can("role.read")) host.watch({ type: "role" }, (set) => fillRoles(role.input, roleNames(set), role.input.value));
    host.watch({ type: "device", order: ["name"] }, (set) => {
      none.hidden = set.items.length > 0;
      place(list, set.items.map((/** @type {any} */ device) => h("li", { class: "entry", data: { testid: "device-row", id: device.id, name: device.name } },
        h("div", {}, h("strong", { text: device.name }), h("span", { text: [device.role, device.disabled ? "stopped" : null].filter(Boolean).join(" · ") })),
        host.can("device.update") ? h("button", { type: "button", class: "small", text: device.disabled ? "Let it in" : "Stop", data: { testid: "device-stop" }, onclick: () => host.hub.update("device", device.id, { disabled: !device.disabled }, { if_version: device.version }).catch(host.fail) }) : null,
        host.can("device.delete") ? sureButton({ label: "Remove", sure: `Remove ${device.name}?`, testid: "device-remove", fail: host.fail, run: () => host.hub.delete("device", device.id) }) : null)));
    });
  } };
}
