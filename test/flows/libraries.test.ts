// Two certified clients, used as their own documentation says. What they refuse is a fault of ours.

import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { noteSecret } from '../support/secrets.ts';
import { callback, ordersApi, secret, startSignet, type TestServer } from '../support/signet.ts';
import { authorize, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

/** The person's part: follows the link, signs in, and comes back to the application. */
async function browse(link: URL): Promise<URL> {
  const answer = await authorize(new UserAgent(server.issuer), link.href);
  return new URL(`${callback}?${answer}`);
}

function noteTokens(tokens: { access_token?: string; refresh_token?: string; id_token?: string }): void {
  noteSecret('access token', tokens.access_token);
  noteSecret('refresh token', tokens.refresh_token);
  noteSecret('ID token', tokens.id_token);
}

describe('openid-client', () => {
  // The issuer of a test is http on loopback; this is the one switch that the library has for it.
  const options = { execute: [client.allowInsecureRequests] };
  const discover = (clientId: string, authentication: client.ClientAuth, algorithm: 'oidc' | 'oauth2' = 'oidc') =>
    client.discovery(new URL(server.issuer), clientId, undefined, authentication, { ...options, algorithm });

  test.each([
    ['a single-page app', 'spa', client.None()],
    ['a web application with client_secret_basic', 'web', client.ClientSecretBasic(secret)],
    ['a web application with client_secret_post', 'web', client.ClientSecretPost(secret)],
  ])('signs a person in, reads userinfo, refreshes: %s', async (_name, clientId, authentication) => {
    const config = await discover(clientId, authentication);
    const pkceCodeVerifier = client.randomPKCECodeVerifier();
    const expectedState = client.randomState();
    const expectedNonce = client.randomNonce();
    const link = client.buildAuthorizationUrl(config, {
      redirect_uri: callback,
      scope: 'openid email profile',
      state: expectedState,
      nonce: expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    });

    const tokens = await client.authorizationCodeGrant(config, await browse(link), {
      pkceCodeVerifier,
      expectedState,
      expectedNonce,
      idTokenExpected: true,
    });
    noteTokens(tokens);
    expect(tokens.claims()).toMatchObject({
      iss: server.issuer,
      aud: clientId,
      sub: server.accountId,
      email: 'ada@example.com',
    });

    const info = await client.fetchUserInfo(config, tokens.access_token, server.accountId);
    expect(info).toMatchObject({ name: 'Ada', email: 'ada@example.com' });

    const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token!);
    noteTokens(refreshed);
    expect(refreshed.claims()!.sub).toBe(server.accountId);
    expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
  });

  test('asks for max_age and for an API, and checks auth_time', async () => {
    const config = await discover('spa', client.None());
    const pkceCodeVerifier = client.randomPKCECodeVerifier();
    const link = client.buildAuthorizationUrl(config, {
      redirect_uri: callback,
      scope: 'openid orders:read',
      resource: ordersApi,
      max_age: '600',
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    });
    const tokens = await client.authorizationCodeGrant(config, await browse(link), { pkceCodeVerifier, maxAge: 600 });
    noteTokens(tokens);
    expect(tokens.claims()!.auth_time).toEqual(expect.any(Number));
    expect(tokens.scope?.split(' ')).toContain('orders:read');
  });

  test('gets a token for a service', async () => {
    const config = await discover('service', client.ClientSecretBasic(secret));
    const tokens = await client.clientCredentialsGrant(config, { resource: ordersApi, scope: 'orders:read' });
    noteTokens(tokens);
    expect(tokens.scope).toBe('orders:read');
  });

  test('discovers the same by RFC 8414', async () => {
    const config = await discover('spa', client.None(), 'oauth2');
    expect(config.serverMetadata().issuer).toBe(server.issuer);
  });

  test('is told at the redirect URI, by the right issuer, that somebody is not signed in', async () => {
    const config = await discover('spa', client.None());
    const pkceCodeVerifier = client.randomPKCECodeVerifier();
    const link = client.buildAuthorizationUrl(config, {
      redirect_uri: callback,
      scope: 'openid',
      prompt: 'none',
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    });
    const back = await browse(link);
    await expect(client.authorizationCodeGrant(config, back, { pkceCodeVerifier })).rejects.toMatchObject({
      error: 'login_required',
    });
  });
});

describe('oauth4webapi', () => {
  const insecure = { [oauth.allowInsecureRequests]: true };

  async function discover(algorithm: 'oidc' | 'oauth2' = 'oidc'): Promise<oauth.AuthorizationServer> {
    const issuer = new URL(server.issuer);
    return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure }));
  }

  test.each([
    ['a single-page app', 'spa', oauth.None()],
    ['a web application', 'web', oauth.ClientSecretBasic(secret)],
  ])('signs a person in, verifies the ID token, refreshes: %s', async (_name, clientId, authentication) => {
    const as = await discover();
    const application: oauth.Client = { client_id: clientId };
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const nonce = oauth.generateRandomNonce();
    const link = new URL(as.authorization_endpoint!);
    link.search = new URLSearchParams({
      client_id: clientId,
      redirect_uri: callback,
      response_type: 'code',
      scope: 'openid email',
      state,
      nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }).toString();

    const parameters = oauth.validateAuthResponse(as, application, await browse(link), state);
    const response = await oauth.authorizationCodeGrantRequest(
      as,
      application,
      authentication,
      parameters,
      callback,
      verifier,
      insecure,
    );
    const tokens = await oauth.processAuthorizationCodeResponse(as, application, response, {
      expectedNonce: nonce,
      requireIdToken: true,
    });
    noteTokens(tokens);
    await oauth.validateApplicationLevelSignature(as, response, insecure);
    expect(oauth.getValidatedIdTokenClaims(tokens)).toMatchObject({ sub: server.accountId, email: 'ada@example.com' });

    const info = await oauth.processUserInfoResponse(
      as,
      application,
      server.accountId,
      await oauth.userInfoRequest(as, application, tokens.access_token, insecure),
    );
    expect(info.email).toBe('ada@example.com');

    const refreshed = await oauth.processRefreshTokenResponse(
      as,
      application,
      await oauth.refreshTokenGrantRequest(as, application, authentication, tokens.refresh_token!, insecure),
    );
    noteTokens(refreshed);
    expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
  });

  test('gets a token for a service and validates it as a resource server does (RFC 9068)', async () => {
    const as = await discover('oauth2');
    const service: oauth.Client = { client_id: 'service' };
    const response = await oauth.clientCredentialsGrantRequest(
      as,
      service,
      oauth.ClientSecretBasic(secret),
      { resource: ordersApi },
      insecure,
    );
    const tokens = await oauth.processClientCredentialsResponse(as, service, response);
    noteTokens(tokens);
    const request = new Request(`${ordersApi}/orders`, { headers: { Authorization: `Bearer ${tokens.access_token}` } });
    const claims = await oauth.validateJwtAccessToken(as, request, ordersApi, insecure);
    expect(claims).toMatchObject({ client_id: 'service', scope: 'orders:read' });
    await expect(oauth.validateJwtAccessToken(as, request, 'https://stock.example.com', insecure)).rejects.toThrow();
  });
});
