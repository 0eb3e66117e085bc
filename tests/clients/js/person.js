/**
 * Somebody with the JavaScript client, led by a test: node person.js URL TOKEN
 *
 * Reads one line of JSON after the other, `{id, run}`: the body of an async function of `hub` and `here`. Writes
 * `{id, data | error}` for each, and `{told, …}` for what it is told in between.
 */
import { createInterface } from "node:readline";
import { Backoff, Hub, HubError } from "../../../clients/javascript/index.js";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const [url, token] = process.argv.slice(2);
const hub = new Hub({ url, token, backoff: new Backoff({ first_seconds: 0.05 }) });
const here = {
  /** Join a channel and tell what is heard there. */
  join(name, state) {
    const channel = hub.join(name, state);
    const of = (members) => members.map(({ name: who, status, sessions }) => [who, status, sessions[0]?.state]);
    channel.on("roster", ({ joined, updated, left }) => {
      say({ told: "roster", joined: of(joined), updated: of(updated), left: of(left), all: of(channel.members) });
    });
    for (const what of ["message", "gap", "error", "ended", "refused"]) {
      channel.on(what, (it) => say({ told: what, event: it.event, data: it.data, why: it.why, code: it.code }));
    }
    here[name] = channel;
    return null;
  },
};
hub.on("state", ({ state }) => say({ told: "state", state }));
hub.start();
for await (const line of createInterface({ input: process.stdin })) {
  const { id, run } = JSON.parse(line);
  const body = new Function("hub", "here", "say", "HubError", `return (async () => { ${run} })()`);
  body(hub, here, say, HubError).then(
    (data) => say({ id, data: data ?? null }),
    (error) => say({ id, error: error.code ?? String(error), details: error.details ?? null }),
  );
}
hub.stop();
process.exit(0);
