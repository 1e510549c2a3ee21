import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { rotateKeys } from '../support/rotation.ts';
import { startSignet, type TestServer } from '../support/signet.ts';
import { asClient, askUserinfo, authorizationRequest, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';
import { textOf } from '../web/html.ts';

const after = 'https://app.example.com/';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

const endSession = (parameters: Record<string, string> = {}) => `/session/end?${new URLSearchParams(parameters)}`;

/** Whether this browser's person would have to sign in again. */
async function isSignedIn(agent: UserAgent): Promise<boolean> {
  const { headers } = await agent.request(authorizationRequest(server.issuer, { prompt: 'none' }).url);
  return new URL(headers.get('location')!).searchParams.has('code');
}

const refresh = (refreshToken: string, clientId = 'spa') =>
  tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: refreshToken }, asClient(clientId));

describe('an application signs a person out (OpenID Connect RP-Initiated Logout)', () => {
  test('of this very session, with an ID token of it: at once, back with the state', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const { tokens: others } = await signIn(server.issuer, { agent, clientId: 'web', parameters: { scope: 'openid' } });
    const parameters = { id_token_hint: tokens.id_token, post_logout_redirect_uri: after, state: 'kept' };
    const back = await agent.request(endSession(parameters));
    expect([back.status, back.headers.get('location')]).toEqual([303, `${after}?state=kept`]);
    expect(agent.cookie('session')).toBeUndefined();
    expect(await refresh(others.refresh_token, 'web')).toMatchObject({ status: 400 });
    const { accountId: subject } = server;
    await expect
      .poll(async () => (await server.store.audit.list({ subject })).map(({ event }) => event), { timeout: 10_000 })
      .toContain('session.ended');
    expect(await isSignedIn(agent)).toBe(false);
    expect(await refresh(tokens.refresh_token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect((await askUserinfo(server.issuer, tokens.access_token)).status).toBe(401);
  });

  test.each([
    ['without a hint', 'spa', () => undefined],
    ['with a hint of another session of the same person', 'spa', async () => (await signIn(server.issuer)).tokens],
    [
      'with a hint of the session that was here before',
      'spa',
      async (agent: UserAgent) => {
        const { tokens } = await signIn(server.issuer, { agent });
        await agent.submit(await agent.visit(endSession()), { logout: 'yes' });
        await signIn(server.issuer, { agent });
        return tokens;
      },
    ],
    [
      'by an application of somebody else',
      'third-party',
      async (agent: UserAgent) =>
        (
          await signIn(server.issuer, {
            agent,
            clientId: 'third-party',
            parameters: { redirect_uri: 'https://reports.example.net/cb', scope: 'openid' },
          })
        ).tokens,
    ],
  ])('%s: the person is asked', async (_how, clientId, hintFor) => {
    const { agent } = await signIn(server.issuer);
    const tokens = await hintFor(agent);
    const page = await agent.request(
      endSession(
        tokens ? { id_token_hint: tokens.id_token } : { client_id: clientId, post_logout_redirect_uri: after },
      ),
    );
    expect([page.status, page.body]).toEqual([200, expect.stringContaining('Sign out?</h1>')]);
    expect(await isSignedIn(agent)).toBe(true);
  });

  test.each([['a browser that only fetches ahead', { 'Sec-Purpose': 'prefetch;prerender' }]])(
    'is not ended by %s',
    async (_who, headers) => {
      const { agent, tokens } = await signIn(server.issuer);
      await agent.request(endSession({ id_token_hint: tokens.id_token }), { headers });
      expect(await isSignedIn(agent)).toBe(true);
    },
  );

  test('and the person confirms, is signed out, and comes back with the state', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const page = await agent.visit(endSession({ client_id: 'spa', post_logout_redirect_uri: after, state: 'kept' }));
    expect(page.status).toBe(200);
    expect(await isSignedIn(agent)).toBe(true);

    const back = await agent.submit(page, { logout: 'yes' });
    expect(back.headers.get('location')).toBe(`${after}?state=kept`);
    expect(await isSignedIn(agent)).toBe(false);
    expect(await refresh(tokens.refresh_token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect((await askUserinfo(server.issuer, tokens.access_token)).status).toBe(401);
  });

  test('and stays signed out, whatever other tabs were asking at that moment', async () => {
    const { agent } = await signIn(server.issuer);
    const page = await agent.visit(endSession());
    const before = [...agent.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const tab = () =>
      new UserAgent(server.issuer).request(authorizationRequest(server.issuer, { prompt: 'none' }).url, {
        headers: { Cookie: before },
      });
    await Promise.all([tab(), tab(), agent.submit(page, { logout: 'yes' }), tab(), tab()]);
    const { headers } = await tab();
    expect(new URL(headers.get('location')!).searchParams.get('error')).toBe('login_required');
  });

  test('also by its client_id, without a hint', async () => {
    const { agent } = await signIn(server.issuer);
    const page = await agent.visit(endSession({ client_id: 'spa', post_logout_redirect_uri: after }));
    expect((await agent.submit(page, { logout: 'yes' })).headers.get('location')).toBe(after);
    expect(await isSignedIn(agent)).toBe(false);
  });

  test('and without an address to return to, the person sees that it is done', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const done = await agent.visit(endSession({ id_token_hint: tokens.id_token }));
    expect([done.status, done.body]).toEqual([
      200,
      expect.stringMatching(/<h1>You are signed out<\/h1>.*Your session with <b>Orders<\/b> has ended/s),
    ]);
    expect(new URL(done.url).origin).toBe(server.issuer);
    expect(await isSignedIn(agent)).toBe(false);
  });

  test('with a hint that has expired long ago: it says who, not until when', async () => {
    const short = await startSignet({ values: { tokens: { idTokenLife: '1m' } } });
    const { agent, tokens } = await signIn(short.issuer);
    // The server runs in this process, and so by this clock.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
    const parameters = { id_token_hint: tokens.id_token, post_logout_redirect_uri: after };
    const done = await agent.visit(endSession(parameters)).finally(() => vi.useRealTimers());
    expect(done.headers.get('location')).toBe(after);
    await short.close();
  });

  test('with a hint that a retired key signed', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    await rotateKeys(server);
    const done = await agent.visit(endSession({ id_token_hint: tokens.id_token, post_logout_redirect_uri: after }));
    expect(done.headers.get('location')).toBe(after);
  });
});

describe('a sign-out that nobody asked for', () => {
  test('does not happen on a mere visit', async () => {
    const { agent } = await signIn(server.issuer);
    await agent.visit(endSession());
    await agent.request('/session/end/confirm');
    expect(await isSignedIn(agent)).toBe(true);
  });

  test('does not happen on a form that another page made up, and the attempt is in the audit trail', async () => {
    const { agent } = await signIn(server.issuer);
    await agent.visit(endSession());
    for (const form of [{ logout: 'yes' }, { logout: 'yes', xsrf: '' }, { logout: 'yes', xsrf: 'guessed' }]) {
      const page = await agent.request('/session/end/confirm', { form: form as Record<string, string> });
      expect(page.status).toBe(400);
      expect(page.headers.get('location')).toBeNull();
    }
    expect(await isSignedIn(agent)).toBe(true);
    const { accountId: subject } = server;
    const refused = () => server.store.audit.list({ event: 'session.end_refused', subject });
    await expect
      .poll(async () => (await refused()).map(({ detail }) => detail.description), { timeout: 10_000 })
      .toContain('xsrf token invalid');
  });

  test('does not happen with the form of another browser', async () => {
    const { agent: victim } = await signIn(server.issuer);
    const { agent: attacker } = await signIn(server.issuer);
    await victim.visit(endSession());
    const { body } = await attacker.visit(endSession());
    const xsrf = /name="xsrf"[^>]*value="([^"]*)"/.exec(body)![1]!;
    const page = await victim.request('/session/end/confirm', { form: { logout: 'yes', xsrf } });
    expect([page.status, await isSignedIn(victim)]).toEqual([400, true]);
  });

  test('does not happen when the person says no: only the application that asked is done', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const { tokens: others } = await signIn(server.issuer, { agent, clientId: 'web', parameters: { scope: 'openid' } });
    const page = await agent.visit(endSession({ client_id: 'spa', post_logout_redirect_uri: after }));
    // Not at the application's page for whoever is signed out.
    const stayed = await agent.submit(page, {});
    expect(stayed.body).toMatch(
      /<h1>You are still signed in<\/h1>.*ada@example\.com.*Your session with <b>Orders<\/b> has ended/s,
    );
    expect(await refresh(tokens.refresh_token)).toMatchObject({ status: 400 });
    expect(await refresh(others.refresh_token, 'web')).toMatchObject({ status: 200 });
    expect(await isSignedIn(agent)).toBe(true);
  });
});

describe('a sign-out that no application asked for', () => {
  test.each([
    [{}, /<h1>You are still signed in<\/h1>.*Nothing has changed/s],
    [{ logout: 'yes' }, /<h1>You are signed out<\/h1>/],
  ])('ends in a page that says how it ended: %j', async (choice, said) => {
    const { agent } = await signIn(server.issuer);
    const ended = await agent.submit(await agent.visit(endSession()), choice as Record<string, string>);
    expect([ended.status, ended.body]).toEqual([200, expect.stringMatching(said)]);
    expect(await isSignedIn(agent)).toBe(!('logout' in choice));
  });
});

describe('a sign-out that is not in order is answered by an error page', () => {
  test.each([
    ["a client_id other than the hint's", { client_id: 'web' }],
    ['an unknown application', { client_id: 'nobody', id_token_hint: '' }],
    ['an address that is not registered', { post_logout_redirect_uri: 'https://attacker.example/' }],
    ['an address registered for sign-in only', { post_logout_redirect_uri: 'https://app.example.com/callback' }],
  ])('%s', async (_name, wrong) => {
    const { agent, tokens } = await signIn(server.issuer);
    const page = await agent.visit(endSession({ id_token_hint: tokens.id_token, ...wrong } as Record<string, string>));
    expect(page.status).toBe(400);
    expect(page.headers.get('location')).toBeNull();
    expect(page.body).not.toContain('attacker');
    expect(await isSignedIn(agent)).toBe(true);
  });

  test.each([
    [
      'an address that is not registered',
      'This sign-out was stopped to protect you',
      { post_logout_redirect_uri: 'https://attacker.example/' },
    ],
    ['an unknown application', 'This sign-out did not work', { client_id: 'nobody' }],
  ])('in sentences for people, and a way to sign out all the same: %s', async (_name, title, wrong) => {
    const { agent } = await signIn(server.issuer);
    const page = await agent.visit(endSession({ client_id: 'spa', ...wrong } as Record<string, string>));
    expect([page.status, textOf(page.body, 'h1')]).toEqual([400, title]);
    const [, message] = /<p class="lead">(.*?)<\/p>/s.exec(page.body)!;
    expect(message).toMatch(/nothing has changed/i);
    expect(message).not.toMatch(/_/);
    const [, instead] = /<a href="([^"]*)">Sign out here<\/a>/.exec(page.body)!;
    await agent.submit(await agent.visit(instead!), { logout: 'yes' });
    expect(await isSignedIn(agent)).toBe(false);
  });

  test('a parameter twice', async () => {
    const page = await new UserAgent(server.issuer).visit('/session/end?client_id=spa&client_id=web');
    expect([page.status, page.headers.get('location')]).toEqual([400, null]);
  });

  test('a confirmation out of nowhere', async () => {
    const form = { xsrf: 'x', logout: 'yes' };
    const page = await new UserAgent(server.issuer).request('/session/end/confirm', { form });
    expect([page.status, page.headers.get('location')]).toEqual([400, null]);
    expect(textOf(page.body, 'h1')).toBe('This page has expired');
  });
});
