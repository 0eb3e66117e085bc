/**
 * Small forms that say what went wrong beside what was typed, with the next step, and lists with a word for none.
 */

import { h } from "./dom.js";
import { nextStep } from "./toast.js";

let count = 0;

/** What a refusal says, and what to do about it. @param {unknown} error */
export function words(error) {
  const known = /** @type {any} */ (error);
  if (!known?.code) return "The hub does not answer. Is it running?";
  const step = known.details?.next ?? nextStep(known);
  return known.message.includes(step) ? known.message : `${known.message} ${step}`;
}

/**
 * A labelled field. @param {string} label @param {Record<string, any>} properties
 * @returns {{element: any, input: any}}
 */
export function field(label, { tag = "input", options, hint, ...properties }) {
  const id = `field-${++count}`;
  const described = hint ? `${id}-hint` : null;
  const input = h(tag, { id, "aria-describedby": described, ...properties }, ...(options ?? []).map((/** @type {any} */ option) => h("option", typeof option === "string" ? { value: option, text: option } : option)));
  return { element: h("div", { class: "field" }, h("label", { for: id, text: label }), input, hint ? h("p", { class: "hint", id: described, text: hint }) : null), input };
}

/**
 * A form that runs once at a time. What it throws stands below its fields.
 * @param {{label: string, testid: string, run: () => Promise<void>, fields: any[], quiet?: boolean, row?: boolean}} what
 */
export function form({ label, testid, run, fields, quiet = false, row = false }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true, data: { testid: `${testid}-error` } });
  const button = h("button", { type: "submit", class: quiet ? null : "primary", text: label, data: { testid: `${testid}-submit` } });
  const say = (/** @type {string} */ text) => {
    problem.textContent = text;
    problem.hidden = text === "";
  };
  const element = h("form", { class: row ? "one-row" : null, data: { testid }, onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    say("");
    try {
      await run();
    } catch (error) {
      say(words(error));
    } finally {
      button.disabled = false;
    }
  } }, ...fields, button, problem);
  return { element, say, button };
}

/**
 * A button that asks once more before it does what cannot be taken back.
 * @param {{label: string, sure: string, testid: string, run: () => Promise<any>, fail: (error: unknown) => void}} what
 */
export function sureButton({ label, sure, testid, run, fail }) {
  let asked = false;
  const reset = () => {
    asked = false;
    button.textContent = label;
    button.classList.remove("sure");
  };
  const button = h("button", { type: "button", class: "small", text: label, data: { testid }, onblur: reset, onclick: async () => {
    if (!asked) {
      asked = true;
      button.textContent = sure;
      button.classList.add("sure");
      return;
    }
    button.disabled = true;
    try {
      await run();
    } catch (error) {
      fail(error);
    } finally {
      button.disabled = false;
      reset();
    }
  } });
  return button;
}

/** Whether this was long ago, in words. @param {string | null | undefined} time */
export function when(time) {
  if (!time) return "never";
  const minutes = Math.round((Date.now() - Date.parse(time)) / 60_000);
  if (Math.abs(minutes) < 1) return "just now";
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const [size, unit] = Math.abs(minutes) < 60 ? [1, "minute"] : Math.abs(minutes) < 1440 ? [60, "hour"] : [1440, "day"];
  return words.format(-Math.round(minutes / size), /** @type {any} */ (unit));
}
