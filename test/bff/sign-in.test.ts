import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readReturnTo } from '../../src/bff/return-to.ts';
import { secretsIn } from '../support/secrets.ts';
import { person } from '../support/signet.ts';
import { Browser, isOf, json } from './browser.ts';
import { type App, startWorld, type World } from './world.ts';

let world: World;
let app: App;
beforeAll(async () => {
  world = await startWorld();
  app = await world.start();
});
afterAll(() => world.close());

const attempts = (browser: Browser) => [...browser.cookies.keys()].filter((name) => isOf('a', name));
const credentials = { email: person.email, password: person.password };
const signInTo = (path: string) => `${app.url}/bff/sign-in?returnTo=${encodeURIComponent(path)}`;
const isSignedIn = async (browser: Browser) => json(await browser.call(`${app.url}/bff/user`)).user !== null;

/** The address of the callback that the issuer sends this browser to. */
async function callbackOf(browser: Browser): Promise<string> {
  const stop = new Browser();
  for (const [name, value] of browser.cookies) stop.cookies.set(name, value);
  stop.routes.set(app.url, world.upstream.url); // the callback is met there, and not redeemed
  const headers = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
  const begun = await browser.send(`${app.url}/bff/sign-in`, { headers });
  const page = await stop.visit(begun.headers.location!);
  if (page.body.includes('name="password"')) await stop.submit(page, credentials);
  return stop.answers.at(-1)!.url;
}

describe('several tabs sign in at once', () => {
  test('each comes back to its own page', async () => {
    const browser = new Browser();
    const paths = ['/?tab=1', '/?tab=2', '/?tab=3'];
    const pages = [];
    for (const path of paths) pages.push(await browser.visit(signInTo(path)));
    expect(attempts(browser)).toHaveLength(3);
    for (const [at, path] of [...paths.entries()].toReversed()) {
      expect((await browser.submit(pages[at]!, credentials)).url).toBe(app.url + path);
    }
    expect(attempts(browser)).toEqual([]);
    expect(await isSignedIn(browser)).toBe(true);
  });

  test('a browser that restores twenty keeps the newest six, and its requests stay small', async () => {
    const browser = new Browser();
    for (let tab = 0; tab < 20; tab += 1) await browser.visit(`${app.url}/bff/sign-in?returnTo=/?tab=${tab}`);
    expect(attempts(browser)).toHaveLength(6);
  });
});

describe('the callback', () => {
  test('signs in nobody whose browser did not begin', async () => {
    const [browser, victim] = [new Browser(), new Browser()];
    const url = await callbackOf(browser);
    expect(url).toMatch(/\/bff\/callback\?code=/);
    const answer = await victim.visit(url, { site: 'cross-site' });
    expect(answer).toMatchObject({ status: 400, body: expect.stringContaining('began in another browser') });
    expect(await isSignedIn(victim)).toBe(false);
  });

  test('is good once, and the back button leads into the application', async () => {
    const browser = new Browser();
    const url = await callbackOf(browser);
    expect((await browser.visit(url)).url).toBe(`${app.url}/`);
    expect(await isSignedIn(browser)).toBe(true);
    expect((await browser.visit(url)).url).toBe(`${app.url}/`);
    browser.cookies.clear();
    expect((await browser.visit(url)).status).toBe(400);
  });

  test("refuses an answer of another issuer, another state and another browser's code", async () => {
    for (const change of [
      (url: URL) => url.searchParams.set('iss', 'https://other.example'),
      (url: URL) => url.searchParams.delete('iss'),
      (url: URL) => url.searchParams.append('state', 'another'),
      (url: URL) => url.searchParams.set('code', 'made-up-by-somebody'),
      (url: URL) => url.searchParams.append('code', 'a-second-one'),
    ]) {
      const browser = new Browser();
      const url = new URL(await callbackOf(browser));
      change(url);
      const answer = await browser.visit(url.href);
      expect(answer.status).toBe(502);
      expect(answer.body).toContain('could not be completed');
      expect(await isSignedIn(browser)).toBe(false);
    }
    const [mine, theirs] = [new Browser(), new Browser()];
    const [url, other] = [new URL(await callbackOf(mine)), new URL(await callbackOf(theirs))];
    url.searchParams.set('code', other.searchParams.get('code')!);
    expect((await mine.visit(url.href)).status).toBe(502); // PKCE: the code is bound to the other's verifier
    expect(secretsIn(JSON.stringify(app.errors))).toEqual([]);
    const [error] = app.errors.slice(-1);
    expect(error).toMatchObject({ code: 'sign_in_failed', detail: expect.stringContaining('invalid_grant') });
  });

  test('comes too late after an hour', async () => {
    const browser = new Browser();
    const url = await callbackOf(browser);
    app.clock.ahead = 61 * 60_000;
    expect((await browser.visit(url)).status).toBe(400);
    app.clock.ahead = 0;
  });

  test('takes a person who cancelled to the page for those not signed in', async () => {
    const browser = new Browser();
    const page = await browser.visit(`${app.url}/bff/sign-in?returnTo=/me`);
    const asked = browser.answers.find(({ headers }) => headers.location?.includes('/auth?'))!.headers.location!;
    const state = new URL(asked).searchParams.get('state')!;
    expect(page.status).toBe(200);
    const iss = encodeURIComponent(world.signet.issuer);
    const answer = await browser.visit(`${app.url}/bff/callback?error=access_denied&state=${state}&iss=${iss}`);
    expect(answer.url).toBe(`${app.url}/?sign-in=cancelled`);
    expect(attempts(browser)).toEqual([]);
  });

  test('shows nothing of what it was called with', async () => {
    const browser = new Browser();
    const script = encodeURIComponent('<script>');
    const query = `state=${script}&error=${script}&error_description=${script}`;
    const answer = await browser.visit(`${app.url}/bff/callback?${query}`);
    expect(answer.body).not.toContain('script>');
    expect(answer.headers['content-security-policy']).toContain("default-src 'none'");
  });

  test('says so when the API is not the one that the tokens are for', async () => {
    const confused = await world.start('node:http', { resource: 'https://stock.example.com' });
    const answer = await new Browser().signIn(`${confused.url}/bff/sign-in`);
    expect(answer.status).toBe(502);
    expect(confused.errors.at(-1)?.code).toBe('sign_in_failed');
  });
});

test('whoever signs in as somebody else leaves nothing of the first session behind', async () => {
  const browser = new Browser();
  await browser.signIn(`${app.url}/bff/sign-in`);
  const first = [...browser.cookies.keys()].filter((name) => isOf('s', name));
  await browser.signIn(`${app.url}/bff/sign-in`);
  const second = [...browser.cookies.keys()].filter((name) => isOf('s', name));
  expect(second).toHaveLength(1);
  expect(second).not.toEqual(first);
});

describe('the place to return to', () => {
  const base = 'https://shop.example.com';
  test.each([
    '/',
    '/orders',
    '/orders?page=2&sort=a%2Fb',
    '/orders#latest',
    '/a/b/c',
    '/%E2%82%AC',
    '/path;v=1',
    '/@someone',
    '/?next=https://other.example',
  ])('may be %s', (path) => {
    expect(readReturnTo(path, base, '/bff')).toBe(path);
  });

  test.each([
    undefined,
    null,
    '',
    'orders',
    'https://other.example',
    'https://shop.example.com.other.example/',
    '//other.example',
    '///other.example',
    '/\\other.example',
    '\\\\other.example',
    '/\t/other.example',
    '/\n/other.example',
    '\t//other.example',
    ' //other.example',
    '/ /other.example',
    '/.//other.example',
    '/..//other.example',
    '/a/..//other.example',
    '/%2e//other.example',
    '/./\\other.example',
    '/a\\b',
    'javascript:alert(1)',
    'data:text/html,x',
    'https:other.example',
    'https:/other.example',
    'http://shop.example.com/',
    '@other.example',
    '/\x00',
    '/a\r\nSet-Cookie: a=b',
    `/${'a'.repeat(600)}`,
    '/bff',
    '/bff/sign-in',
    '/bff/sign-in?returnTo=/bff/sign-in',
    '/a/../bff/callback',
  ])('is the front page instead of %j', (wanted) => {
    expect(readReturnTo(wanted, base, '/bff')).toBe('/');
  });

  test('is another host for nobody who follows a link to the sign-in', async () => {
    for (const wanted of ['//other.example', '/\\other.example', '/.//other.example', 'https://other.example/']) {
      const browser = new Browser();
      await browser.signIn(signInTo(wanted));
      const locations = browser.answers.map(({ headers, url }) =>
        headers.location ? new URL(headers.location, url) : undefined,
      );
      expect(locations.filter((location) => location?.host.includes('other'))).toEqual([]);
      expect(browser.answers.at(-1)!.url).toBe(`${app.url}/`);
    }
  });
});
