/**
 * npm's oidc-provider as a process: `node provider.mjs FOLDER_OF_MODULES PORT REDIRECT`. Its pages are its own
 * (`devInteractions`); who signs in there as ada is Ada, with a verified mail address; mallory's is not verified.
 */

import { pathToFileURL } from "node:url";

const [modules, port, redirect] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`).href);

const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: "aether-hub",
    client_secret: "known to the hub and its provider",
    redirect_uris: [redirect],
    grant_types: ["authorization_code"],
    response_types: ["code"],
  }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  cookies: { keys: ["of this process only"] },
  features: { devInteractions: { enabled: true } },
  findAccount: (context, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id,
      name: `${id[0].toUpperCase()}${id.slice(1)} of the provider`,
      email: `${id}@people.example`,
      email_verified: id !== "mallory",
    }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log(`provider at ${issuer}`));
