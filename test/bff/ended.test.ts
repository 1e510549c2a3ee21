// Cookies that somebody copied before the tokens in them were renewed. For a while they are as good as the new ones,
// since a page may have sent them along with the renewal; but no longer than the session is.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Browser } from './browser.ts';
import { type App, startWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ values: { revocation: { ttl: '1s' } } });
});
afterAll(() => world.close());

// As long as the tokens live: every request renews, so none has to wait for its time.
const always = { refreshAheadSeconds: 1800 };
const byStatusList = { ...always, verifier: undefined };
const soon = { timeout: 20_000, interval: 100 };

const me = (app: App, browser: Browser) => browser.call(`${app.url}/me`);
const through = (process: App, cookies: ReadonlyMap<string, string>): Browser => {
  const browser = new Browser();
  for (const [name, value] of cookies) browser.cookies.set(name, value);
  browser.routes.set(process.url, process.listening);
  return browser;
};

/** A browser whose tokens were renewed at `process`, and its cookies from before that. */
async function renewedAt(process: App): Promise<{ browser: Browser; copied: ReadonlyMap<string, string> }> {
  const browser = new Browser();
  await browser.signIn(`${process.url}/bff/sign-in`);
  const copied = new Map(browser.cookies);
  browser.routes.set(process.url, process.listening);
  expect((await me(process, browser)).status).toBe(200);
  expect([...browser.cookies]).not.toEqual([...copied]);
  expect((await me(process, through(process, copied))).status).toBe(200);
  return { browser, copied };
}

/** How the cookies fare, and what they were handed. */
async function tried(app: App, cookies: ReadonlyMap<string, string>) {
  const thief = through(app, cookies);
  const answer = await me(app, thief);
  const set = (answer.headers['set-cookie'] ?? []).filter((line) => !line.includes('Expires=Thu, 01 Jan 1970'));
  return { status: answer.status, handed: set.map((line) => line.split('=', 1)[0]) };
}
const refused = { status: 401, handed: [] };

describe('cookies from before a renewal', () => {
  test('open nothing once the person was signed out everywhere and the status list says so', async () => {
    const app = await world.start('node:http', byStatusList);
    const { browser, copied } = await renewedAt(app);
    await world.signet.store.accounts.signOut(world.signet.accountId, 'test');
    for (const cookies of [browser.cookies, copied]) {
      await vi.waitFor(async () => expect(await tried(app, cookies)).toEqual(refused), soon);
    }
  });

  test('open nothing after the sign-out, and are handed no tokens, whatever the verifier knows', async () => {
    const app = await world.start('node:http', always); // its verifier knows nothing of revocation
    const { browser, copied } = await renewedAt(app);
    expect((await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' })).status).toBe(200);
    expect(await tried(app, copied)).toEqual(refused);
  });

  test('also those from before several renewals', async () => {
    const app = await world.start('node:http', always);
    const { browser, copied } = await renewedAt(app);
    const between = new Map(browser.cookies);
    expect((await me(app, browser)).status).toBe(200);
    await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' });
    for (const cookies of [copied, between]) expect(await tried(app, cookies)).toEqual(refused);
  });

  test('at another process than the sign-out: nothing as soon as the status list says so', async () => {
    const app = await world.start('node:http', byStatusList);
    const other = await world.start('node:http', byStatusList, app);
    const { browser, copied } = await renewedAt(other);
    browser.routes.clear(); // the sign-out reaches the first process, which knows nothing of that renewal
    expect((await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' })).status).toBe(200);
    await vi.waitFor(async () => expect(await tried(other, copied)).toEqual(refused), soon);
  });

  test('go on where the session does', async () => {
    const app = await world.start('node:http', byStatusList);
    const { browser, copied } = await renewedAt(app);
    const answer = await tried(app, copied);
    expect(answer).toMatchObject({ status: 200, handed: [expect.stringMatching(/^bff-\d+-s-/)] });
    expect((await me(app, browser)).status).toBe(200);
  });
});
