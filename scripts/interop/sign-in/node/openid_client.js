// openid-client in Express, as Immich and Audiobookshelf use it.

import express from 'express';
import * as client from 'openid-client';

const { PORT, ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env;
const home = `http://localhost:${PORT}/`;
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
});
const app = express();
let [tokens, checks] = [{}, {}];
const known = () => ({ access_token: tokens.access_token, claims: tokens.claims() });

app.get('/', (_, response) => response.send('at home'));
app.get('/login', async (_, response) => {
  checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedState: client.randomState(),
    expectedNonce: client.randomNonce(),
  };
  response.redirect(
    client.buildAuthorizationUrl(config, {
      redirect_uri: `${home}callback`,
      scope: 'openid profile email roles offline_access',
      code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: checks.expectedState,
      nonce: checks.expectedNonce,
    }).href,
  );
});
app.get('/callback', async (request, response) => {
  tokens = await client.authorizationCodeGrant(config, new URL(request.url, home), checks);
  response.json(known());
});
app.get('/userinfo', async (_, response) =>
  response.json(await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)),
);
app.get('/refresh', async (_, response) => {
  tokens = await client.refreshTokenGrant(config, tokens.refresh_token);
  response.json(known());
});
app.get('/logout', (_, response) =>
  response.redirect(
    client.buildEndSessionUrl(config, {
      id_token_hint: tokens.id_token,
      post_logout_redirect_uri: home,
    }).href,
  ),
);
app.listen(Number(PORT), '127.0.0.1');
