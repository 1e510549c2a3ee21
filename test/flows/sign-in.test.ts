import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { datedBack } from '../../src/keys/dating.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, decode, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

describe('a person signs in through a single-page app', () => {
  test('the code is exchanged for three tokens, all signed RS256, each of its own type', async () => {
    const { tokens, request } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const access = decode(tokens.access_token);
    const id = decode(tokens.id_token);
    const refresh = decode(tokens.refresh_token);
    expect([access, id, refresh].map(({ header }) => header.alg)).toEqual(['RS256', 'RS256', 'RS256']);
    expect([access.header.typ, id.header.typ, refresh.header.typ]).toEqual(['at+jwt', undefined, 'rt+jwt']);
    expect(access.payload).toMatchObject({
      iss: server.issuer,
      sub: server.accountId,
      client_id: 'spa',
      email: 'ada@example.com',
      roles: ['buyer'],
      auth_time: expect.any(Number),
      sid: expect.any(String),
    });
    expect(access.payload.exp - access.payload.iat).toBe(1800 + datedBack);
    expect(id.payload).toMatchObject({
      iss: server.issuer,
      aud: 'spa',
      sub: server.accountId,
      nonce: request.nonce,
      sid: access.payload.sid,
    });
  });

  test('the answer names the issuer (RFC 9207) and gives the state back', async () => {
    const request = authorizationRequest(server.issuer, { resource: ordersApi });
    const answer = await authorize(new UserAgent(server.issuer), request.url);
    expect(answer.get('iss')).toBe(server.issuer);
    expect(answer.get('state')).toBe(request.state);
  });

  test('a refresh gives new tokens and a new refresh token', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const { status, body } = await tokenRequest(server.issuer, {
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token,
    });
    expect(status).toBe(200);
    expect(body.refresh_token).not.toBe(tokens.refresh_token);
    expect(decode(body.access_token).payload.sub).toBe(server.accountId);
  });

  test('userinfo answers the token of a request that named no API', async () => {
    const { tokens } = await signIn(server.issuer, {
      clientId: 'web',
      parameters: { scope: 'openid email orders:read' },
    });
    expect(decode(tokens.access_token).payload.aud).toEqual([ordersApi, server.issuer]);
    const headers = { Authorization: `Bearer ${tokens.access_token}` };
    const response = await fetch(`${server.issuer}/me`, { headers });
    expect(await response.json()).toMatchObject({ sub: server.accountId, email: 'ada@example.com' });
  });
});
