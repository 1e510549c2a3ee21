import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { BffError } from '../../src/bff/index.ts';
import { createVerifier, VerificationError } from '../../src/verifier/index.ts';
import { secretsIn } from '../support/secrets.ts';
import { ordersApi } from '../support/signet.ts';
import { type Answer, Browser, cookieOf, isOf, json } from './browser.ts';
import { type App, startWorld, type World } from './world.ts';

const minute = 60_000;

let world: World;
let app: App;
/** Another process of the same application. */
let other: App;

beforeAll(async () => {
  world = await startWorld();
  app = await world.start();
  other = await world.start('Koa', {}, app);
});
afterAll(() => world.close());
afterEach(() => {
  app.clock.ahead = other.clock.ahead = 0;
  app.errors.length = other.errors.length = 0;
  Object.assign(world.gateway, { broken: undefined, before: () => {}, after: () => {} });
});

async function signedIn(): Promise<Browser> {
  const browser = new Browser();
  await browser.signIn(`${app.url}/bff/sign-in`);
  world.gateway.asked.length = 0;
  return browser;
}

const timesIt = <T>(count: number, act: (at: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, at) => act(at)));
const me = (browser: Browser) => browser.call(`${app.url}/me`);
const through = (process: App, cookies: ReadonlyMap<string, string>): Browser => {
  const browser = new Browser();
  for (const [name, value] of cookies) browser.cookies.set(name, value);
  browser.routes.set(app.url, process.listening);
  return browser;
};
/** A promise, and what lets it go. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}
const tokenSent = () => world.upstream.received.at(-1)!.headers.authorization!;

describe('a page that asks for many things at the moment its token ends', () => {
  test('costs one refresh, and all of it is answered', async () => {
    const browser = await signedIn();
    app.clock.ahead = 29.8 * minute;
    const answers = await timesIt(20, (at) => (at % 2 ? me(browser) : browser.call(`${app.url}/api/orders`)));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(world.gateway.refreshes()).toBe(1);
  });

  test('also where some requests come with the old cookies after the refresh is done', async () => {
    const browser = await signedIn();
    const old = new Map(browser.cookies);
    app.clock.ahead = 29.8 * minute;
    await me(browser);
    expect((await me(through(app, old))).status).toBe(200);
    expect(world.gateway.refreshes()).toBe(1);
  });

  test('in two processes: both are answered, with the same new token, and the session lives on', async () => {
    const browser = await signedIn();
    app.clock.ahead = other.clock.ahead = 29.8 * minute;
    const elsewhere = through(other, browser.cookies);
    const answers = await timesIt(10, (at) => (at % 2 ? browser : elsewhere).call(`${app.url}/api/orders`));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(world.gateway.refreshes()).toBeLessThanOrEqual(2);
    app.clock.ahead = other.clock.ahead = 0;
    await browser.call(`${app.url}/api/orders`);
    const token = tokenSent();
    await elsewhere.call(`${app.url}/api/orders`);
    expect(tokenSent()).toBe(token);
    app.clock.ahead = 29.8 * minute;
    world.gateway.asked.length = 0;
    expect((await me(browser)).status).toBe(200);
    expect(world.gateway.refreshes()).toBe(1);
  });

  test('keeps one session for two guards on one request', async () => {
    const browser = await signedIn();
    app.clock.ahead = 29.8 * minute;
    const answer = await browser.visit(`${app.url}/bff/callback?state=none`); // asks for the session to see where to go
    expect(answer).toMatchObject({ status: 200, url: `${app.url}/` });
    expect(world.gateway.refreshes()).toBe(1);
  });
});

describe('the issuer cannot be reached', () => {
  test.each(['cut', 500, 502, 404] as const)('a token with some seconds left still serves (%s)', async (broken) => {
    const browser = await signedIn();
    world.gateway.broken = broken;
    app.clock.ahead = 29.8 * minute;
    expect((await me(browser)).status).toBe(200);
    expect(app.errors.map(({ code }) => code)).toEqual(['issuer_unavailable']);
  });

  const outages = ['cut', 503] as const;
  test.each(outages)('an ended one is answered 503, and the session outlives the outage (%s)', async (broken) => {
    const browser = await signedIn();
    const before = [...browser.cookies];
    world.gateway.broken = broken;
    app.clock.ahead = 31 * minute;
    for (const path of ['/me', '/api/orders', '/bff/user']) {
      const answer = await browser.call(app.url + path);
      expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
      expect(json(answer).error).toBe('issuer_unavailable');
    }
    expect((await browser.visit(`${app.url}/me`)).status).toBe(503);
    expect([...browser.cookies]).toEqual(before);
    expect(secretsIn(JSON.stringify(app.errors))).toEqual([]);
    world.gateway.broken = undefined;
    app.clock.ahead = 29.8 * minute;
    expect((await me(browser)).status).toBe(200);
  });

  test('a refresh whose answer was lost is asked for again, and answered as before', async () => {
    const browser = await signedIn();
    app.clock.ahead = 31 * minute;
    world.gateway.broken = 'lose';
    expect((await me(browser)).status).toBe(503);
    world.gateway.broken = undefined;
    app.clock.ahead = 29.8 * minute;
    expect((await me(browser)).status).toBe(200);
    expect(world.gateway.refreshes()).toBe(2);
  });

  test('a sign-in begins with 503, not with a broken redirect', async () => {
    const fresh = await world.start('node:http', {}, app); // has not discovered the issuer yet
    world.gateway.broken = 'cut';
    const answer = await through(fresh, new Map()).visit(`${app.url}/bff/sign-in`);
    expect(answer.status).toBe(503);
  });

  test('signing out still removes the session here', async () => {
    const browser = await signedIn();
    world.gateway.broken = 'cut';
    const answer = await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(json(await browser.call(`${app.url}/bff/user`))).toEqual({ user: null });
    expect(app.errors.map(({ code }) => code)).toContain('issuer_unavailable');
  });
});

describe('a token that is refused before its time', () => {
  const refused = new Set<string>();
  const verifier = () => {
    const real = createVerifier({ issuer: world.signet.issuer, audience: ordersApi });
    return {
      ...real,
      async verify(jwt: string) {
        if (refused.has(jwt)) throw new VerificationError('unknown_key', 'the token names a key that was withdrawn');
        return real.verify(jwt);
      },
    };
  };

  test('is renewed: what the verifier has learned decides', async () => {
    const strict = await world.start('node:http', { verifier: verifier() });
    const browser = new Browser();
    await browser.signIn(`${strict.url}/bff/sign-in`);
    await browser.call(`${strict.url}/api/orders`);
    const first = tokenSent();
    refused.add(first.replace('Bearer ', ''));
    expect((await browser.call(`${strict.url}/api/orders`)).status).toBe(200);
    expect(tokenSent()).not.toBe(first);
  });
});

describe('a guard that comes too late', () => {
  test('says so, and spends no refresh token on an answer that can carry no cookie', async () => {
    const browser = await signedIn();
    const late = createServer((req, res) => {
      res.write('begun');
      app.bff.protect(req, res).catch((error: BffError) => res.end(error.code));
    });
    await new Promise<void>((resolve) => late.listen(0, 'localhost', resolve));
    browser.routes.set(app.url, `http://localhost:${(late.address() as AddressInfo).port}`);
    app.clock.ahead = 29.8 * minute;
    expect((await me(browser)).body).toBe('begunresponse_begun');
    expect(world.gateway.refreshes()).toBe(0);
    late.close();
  });
});

describe('the issuer has ended the grant', () => {
  test('scripts are told 401, page loads go to the sign-in, and the cookies are gone', async () => {
    const browser = await signedIn();
    const cookies = new Map(browser.cookies);
    await world.signet.store.accounts.setDisabled(world.signet.accountId, true, 'test');
    try {
      app.clock.ahead = 29.8 * minute;
      const answer = await me(browser);
      expect(answer.status).toBe(401);
      expect(json(answer)).toEqual({ error: 'signed_out', error_description: 'your session has ended' });
      expect([...browser.cookies.keys()].filter((name) => isOf('s', name))).toEqual([]);
      expect(json(await browser.call(`${app.url}/bff/user`))).toEqual({ user: null });
      const page = await through(app, cookies).send(`${app.url}/me?a=b`, {
        headers: { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
      });
      expect(page).toMatchObject({ status: 303, headers: { location: '/bff/sign-in?returnTo=%2Fme%3Fa%3Db' } });
    } finally {
      await world.signet.store.accounts.setDisabled(world.signet.accountId, false, 'test');
    }
  });
});

describe('somebody signs out while a refresh is under way', () => {
  async function race(signOutAt: App): Promise<{ browser: Browser; name: [string, string]; late: Answer }> {
    const browser = await signedIn();
    app.clock.ahead = other.clock.ahead = 29.8 * minute;
    const name = [cookieOf(app.url), browser.cookies.get(cookieOf(app.url))!] as [string, string];
    const { open, opened } = gate();
    const { open: arrived, opened: asked } = gate();
    // The issuer has answered the refresh, and the answer is on its way.
    world.gateway.after = async (path) => {
      if (path !== '/token') return;
      world.gateway.after = () => {};
      arrived();
      await opened;
    };
    const tab = through(app, browser.cookies);
    const refreshing = me(tab);
    await asked;
    const signOut = through(signOutAt, browser.cookies).call(`${app.url}/bff/sign-out`, { method: 'POST' });
    if (signOutAt === app) setTimeout(open, 50);
    expect((await signOut).status).toBe(200);
    open();
    const late = await refreshing;
    // The browser has heard of the sign-out, then of the late answer.
    browser.cookies.clear();
    browser.keep(late.headers['set-cookie'] ?? []);
    return { browser, name, late };
  }

  test.each(['the same process', 'another process'])('in %s: the late answer brings nothing back', async (where) => {
    const { browser } = await race(where === 'the same process' ? app : other);
    expect((await me(browser)).status).toBe(401);
    expect(json(await browser.call(`${app.url}/bff/user`))).toEqual({ user: null });
  });

  test.each(['the same process', 'another process'])('in %s: the new refresh token is dead, too', async (where) => {
    const { name, late } = await race(where === 'the same process' ? app : other);
    if (where === 'the same process') {
      const tokens = world.gateway.asked.map(({ body }) => body.get('refresh_token') ?? body.get('token'));
      const [refreshed, revoked] = tokens;
      expect(revoked).not.toBe(refreshed);
    }
    const afterwards = await world.start('node:http', { now: () => Date.now() + 31 * minute }, app);
    const keeper = through(afterwards, new Map([name]));
    keeper.keep(late.headers['set-cookie']!);
    expect(keeper.cookies.size).toBeGreaterThan(1);
    world.gateway.asked.length = 0;
    expect((await me(keeper)).status).toBe(401);
    expect(world.gateway.refreshes()).toBe(1);
  });
});

describe('a set of cookies kept from before the sign-out', () => {
  test('opens nothing once its access token has ended: the refresh token was revoked', async () => {
    const browser = await signedIn();
    const kept = new Map(browser.cookies);
    await browser.call(`${app.url}/bff/sign-out`, { method: 'POST' });
    expect(world.gateway.asked.map(({ path }) => path)).toEqual(['/token/revocation']);
    for (const process of [app, other]) {
      process.clock.ahead = 31 * minute;
      expect((await me(through(process, kept))).status).toBe(401);
    }
  });
});
