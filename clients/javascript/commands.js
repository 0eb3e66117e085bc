/**
 * Commands: what other clients ask of this one, and what it answers.
 *
 * Handlers begin in the order in which commands came; a slow one keeps nothing else waiting. A reply belongs to the
 * session that was told: it waits for a socket of that session, and is forgotten where the session is over.
 */

import { HubError, mayPass } from "./errors.js";

/** @typedef {(data: any, from: any) => any} Handler gets the data and who asked; returns the answer or a promise of it */

export class Commands {
  /** @type {Map<string, Handler>} by name */
  handlers = new Map();

  /** @type {Map<string, {session: string, fields: Record<string, any>}>} replies not known to have reached the hub */
  #replies = new Map();

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    connection.on("push", (message) => { if (message.op === "command") this.#obey(message); });
    connection.on("online", ({ session }) => {
      for (const [key, reply] of this.#replies) {
        if (reply.session === session) this.#send(key, reply);
        else this.#replies.delete(key);
      }
    });
  }

  /** @param {any} push */
  async #obey({ command, name, data, from }) {
    const { session } = this.connection.session;
    /** @type {Record<string, any>} */
    const fields = { command };
    try {
      const handler = this.handlers.get(name);
      if (handler === undefined) {
        throw new HubError({ code: "command.unknown", message: `This client does not know ${name}.` });
      }
      fields.data = (await handler(data, from)) ?? null;
    } catch (error) {
      // a fault of the handler is answered like a refusal, or who asked would wait
      const refused = error instanceof HubError;
      if (!refused) console.error(error);
      fields.code = refused ? error.code : "client.error";
      fields.message = refused ? error.message.slice(0, 1000) : `${name} failed at the client.`;
    }
    const reply = { session, fields };
    const key = `${session} ${command}`;
    this.#replies.set(key, reply);
    this.#send(key, reply);
  }

  /** @param {string} key @param {{session: string, fields: Record<string, any>}} reply */
  #send(key, { session, fields }) {
    const { connection } = this;
    if (connection.state !== "online" || connection.session.session !== session) return;
    connection.ask("client.reply", fields, {
      ok: () => this.#replies.delete(key),
      fail: (error) => { if (!mayPass(error)) this.#replies.delete(key); }, // nobody waits for it any more
    });
  }
}
