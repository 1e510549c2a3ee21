import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { engines } from '../support/engines.ts';
import { nextKey } from '../support/rotation.ts';
import {
  callback,
  ordersApi,
  person,
  secret,
  spaOrigin,
  startSignet,
  stockApi,
  type TestServer,
} from '../support/signet.ts';
import { statusBit, statusReference } from '../support/status.ts';
import { ageRotation, auditedAs } from '../support/stored.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  redemption,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

// A process beside the server is noticed on PostgreSQL at once, and on SQLite within half a second.
const soon = { timeout: 5_000, interval: 20 };

describe.each(engines)('what sets the bit of a token, on $name', (engine) => {
  let server: TestServer;
  let people = 0;
  let registeredSecret: string;
  beforeAll(async () => {
    server = await startSignet({ database: await engine.freshUrl() });
    await server.store.clients.register(
      {
        clientId: 'registered',
        name: 'Registered',
        type: 'spa',
        redirectUris: [callback],
        postLogoutRedirectUris: [],
        origins: [],
        firstParty: true,
        pkce: 'required',
        access: { [ordersApi]: ['orders:read'] },
        refreshTokens: true,
      },
      'test',
    );
    const { secret: made } = await server.store.clients.register(
      {
        clientId: 'registered-web',
        name: 'Registered',
        type: 'web',
        redirectUris: [callback],
        postLogoutRedirectUris: [],
        origins: [],
        firstParty: true,
        pkce: 'required',
        access: { [ordersApi]: ['orders:read'] },
        refreshTokens: true,
      },
      'test',
    );
    registeredSecret = made!;
  });
  afterAll(() => server.close());

  interface SignedIn {
    id: string;
    agent: UserAgent;
    code: string;
    request: ReturnType<typeof authorizationRequest>;
    access: string;
    refresh: string;
  }

  /** Somebody new, signed in to an application. */
  async function somebody({ clientId = 'spa', roles = ['buyer'] as string[] } = {}): Promise<SignedIn> {
    people += 1;
    const email = `person-${people}@example.com`;
    const { passwordHash } = (await server.store.accounts.findByEmail(person.email))!;
    const { id } = await server.store.accounts.create({ email, roles, passwordHash }, 'test');
    const agent = new UserAgent(server.issuer);
    return { id, agent, ...(await obtain(agent, clientId, email)) };
  }

  async function obtain(agent: UserAgent, clientId: string, email: string) {
    const request = authorizationRequest(server.issuer, { client_id: clientId, resource: ordersApi });
    const code = (await authorize(agent, request.url, { email, password: person.password })).get('code')!;
    const { body } = await tokenRequest(server.issuer, redemption(request, code), applicationOf(clientId));
    return { code, request, access: body.access_token as string, refresh: body.refresh_token as string };
  }

  const applicationOf = (clientId: string) => {
    if (clientId === 'registered-web') return { clientId, secret: registeredSecret };
    return clientId === 'registered' ? { clientId } : asClient(clientId);
  };
  const refresh = (token: string, clientId = 'spa') =>
    tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token }, applicationOf(clientId));

  async function revoke(token: string, client: { clientId: string; secret?: string }): Promise<Response> {
    const { clientId, secret: proof } = client;
    const body = new URLSearchParams({ token, client_id: clientId, ...(proof && { client_secret: proof }) });
    return fetch(`${server.issuer}/token/revocation`, { method: 'POST', body });
  }

  const grantIdOf = (access: string) => String(decode(access).payload.jti).split('.')[0]!;

  type Cause = [cause: string, act: (who: SignedIn) => Promise<unknown>, clientId?: string];
  const causes: Cause[] = [
    ['its application gives up the refresh token (RFC 7009)', ({ refresh: token }) => revoke(token, asClient('spa'))],
    ['its application gives up the access token', ({ access }) => revoke(access, asClient('spa'))],
    [
      'a refresh token is used again, after its time',
      async ({ refresh: token }) => {
        await refresh(token);
        await ageRotation(server.store.db, token, 60);
        expect((await refresh(token)).status).toBe(400);
      },
    ],
    ['a code is used again', ({ request, code }) => tokenRequest(server.issuer, redemption(request, code))],
    [
      'the person signs out',
      async ({ agent }) => agent.submit(await agent.visit(`${server.issuer}/session/end`), { logout: 'yes' }),
    ],
    ['the person is disabled', ({ id }) => server.store.accounts.setDisabled(id, true, 'test')],
    ['a role is taken away', ({ id }) => server.store.accounts.setRoles(id, [], 'test')],
    ['the person is signed out everywhere', ({ id }) => server.store.accounts.signOut(id, 'test')],
    [
      'the person gets a new password',
      async ({ id }) => {
        const { passwordHash } = (await server.store.accounts.find(id))!;
        await server.store.accounts.setPassword(id, passwordHash!, { mustChange: false, actor: 'test' });
      },
    ],
    ['the application is disabled', () => server.store.clients.setDisabled('registered', true, 'test'), 'registered'],
    [
      'the application gets a new secret',
      async () => {
        registeredSecret = await server.store.clients.renewSecret('registered-web', 'test');
      },
      'registered-web',
    ],
    [
      'an administrator revokes the grant',
      ({ access }) => server.store.grants.revoke(grantIdOf(access), { actor: 'test' }),
    ],
    [
      'an emergency cuts all sessions',
      async () => {
        const { kid } = await nextKey(server.store.keyring);
        await server.store.keys.revoke(kid, 'a test', { actor: 'test' }, { cutSessions: true });
      },
    ],
  ];

  test.each(causes)('%s', async (cause, act, clientId = 'spa') => {
    await server.store.clients.setDisabled('registered', false, 'test');
    const who = await somebody({ clientId });
    const [again, bystander] = [await refresh(who.refresh, clientId), await somebody()];
    expect(await statusBit(who.access)).toBe(0);
    await act({ ...who, refresh: again.body.refresh_token });
    await expect.poll(() => statusBit(who.access), soon).toBe(1);
    expect(await statusBit(again.body.access_token)).toBe(1);
    // The server may have read the application just before, and remembers it, and its old secret, for five seconds.
    if (cause.includes('new secret'))
      await vi.waitFor(
        async () => {
          expect((await refresh(again.body.refresh_token, clientId)).body.error).toBe('invalid_grant');
        },
        { timeout: 10_000, interval: 250 },
      );
    // A disabled application is nobody, from when the server has heard of it.
    const refusals = cause === 'the application is disabled' ? ['invalid_grant', 'invalid_client'] : ['invalid_grant'];
    expect(refusals).toContain((await refresh(again.body.refresh_token, clientId)).body.error);
    if (!cause.includes('emergency')) expect(await statusBit(bystander.access)).toBe(0);
  });

  test('a role that is added takes nothing away, and one that is kept neither', async () => {
    const who = await somebody();
    await server.store.accounts.setRoles(who.id, ['buyer', 'seller'], 'test');
    await server.store.statusLists.refresh();
    expect(await statusBit(who.access)).toBe(0);
    expect((await refresh(who.refresh)).status).toBe(200);
  });

  test('whoever lost a role is still signed in, and gets tokens without it and without a password', async () => {
    const who = await somebody({ roles: ['buyer', 'admin'] });
    await server.store.accounts.setRoles(who.id, ['buyer'], 'test');
    await expect.poll(() => statusBit(who.access), soon).toBe(1);
    const request = authorizationRequest(server.issuer, { prompt: 'none', resource: ordersApi });
    const code = new URL((await who.agent.visit(request.url)).url).searchParams.get('code')!;
    const { body } = await tokenRequest(server.issuer, redemption(request, code));
    expect(decode(body.access_token).payload.roles).toEqual(['buyer']);
    expect(await statusBit(body.access_token)).toBe(0);
  });

  test('whoever was signed out everywhere signs in again with a password, and their new tokens are good', async () => {
    const who = await somebody();
    await server.store.accounts.signOut(who.id, 'test');
    const request = authorizationRequest(server.issuer, { prompt: 'none' });
    expect(new URL((await who.agent.visit(request.url)).url).searchParams.get('error')).toBe('login_required');
    const { email } = (await server.store.accounts.find(who.id))!;
    expect(await statusBit((await obtain(new UserAgent(server.issuer), 'spa', email!)).access)).toBe(0);
  });

  test('one application of a person may end without the others', async () => {
    const who = await somebody();
    const { email } = (await server.store.accounts.find(who.id))!;
    const other = await obtain(who.agent, 'web', email!);
    expect((await server.store.grants.list(who.id)).map(({ clientId }) => clientId).sort()).toEqual(['spa', 'web']);
    await server.store.grants.revoke(grantIdOf(other.access), { actor: 'test' });
    await expect.poll(() => statusBit(other.access), soon).toBe(1);
    expect(await statusBit(who.access)).toBe(0);
    expect((await server.store.grants.list(who.id)).map(({ clientId }) => clientId)).toEqual(['spa']);
    const again = server.store.grants.revoke(grantIdOf(other.access), { actor: 'test' });
    await expect(again).rejects.toThrow('it has ended');
  });

  test('each act is in the audit trail, with what ended by it', async () => {
    const who = await somebody();
    await server.store.accounts.signOut(who.id, 'admin-7');
    expect(await server.store.audit.list({ event: 'account.signed_out', subject: who.id })).toMatchObject([
      { actor: 'admin-7', detail: { grantsEnded: 1 } },
    ]);
    const other = await somebody();
    await server.store.grants.revoke(grantIdOf(other.access), { actor: 'admin-7' });
    expect(await server.store.audit.list({ event: 'grant.revoked', subject: other.id })).toMatchObject([
      { actor: 'admin-7', clientId: 'spa', detail: { grantId: grantIdOf(other.access), cause: expect.any(String) } },
    ]);
    const answer = await revoke((await somebody()).refresh, asClient('spa'));
    expect(await auditedAs(server.store.db, [answer])).toEqual(['grant.revoked']);
  });
});

describe('the status of a token', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startSignet();
  });
  afterAll(() => server.close());

  async function serviceToken(): Promise<string> {
    const { body } = await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    return body.access_token;
  }

  test('is the same place for every token of a grant, and another for every grant', async () => {
    const { agent, tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const again = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
    const { body } = await tokenRequest(server.issuer, again);
    expect(statusReference(body.access_token)).toEqual(statusReference(tokens.access_token));
    const others = [
      await signIn(server.issuer, { agent, clientId: 'web' }),
      await signIn(server.issuer),
      await signIn(server.issuer, { parameters: { resource: stockApi, scope: 'openid stock:read' } }),
    ].map((one) => statusReference(one.tokens.access_token));
    const places = [statusReference(tokens.access_token), ...others].map(({ uri, idx }) => `${uri} ${idx}`);
    expect(new Set(places).size).toBe(4);
  });

  test('is one place for all tokens that a service gets for itself', async () => {
    const [one, other] = [await serviceToken(), await serviceToken()];
    expect(statusReference(one)).toEqual(statusReference(other));
    expect(statusReference(one).uri).toMatch(new RegExp(`^${server.issuer}/status-lists/\\d+$`));
  });

  test('of a service that gives one up: all of its tokens end, and the next one is good', async () => {
    const [one, other] = [await serviceToken(), await serviceToken()];
    const body = new URLSearchParams({ token: one, client_id: 'service', client_secret: secret });
    expect((await fetch(`${server.issuer}/token/revocation`, { method: 'POST', body })).status).toBe(200);
    expect([await statusBit(one), await statusBit(other), await statusBit(await serviceToken())]).toEqual([1, 1, 0]);
  });

  test('is announced in the metadata, where all lists are listed', async () => {
    const document = async (url: string) => (await fetch(url)).json() as Promise<Record<string, any>>;
    const metadata = await document(`${server.issuer}/.well-known/oauth-authorization-server`);
    expect(await document(metadata.status_list_aggregation_endpoint)).toEqual({
      status_lists: [statusReference(await serviceToken()).uri],
    });
  });

  test('of a revoked token is known at userinfo at once', async () => {
    const { tokens } = await signIn(server.issuer);
    const userinfo = () => askUserinfo(server.issuer, tokens.access_token);
    expect((await userinfo()).status).toBe(200);
    const body = new URLSearchParams({ token: tokens.refresh_token, client_id: 'spa' });
    const headers = { Origin: spaOrigin };
    const answer = await fetch(`${server.issuer}/token/revocation`, { method: 'POST', body, headers });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, spaOrigin]);
    expect((await userinfo()).status).toBe(401);
  });
});
