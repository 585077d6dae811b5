// An OpenID provider (oidc-provider, certified) with some people and one client, for tests.
// Usage: node provider.mjs FOLDER_WITH_NODE_MODULES PORT REDIRECT_URI
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [folder, port, redirect] = process.argv.slice(2);
const require = createRequire(path.join(folder, "package.json"));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

const ROLES = {
  ann: ["radiology"],
  tom: ["radiographers", "radiology"],
  nobody: ["kitchen"],
  carl: ["radiographers", "cardiology"],
  dora: ["radiology", "cardiology", "north"],
};
const API = "urn:archive";

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "archive",
      client_secret: "a-secret-of-the-test",
      redirect_uris: [redirect],
      grant_types: ["authorization_code", "client_credentials"],
      response_types: ["code"],
    },
  ],
  pkce: { required: () => true },
  scopes: ["openid", "profile"],
  claims: { openid: ["sub", "groups"], profile: ["preferred_username"] },
  conformIdTokenClaims: false,
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: ROLES[id] ?? [] }),
  }),
  extraTokenClaims: (_ctx, token) => ({ groups: token.accountId ? ROLES[token.accountId] : ["radiology"] }),
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => API,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: "read", audience: API, accessTokenFormat: "jwt", accessTokenTTL: 600 }),
    },
  },
  cookies: { keys: ["only for tests"] },
  ttl: { AccessToken: 600, IdToken: 600, Session: 600, Grant: 600, Interaction: 600, ClientCredentials: 600 },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
