/**
 * Signing in with a provider: one button each, whose window hands back a one-use code.
 */

import { signInBy, welcome } from "/client/index.js";
import { h, place } from "./dom.js";

/**
 * The buttons of the hub's providers; hidden while there are none.
 * @param {{redeem: (code: string) => Promise<void>, say: (text: string) => void, fail: (error: unknown) => void, name: (account: {name: string, title: string} | null) => void}} card
 */
export function providerButtons({ redeem, say, fail, name }) {
  const list = h("ul", { class: "providers" });
  const element = h("section", { "aria-label": "Other ways to sign in", hidden: true, data: { testid: "providers" } }, list);

  /** @param {{name: string, title: string, start: string}} provider */
  const button = (provider) => {
    const made = h("button", { type: "button", text: `Sign in with ${provider.title}`, data: { testid: "provider", name: provider.name }, onclick: async () => {
      say("");
      made.disabled = true;
      try {
        await redeem(await signInBy(provider));
      } catch (error) {
        fail(error);
      } finally {
        made.disabled = false;
      }
    } });
    return h("li", {}, made);
  };

  /** Ask the hub which there are, and whose page this is. Without an answer there are none: the card has another way in. */
  const look = async () => {
    const { providers, account } = await welcome().catch(() => ({ providers: [], account: null }));
    place(list, providers.map(button));
    element.hidden = providers.length === 0;
    name(account);
  };

  return { element, look };
}
