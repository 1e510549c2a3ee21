// A browser that has proved who somebody is, and takes its time before it follows the last redirect.

import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { engines } from '../support/engines.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, decode, redemption, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

const isAsked = ({ body }: { body: string }) => body.includes('name="password"');

describe.each(engines)('a sign-in that was proved, on $name', (engine) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startSignet({ database: await engine.freshUrl() });
  });
  afterAll(() => server.close());

  /** Where the browser of a person goes next, once their password was right. */
  async function parked() {
    const agent = new UserAgent(server.issuer);
    const request = authorizationRequest(server.issuer);
    const page = await agent.visit(request.url);
    const { headers } = await agent.request(page.url, { form: person });
    return { agent, request, next: headers.get('location')! };
  }

  test.each<[cause: string, act: (id: string) => Promise<unknown>]>([
    ['a person was signed out everywhere', (id) => server.store.accounts.signOut(id, 'test')],
    [
      'they were disabled and enabled',
      async (id) => {
        await server.store.accounts.setDisabled(id, true, 'test');
        await server.store.accounts.setDisabled(id, false, 'test');
      },
    ],
    [
      'they got a new password',
      async (id) => {
        const { passwordHash } = (await server.store.accounts.find(id))!;
        await server.store.accounts.setPassword(id, passwordHash!, { mustChange: false, actor: 'test' });
      },
    ],
  ])('before %s ends nowhere', async (_cause, act) => {
    const { agent, next } = await parked();
    await act(server.accountId);
    expect(isAsked(await agent.visit(next))).toBe(true);
    expect(isAsked(await agent.visit(authorizationRequest(server.issuer).url))).toBe(true);
    const later = await parked();
    expect(new URL((await later.agent.visit(later.next)).url).searchParams.get('code')).toBeTruthy();
  });

  test('before an emergency cut all sessions ends nowhere', async () => {
    const { agent, next } = await parked();
    const { kid } = (await server.store.keyring.list()).find(({ state }) => state === 'prepared')!;
    await server.store.keys.revoke(kid, 'a test', { actor: 'test' }, { cutSessions: true });
    const answer = await agent.visit(next);
    expect([answer.status, answer.url.startsWith(server.issuer)]).toEqual([400, true]);
    expect(isAsked(await agent.visit(authorizationRequest(server.issuer).url))).toBe(true);
  });

  test('and is taken home late is as good as another, where nothing happened to the person', async () => {
    const { agent, request, next } = await parked();
    await server.store.accounts.setRoles(server.accountId, ['buyer', 'auditor'], 'test');
    const code = new URL((await agent.visit(next)).url).searchParams.get('code')!;
    expect((await tokenRequest(server.issuer, redemption(request, code))).status).toBe(200);
  });
});

test('who gets a new password is signed out everywhere, whoever sets it', async () => {
  const server = await startSignet();
  onTestFinished(() => server.close());
  const { accounts, passwords, audit } = server.store;
  const refresh = (token: string) => tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token });

  const before = await signIn(server.issuer);
  const oneTime = await passwords.hash('good for one use');
  await accounts.setPassword(server.accountId, oneTime, { mustChange: true, actor: 'admin' });
  expect((await refresh(before.tokens.refresh_token)).body.error).toBe('invalid_grant');
  expect(isAsked(await before.agent.visit(authorizationRequest(server.issuer).url))).toBe(true);

  // Somebody who still had a session when the person themselves chose another password.
  const choosing = new UserAgent(server.issuer);
  const request = authorizationRequest(server.issuer);
  const page = await choosing.submit(await choosing.visit(request.url), { ...person, password: 'good for one use' });
  await server.store.db.query('update accounts set password_must_change = 0 where id = $1', [server.accountId]);
  const thief = new UserAgent(server.issuer);
  const stolen = authorizationRequest(server.issuer);
  const entered = await thief.submit(await thief.visit(stolen.url), { ...person, password: 'good for one use' });
  const { body } = await tokenRequest(
    server.issuer,
    redemption(stolen, new URL(entered.url).searchParams.get('code')!),
  );
  const chosen = await choosing.submit(page, { new_password: person.password, new_password_again: person.password });
  const own = await tokenRequest(server.issuer, redemption(request, new URL(chosen.url).searchParams.get('code')!));
  expect(decode(own.body.access_token).payload.sub).toBe(server.accountId);
  expect((await refresh(own.body.refresh_token)).status).toBe(200);
  expect((await refresh(body.refresh_token)).body.error).toBe('invalid_grant');
  expect(isAsked(await thief.visit(authorizationRequest(server.issuer).url))).toBe(true);
  await vi.waitFor(async () =>
    expect(await audit.list({ event: 'account.password_set' })).toMatchObject([
      { actor: server.accountId, detail: { grantsEnded: 1 } },
      { actor: 'admin', detail: { grantsEnded: 1 } },
    ]),
  );
});
