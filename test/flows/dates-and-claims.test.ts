// What tokens say of when and how: `iat`, `auth_time`, `nonce`, `acr`, and whether a refresh repeats or leaves it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { asClient, decode, signIn, tokenRequest } from '../support/user-agent.ts';

const refreshAt =
  ({ issuer }: TestServer) =>
  async (token: string, clientId = 'spa') =>
    (await tokenRequest(issuer, { grant_type: 'refresh_token', refresh_token: token }, asClient(clientId))).body;

describe('tokens of a local account', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startSignet();
  });
  afterAll(() => server.close());

  test('are all dated before this moment, for clocks that are behind, and live as long from now as is said', async () => {
    const before = Math.floor(Date.now() / 1000);
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi, prompt: 'login' } });
    const renewed = await refreshAt(server)(tokens.refresh_token);
    const { body: own } = await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    const after = Math.ceil(Date.now() / 1000);
    for (const { access_token: access, id_token: id, refresh_token: refresh, expires_in: life } of [
      tokens,
      renewed,
      own,
    ]) {
      for (const jwt of [access, id, refresh].filter((token) => token !== undefined)) {
        const { iat, nbf = iat, auth_time: authTime = iat, exp } = decode(jwt).payload;
        expect(iat).toBeGreaterThanOrEqual(before - 5);
        for (const moment of [iat, nbf, authTime]) expect(moment).toBeLessThanOrEqual(after - 5);
        expect(authTime).toBeLessThanOrEqual(iat);
        expect(exp).toBeGreaterThan(after);
      }
      const { exp } = decode(access).payload;
      expect(exp).toBeGreaterThanOrEqual(before + life);
      expect(exp).toBeLessThanOrEqual(after + life);
    }
  });

  test('at refresh have no nonce, and the sign-in of before (OpenID Connect Core §12.2)', async () => {
    const { tokens, request } = await signIn(server.issuer, { parameters: { max_age: '600' } });
    const first = decode(tokens.id_token).payload;
    expect(first).toMatchObject({ nonce: request.nonce, auth_time: expect.any(Number), sid: expect.any(String) });
    for (let current = tokens, turn = 0; turn < 2; turn += 1) {
      current = await refreshAt(server)(current.refresh_token);
      const { nonce, iat, exp, ...renewed } = decode(current.id_token).payload;
      const { nonce: _nonce, iat: before, exp: _exp, ...same } = first;
      expect(nonce).toBeUndefined();
      expect(renewed).toEqual(same);
      expect(iat).toBeGreaterThanOrEqual(before);
    }
  });
});

describe('acr, where an application asked for one', () => {
  let world: EntraWorld;
  const acr = 'urn:example:strong';
  beforeAll(async () => {
    world = await startEntraWorld({ entra: { acrValues: { [acr]: 'c1' } } });
  });
  afterAll(() => world.close());

  test.each([
    ['known', { acr_values: acr }, acr],
    ['known, and asked for among others', { acr_values: `urn:example:unknown ${acr}` }, acr],
    ['not asked for', {}, undefined],
  ])('is in the ID token and stays in it at refresh: %s', async (_name, parameters, expected) => {
    const { tokens } = await world.signIn('alice', { parameters });
    expect(decode(tokens.id_token).payload.acr).toBe(expected);
    expect(decode(tokens.access_token).payload.acr).toBe(expected);
    const renewed = await world.refresh(tokens.refresh_token);
    expect(decode(renewed.body.id_token).payload.acr).toBe(expected);
  });

  test('is in it, too, where the session of before has it', async () => {
    const { agent } = await world.signIn('alice', { parameters: { acr_values: acr } });
    for (const asked of [acr, 'urn:example:unknown', `urn:example:unknown ${acr}`]) {
      const { tokens } = await signIn(world.server.issuer, { agent, parameters: { acr_values: asked } });
      expect(decode(tokens.id_token).payload.acr, asked).toBe(acr);
    }
  });
});
