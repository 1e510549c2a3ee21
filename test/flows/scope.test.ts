// What an application asks for and cannot get: left out, said by `scope`, and refused only where nothing else is asked.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ordersApi, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import { everythingIn } from '../support/stored.ts';
import { asClient, authorizationRequest, authorize, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

const refresh = (token: string, parameters: Record<string, string>, clientId = 'spa') =>
  tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token, ...parameters }, asClient(clientId));
const sorted = (scope: string) => scope.split(' ').sort();

describe('a refresh that repeats the scope of the sign-in', () => {
  test.each([
    ['with scopes that nobody knows', 'spa', 'openid profile email groups everything', {}],
    ['with offline_access that was not consented to', 'spa', 'openid email offline_access', {}],
    ['with scopes of an API that was not named', 'spa', 'openid orders:read stock:read', {}],
    ['with scopes of an API that the application may not use', 'web', 'openid orders:write stock:read orders:read', {}],
    [
      'with scopes of two APIs, of which one was named',
      'spa',
      'openid orders:read stock:read',
      { resource: ordersApi },
    ],
    [
      'with what only a third party would be asked about',
      'third-party',
      'openid email groups orders:read',
      {
        redirect_uri: 'https://reports.example.net/cb',
        resource: ordersApi,
      },
    ],
  ])('%s, is answered, again and again', async (_name, clientId, scope, parameters) => {
    const { tokens } = await signIn(server.issuer, { clientId, parameters: { scope, ...parameters } });
    let current = tokens;
    for (let turn = 0; turn < 2; turn += 1) {
      const { status, body } = await refresh(current.refresh_token, { scope }, clientId);
      expect([status, body.error_description]).toEqual([200, undefined]);
      expect(sorted(body.scope)).toEqual(sorted(tokens.scope));
      current = body;
    }
  });

  test('asks for less where it leaves out what was granted', async () => {
    const { tokens } = await signIn(server.issuer, {
      parameters: { scope: 'openid email groups', resource: ordersApi },
    });
    const { body } = await refresh(tokens.refresh_token, { scope: 'openid groups' });
    expect(body.scope).toBe('openid');
  });

  test('is refused what exists and was never asked for, and what is nothing else, by name; and the token stays good', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { scope: 'openid groups', resource: ordersApi } });
    for (const scope of ['openid email', 'openid orders:write', 'openid groups orders:write', 'groups', 'unheard']) {
      const { status, body } = await refresh(tokens.refresh_token, { scope });
      expect([status, body.error], scope).toEqual([400, 'invalid_scope']);
      expect(body.scope, scope).toBe(
        scope
          .split(' ')
          .filter((one) => one !== 'openid')
          .at(-1),
      );
    }
    expect(await refresh(tokens.refresh_token, {})).toMatchObject({ status: 200 });
  });

  test('cannot be told what was left out by a parameter of the request', async () => {
    const parameters = { scope: 'openid', ungrantable_scope: 'email', resource: ordersApi };
    const { tokens } = await signIn(server.issuer, { parameters });
    expect(await refresh(tokens.refresh_token, { scope: 'openid email' })).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
    expect(await everythingIn(server.store.db)).not.toContain('"ungrantedScope":"email"');
  });
});

describe('an authorization request that asks for nothing that can be granted', () => {
  test.each([
    ['a scope that nobody knows', { scope: 'groups' }, 'groups'],
    ['several', { scope: 'groups everything' }, 'groups everything'],
    ['offline_access without consent', { scope: 'offline_access' }, 'offline_access'],
    ['a scope of an API that is not named', { scope: 'orders:read' }, 'orders:read'],
    ['a scope of another API than the named one', { scope: 'stock:read', resource: ordersApi }, 'stock:read'],
    ['a scope of its API that it may not have', { client_id: 'web', scope: 'orders:write' }, 'orders:write'],
    ['a scope by form_post', { scope: 'groups', response_mode: 'form_post' }, 'groups'],
    ['without a sign-in page', { scope: 'groups', prompt: 'none' }, 'groups'],
  ])('is answered invalid_scope with the names, before anybody signs in: %s', async (_name, parameters, names) => {
    const request = authorizationRequest(server.issuer, { nonce: undefined, ...parameters });
    const answer = await new UserAgent(server.issuer).request(request.url);
    const text = decodeURIComponent((answer.headers.get('location') ?? answer.body).replaceAll('+', ' '));
    expect(text).toContain('invalid_scope');
    expect(text).toContain(names);
    expect(answer.headers.get('location') ?? '').not.toContain('/sign-in/');
  });

  test('names what to do where the API is missing', async () => {
    const { url } = authorizationRequest(server.issuer, { nonce: undefined, scope: 'stock:read' });
    const { headers } = await new UserAgent(server.issuer).request(url);
    expect(new URL(headers.get('location')!).searchParams.get('error_description')).toContain('parameter resource');
  });

  test('is let through where it asks for something else, too, or for no scope at all', async () => {
    const request = authorizationRequest(server.issuer, { scope: 'openid groups' });
    expect((await authorize(new UserAgent(server.issuer), request.url)).get('code')).not.toBeNull();
    const none = authorizationRequest(server.issuer, { nonce: undefined, scope: undefined, resource: stockApi });
    expect((await authorize(new UserAgent(server.issuer), none.url)).get('error')).not.toBe('invalid_scope');
  });
});
