import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secretsIn } from '../support/secrets.ts';
import { Browser, json } from './browser.ts';
import { type App, hosts, startWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.close());

describe.each(hosts)('an application on %s', (host) => {
  let app: App;
  beforeAll(async () => {
    app = await world.start(host);
  });

  async function signedIn(): Promise<Browser> {
    const browser = new Browser();
    await browser.signIn(`${app.url}/bff/sign-in`);
    return browser;
  }

  test('brings whoever opens a page to the sign-in, and afterwards to that page', async () => {
    const browser = new Browser();
    const answer = await browser.signIn(`${app.url}/me?from=link`);
    expect(answer.url).toBe(`${app.url}/me?from=link`);
    expect(json(answer)).toEqual({ sub: world.signet.accountId });
  });

  test('tells a script that nobody is signed in', async () => {
    const browser = new Browser();
    expect(await browser.call(`${app.url}/me`)).toMatchObject({ status: 401 });
    expect(json(await browser.call(`${app.url}/me`))).toEqual({
      error: 'signed_out',
      error_description: 'you are not signed in',
    });
    expect(json(await browser.call(`${app.url}/bff/user`))).toEqual({ user: null });
    expect(await browser.call(`${app.url}/api/orders`)).toMatchObject({ status: 401 });
  });

  test('tells its page who is signed in, and no token', async () => {
    const browser = await signedIn();
    const answer = await browser.call(`${app.url}/bff/user`);
    expect(answer.headers['cache-control']).toBe('no-store');
    const { user, scopes, expiresAt } = json(answer);
    const sub = world.signet.accountId;
    expect(user).toMatchObject({ sub, name: 'Ada', email: 'ada@example.com', roles: ['buyer'] });
    expect(Object.keys(user)).not.toContain('nonce');
    expect(scopes).toContain('orders:read');
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now());
  });

  test('passes a request on with the token in the place of the cookie', async () => {
    const browser = await signedIn();
    const body = '{"article":"lamp"}';
    const headers = { 'content-type': 'application/json' };
    const answer = await browser.call(`${app.url}/api/orders?page=2`, { method: 'POST', body, headers });
    expect(answer).toMatchObject({ status: 200, body: '["order"]' });
    const received = world.upstream.received.at(-1)!;
    expect(received).toMatchObject({ method: 'POST', url: '/orders?page=2', body });
    expect(received.headers.authorization).toMatch(/^Bearer ey/);
    expect(received.headers).not.toHaveProperty('cookie');
  });

  test('asks for scopes behind the guard', async () => {
    const browser = await signedIn();
    expect((await browser.call(`${app.url}/write`)).status).toBe(403);
  });

  test('renews the tokens in time, also for an answer that fails', async () => {
    const browser = await signedIn();
    const before = [...browser.cookies];
    app.clock.ahead = 29.8 * 60_000;
    const failed = await browser.call(`${app.url}/fails`);
    expect(failed.status).toBe(500);
    expect(failed.headers['cache-control']).toBe('no-store');
    expect([...browser.cookies.keys()]).toEqual(expect.arrayContaining(before.map(([name]) => name)));
    expect([...browser.cookies]).not.toEqual(expect.arrayContaining(before));
    app.clock.ahead = 0;
    expect(json(await browser.call(`${app.url}/me`))).toEqual({ sub: world.signet.accountId });
  });

  test('signs out: here, at the issuer, and for the refresh token', async () => {
    const browser = await signedIn();
    const before = new Map(browser.cookies);
    const answer = await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' });
    expect([...browser.cookies.keys()].filter((name) => name.startsWith('bff'))).toEqual([]);
    expect(json(await browser.call(`${app.url}/bff/user`))).toEqual({ user: null });

    const page = await browser.visit(json(answer).location);
    expect(page.body).toContain('Sign out?');
    const end = await browser.submit(page, { logout: 'yes' });
    expect(end.url).toBe(`${app.url}/`);
    expect((await browser.visit(`${app.url}/bff/sign-in`)).body).toContain('name="password"');

    const thief = new Browser();
    for (const [name, value] of before) thief.cookies.set(name, value);
    app.clock.ahead = 29.8 * 60_000;
    expect((await thief.call(`${app.url}/me`)).status).toBe(401);
    app.clock.ahead = 0;
  });

  test('shows no token, code or cookie in any answer, and has had no error', async () => {
    const browser = await signedIn();
    await browser.call(`${app.url}/bff/user`);
    await browser.call(`${app.url}/api/orders`);
    await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' });
    const own = browser.answers
      .filter(({ url }) => url.startsWith(app.url))
      .map(({ body }) => body)
      .join('\n');
    expect(own).not.toMatch(/eyJ/);
    expect(secretsIn(own)).toEqual([]);
    expect(app.errors).toEqual([]);
  });
});
