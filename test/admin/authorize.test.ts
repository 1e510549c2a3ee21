import { generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import { type AdminAnswer, type AdminServer, startAdministration } from '../support/admin.ts';
import { ordersApi, secret } from '../support/signet.ts';
import { decode, signIn, tokenRequest } from '../support/user-agent.ts';

let server: AdminServer;
beforeAll(async () => {
  server = await startAdministration();
});
afterAll(() => server.close());
beforeEach(async () => {
  await server.store.accounts.setRoles(server.accountId, ['admin'], 'test');
  await server.store.accounts.setDisabled(server.accountId, false, 'test');
});

/** The same header and claims, signed by a key of the forger's. */
function forged(token: string, change: Record<string, unknown> = {}): string {
  const { header, payload } = decode(token);
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode(header)}.${encode({ ...payload, ...change })}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}

const unchanged = async () => (await server.store.keyring.list()).map(({ kid, state }) => `${kid} ${state}`).join();

function expectRefused(answer: AdminAnswer, status: number, error: string): void {
  expect(answer).toMatchObject({
    status,
    body: { error, error_description: expect.any(String), request_id: answer.headers.get('x-request-id') },
  });
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('access-control-allow-origin')).toBeNull();
}

describe('an administrator', () => {
  test('who signed in may read and write', async () => {
    const token = await server.personToken();
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
    expect(await server.call('/keys/rotate', { token, body: { dryRun: true } })).toMatchObject({ status: 200 });
  });

  test('may do no more than the token says', async () => {
    const token = await server.personToken('openid admin:read');
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
    const answer = await server.call('/keys/prepare', { token, body: {} });
    expectRefused(answer, 403, 'insufficient_scope');
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer error="insufficient_scope".*scope="admin:write"$/);
  });

  test('whose role was taken away is refused with the token that still carries it, at once', async () => {
    const token = await server.personToken();
    expect(decode(token).payload.roles).toEqual(['admin']);
    await server.store.accounts.setRoles(server.accountId, ['buyer'], 'test');
    expectRefused(await server.call('/keys', { token }), 401, 'invalid_token');
  });

  test.each<[what: string, act: (id: string) => Promise<unknown>]>([
    ['signed out everywhere', (id) => server.store.accounts.signOut(id, 'test')],
    [
      'given a new password',
      async (id) => {
        const { passwordHash } = (await server.store.accounts.find(id))!;
        await server.store.accounts.setPassword(id, passwordHash!, { mustChange: false, actor: 'test' });
      },
    ],
  ])('who was %s is refused at once, and acts no more', async (_what, act) => {
    const token = await server.personToken();
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
    await act(server.accountId);
    const before = await unchanged();
    expectRefused(await server.call('/keys', { token }), 401, 'invalid_token');
    const answer = await server.call('/keys/rotate', { token, body: { force: true, reason: 'x' } });
    expectRefused(answer, 401, 'invalid_token');
    expect(await unchanged()).toBe(before);
    expect(await server.call('/keys', { token: await server.personToken() })).toMatchObject({ status: 200 });
  });

  test('whose account was disabled is refused at once, and the trail says who tried', async () => {
    const token = await server.personToken();
    await server.store.accounts.setDisabled(server.accountId, true, 'test');
    const answer = await server.call('/keys/prepare', { token, body: {} });
    expectRefused(answer, 401, 'invalid_token');
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer error="invalid_token", error_description="[^"]+"$/);
    const requestId = answer.headers.get('x-request-id');
    await vi.waitFor(async () => {
      const refusals = await server.store.audit.list({ event: 'admin.refused' });
      expect(refusals.find((row) => row.requestId === requestId)).toMatchObject({
        actor: server.accountId,
        clientId: 'spa',
        address: '127.0.0.1',
        detail: { error: 'invalid_token', method: 'POST', path: '/admin/api/v1/keys/prepare' },
      });
    }, 5_000);
  });

  test('needs the scopes to be granted to the application', async () => {
    const parameters = { scope: 'openid admin:write', resource: server.administration };
    await expect(signIn(server.issuer, { clientId: 'web', parameters })).rejects.toThrow(/invalid_target/);
  });
});

describe('a person without the role', () => {
  test('is refused, whatever the token says', async () => {
    await server.store.accounts.setRoles(server.accountId, ['buyer'], 'test');
    const token = await server.personToken();
    await server.store.accounts.setRoles(server.accountId, ['buyer', 'Admin', 'administrator'], 'test');
    expectRefused(await server.call('/keys', { token }), 403, 'insufficient_scope');
  });
});

describe('a service', () => {
  test('that was given the scopes may read and write', async () => {
    const token = await server.serviceToken('operator');
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
    expect(await server.call('/keys/rotate', { token, body: { dryRun: true } })).toMatchObject({ status: 200 });
  });

  test('that was given one of them may do that and nothing else', async () => {
    const token = await server.serviceToken('reader');
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
    expectRefused(await server.call('/keys/rotate', { token, body: {} }), 403, 'insufficient_scope');
  });

  test('that was given none gets no token, and one for another API is of no use', async () => {
    const ask = (resource: string) =>
      tokenRequest(server.issuer, { grant_type: 'client_credentials', resource }, { clientId: 'service', secret });
    expect((await ask(server.administration)).body.error).toBe('invalid_target');
    const { body } = await ask(ordersApi);
    expectRefused(await server.call('/keys', { token: body.access_token }), 401, 'invalid_token');
  });

  test('that gave its token up is refused with it at once, and not with the next one', async () => {
    const token = await server.serviceToken('operator');
    const body = new URLSearchParams({ token, client_id: 'operator', client_secret: secret });
    expect((await fetch(`${server.issuer}/token/revocation`, { method: 'POST', body })).status).toBe(200);
    expectRefused(await server.call('/keys', { token }), 401, 'invalid_token');
    expect(await server.call('/keys', { token: await server.serviceToken('operator') })).toMatchObject({ status: 200 });
  });

  test('that was registered and is disabled is refused at once', async () => {
    const { application, secret: registered } = await server.store.clients.register(
      {
        name: 'Temporary',
        type: 'service',
        access: { [server.administration]: ['admin:read'] },
        redirectUris: [],
        postLogoutRedirectUris: [],
        origins: [],
        firstParty: false,
        pkce: 'required',
        refreshTokens: false,
      },
      'test',
    );
    const { clientId } = application;
    const asked = { grant_type: 'client_credentials', resource: server.administration };
    const { body } = await tokenRequest(server.issuer, asked, { clientId, secret: registered });
    await server.store.clients.setDisabled(clientId, true, 'test');
    // This server may have read the application just before, and remembers it for five seconds.
    await vi.waitFor(
      async () => {
        expectRefused(await server.call('/keys', { token: body.access_token }), 401, 'invalid_token');
      },
      { timeout: 10_000, interval: 500 },
    );
  });
});

describe('whoever has no access token for the administration', () => {
  test('is told which scheme to use, and learns nothing else', async () => {
    for (const path of ['/keys', '/keys/rotate', '/nothing', '']) {
      const answer = await server.call(path, { headers: { Accept: 'text/html' } });
      expectRefused(answer, 401, 'missing_token');
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="api"');
    }
    expectRefused(await server.call('/keys/prepare', { body: {} }), 401, 'missing_token');
    const preflight = { method: 'OPTIONS', headers: { Origin: 'https://app.example.com' } };
    expectRefused(await server.call('/keys', preflight), 401, 'missing_token');
  });

  test('is refused with anything else that Signet signed', async () => {
    const before = await unchanged();
    const tokensFor = async (parameters: Record<string, string>) =>
      (await signIn(server.issuer, { parameters })).tokens;
    const admin = await tokensFor({ scope: 'openid admin:read admin:write', resource: server.administration });
    const orders = await tokensFor({ scope: 'openid orders:read', resource: ordersApi });
    const plain = await tokensFor({ scope: 'openid' });
    for (const token of [admin.id_token, admin.refresh_token, orders.access_token, plain.access_token]) {
      expect(token).toBeTypeOf('string');
      expectRefused(await server.call('/keys/rotate', { token, body: {} }), 401, 'invalid_token');
    }
    expect(await unchanged()).toBe(before);
  });

  test('is refused with a forgery', async () => {
    const before = await unchanged();
    const token = await server.serviceToken('operator');
    const person = await server.personToken('openid admin:read');
    const [header = '', payload = '', signature = ''] = token.split('.');
    const none = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${payload}.`;
    const forgeries = [
      forged(token),
      forged(token, { aud: server.administration }),
      none,
      `${header}.${payload}.`,
      'garbage',
      `${person.split('.').slice(0, 2).join('.')}.${signature}`,
      `${header}.${person.split('.')[1]}.${signature}`,
    ];
    for (const forgery of forgeries) {
      const { status, headers } = await server.call('/keys/rotate', { token: forgery, body: {} });
      expect([400, 401]).toContain(status);
      expect(headers.get('www-authenticate')).toMatch(/^Bearer error="invalid_(?:token|request)"/);
    }
    expect(await unchanged()).toBe(before);
  });

  test('is refused with a token in the query or in a cookie', async () => {
    const token = await server.serviceToken('operator');
    expectRefused(await server.call(`/keys?access_token=${token}`), 401, 'missing_token');
    expectRefused(await server.call('/keys', { headers: { Cookie: `access_token=${token}` } }), 401, 'missing_token');
  });

  test('is refused with a token that has expired', async () => {
    vi.useFakeTimers({ now: Date.now() - 3_600_000, toFake: ['Date'] });
    const token = await server.serviceToken('operator').finally(() => vi.useRealTimers());
    const answer = await server.call('/keys', { token });
    expectRefused(answer, 401, 'invalid_token');
    expect(answer.body.error_description).toBe('the token has expired');
  });
});
