import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BffOptions, createBff } from '../../src/bff/index.ts';
import { createCookieSeal } from '../../src/bff/seal.ts';
import { person } from '../support/signet.ts';
import { Browser, cookieOf, isOf, json } from './browser.ts';
import { type App, cookieKey, startWorld, type World } from './world.ts';

const minute = 60_000;
const manyRoles = Array.from({ length: 40 }, (_, at) => `department-${at}-approver`);
const fewer = manyRoles.slice(0, 4);

let world: World;
beforeAll(async () => {
  world = await startWorld({ ports: 12 });
});
afterAll(() => world.close());

// In the row, not as an administrator would: a role that is taken away ends the person's grants, and this is about size.
const setRoles = (roles: string[]) =>
  world.signet.store.db.query('update accounts set roles = $1 where id = $2', [
    JSON.stringify(roles),
    world.signet.accountId,
  ]);
const chunks = (browser: Browser) => [...browser.cookies.keys()].filter((name) => isOf('s', name)).sort();
const setByApp = (browser: Browser) =>
  browser.answers.flatMap(({ headers }) => headers['set-cookie'] ?? []).filter((line) => line.startsWith('bff'));
const me = (app: App, browser: Browser) => browser.call(`${app.url}/me`);

async function signedIn(app: App): Promise<Browser> {
  const browser = new Browser();
  await browser.signIn(`${app.url}/bff/sign-in`);
  return browser;
}

describe('the cookies of a session', () => {
  let app: App;
  beforeAll(async () => {
    app = await world.start();
  });

  test('are out of reach for scripts, for other sites, and end with the browser', async () => {
    const browser = await signedIn(app);
    const lines = setByApp(browser);
    expect(lines.length).toBeGreaterThanOrEqual(3);
    const attributes = /; Path=\/; HttpOnly; SameSite=Lax(?:; Max-Age=3600|; Expires=.*)?$/;
    for (const line of lines) expect(line).toMatch(attributes);
    const session = lines.filter((line) => !isOf('a', line));
    for (const line of session) expect(line).not.toMatch(/Max-Age|Expires|Domain/);
  });

  test('have, over https, names and attributes that no other host and no http can write', async () => {
    const secure = createBff({ ...app.options, baseUrl: 'https://shop.example.com', sameSite: 'strict' });
    const lines: string[] = [];
    const appendHeader = (_name: string, added: string[]) => lines.push(...added);
    const response = { writeHead() {}, setHeader() {}, end() {}, appendHeader };
    await secure.handle({ method: 'GET', url: '/bff/sign-in', headers: {} } as never, response as never);
    const expected = /^__Host-bff-a-[\w-]{12}=v1\.\S+; Path=\/; HttpOnly; SameSite=Lax; Secure; Max-Age=3600$/;
    expect(lines).toEqual([expect.stringMatching(expected)]);
    secure.close();
  });

  test('show neither token nor claims', async () => {
    const browser = await signedIn(app);
    const values = [...browser.cookies].filter(([name]) => name.startsWith('bff')).map(([, value]) => value);
    for (const part of values.flatMap((value) => value.split('.'))) {
      expect(Buffer.from(part, 'base64url').toString('latin1')).not.toMatch(/example\.com|eyJ/);
    }
  });

  test('are as none where one is there twice: the header does not say which is ours', async () => {
    const browser = await signedIn(app);
    const sent = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const ask = (cookie: string) => new Browser().call(`${app.url}/me`, { headers: { cookie } });
    expect((await ask(sent)).status).toBe(200);
    for (const name of [cookieOf(app.url), ...chunks(browser)]) {
      expect((await ask(`${sent}; ${name}=${browser.cookies.get(name)}`)).status, name).toBe(401);
      expect((await ask(`${name}=other; ${sent}`)).status, name).toBe(401);
    }
  });

  test('do not open when a bit of them was changed, wherever', async () => {
    const browser = await signedIn(app);
    const [name] = chunks(browser) as [string];
    const value = browser.cookies.get(name)!;
    for (const at of [0, 1, 2, 4, 8, 14, 15, 40, Math.floor(value.length / 2), value.length - 2]) {
      const changed = value.slice(0, at) + (value[at] === 'A' ? 'B' : 'A') + value.slice(at + 1);
      const thief = new Browser();
      thief.cookies.set(cookieOf(app.url), browser.cookies.get(cookieOf(app.url))!).set(name, changed);
      expect((await me(app, thief)).status, `changed at ${at}`).toBe(401);
      expect(chunks(thief)).toEqual([]);
    }
    expect((await me(app, browser)).status).toBe(200);
  });

  // Keys and names that came along with a copied configuration: the cookies then differ in nothing else.
  test('do not open at another application that was given the same keys and name', async () => {
    const browser = await signedIn(app);
    const other = await world.start('node:http', { cookieKeys: app.options.cookieKeys, clientId: 'other' }, app);
    const thief = new Browser();
    for (const [name, value] of browser.cookies) thief.cookies.set(name, value);
    thief.routes.set(new URL(app.url).origin, other.listening);
    expect((await me(other, thief)).status).toBe(401);
    expect((await me(app, browser)).status).toBe(200);
  });

  test('of a sign-in under way do not open there either', async () => {
    const other = await world.start('node:http', { cookieKeys: app.options.cookieKeys, clientId: 'other' }, app);
    const browser = new Browser();
    const page = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    const begun = await browser.call(`${app.url}/bff/sign-in`, { headers: page });
    const state = new URL(begun.headers.location!).searchParams.get('state')!;
    browser.routes.set(new URL(app.url).origin, other.listening);
    const back = await browser.call(`${app.url}/bff/callback?state=${state}&code=x`);
    expect(back.status).toBe(400);
    expect(back.body).toContain('began in another browser');
  });

  test.each([
    ['another client', ['other', 'https://shop.example.com']],
    ['another address', ['shop', 'https://admin.example.com']],
  ])('are sealed with a key of the application: not that of %s', (_what, [clientId, baseUrl]) => {
    const keys = [randomBytes(32)] as const;
    const sealed = createCookieSeal(keys, JSON.stringify(['shop', 'https://shop.example.com']), 'session').seal(
      '{}',
      'a',
    );
    expect(
      createCookieSeal(keys, JSON.stringify(['shop', 'https://shop.example.com']), 'session').open(sealed, 'a'),
    ).toBe('{}');
    expect(createCookieSeal(keys, JSON.stringify([clientId, baseUrl]), 'session').open(sealed, 'a')).toBeUndefined();
  });

  test('do not open for another session, under another name, cut short, or made long', async () => {
    const [browser, second] = [await signedIn(app), await signedIn(app)];
    const [name] = chunks(browser) as [string];
    const [secondName] = chunks(second) as [string];
    const named = cookieOf(app.url);
    const id = browser.cookies.get(named)!;
    const value = browser.cookies.get(name)!;
    const attempts: Record<string, [string, string][]> = {
      'tokens of another session': [
        [named, id],
        [name, second.cookies.get(secondName)!],
      ],
      'a name that only begins like it': [
        [named, id.slice(0, 8) + second.cookies.get(named)!.slice(8)],
        [name, value],
      ],
      'cut short': [
        [named, id],
        [name, value.slice(0, -4)],
      ],
      'cut to almost nothing': [
        [named, id],
        [name, value.slice(0, 20)],
      ],
      'made long': [
        [named, id],
        [name, `${value}AAAA`],
      ],
      'without its name': [[name, value]],
      'without its tokens': [[named, id]],
      'an odd name': [
        [named, '../../../etc/passwd....'],
        [name, value],
      ],
      'not sealed at all': [
        [named, id],
        [name, `1.${Buffer.from('{"accessToken":"a"}').toString('base64url')}`],
      ],
      'another count': [
        [named, id],
        [name, value.replace('1.', '2.')],
        [name.replace(/0$/, '1'), 'AAAA'],
      ],
    };
    for (const [how, cookies] of Object.entries(attempts)) {
      const thief = new Browser();
      for (const [cookie, content] of cookies) thief.cookies.set(cookie, content);
      expect((await me(app, thief)).status, how).toBe(401);
    }
  });

  test('of a sign-in under way open no session', async () => {
    const browser = new Browser();
    await browser.visit(`${app.url}/bff/sign-in`);
    const [attempt] = [...browser.cookies].find(([name]) => isOf('a', name))!;
    const id = 'A'.repeat(22);
    browser.cookies
      .set(cookieOf(app.url), id)
      .set(cookieOf(app.url, '-s-AAAAAAAA-0'), `1.${browser.cookies.get(attempt)!}`);
    expect((await me(app, browser)).status).toBe(401);
  });
});

describe('a person with so many roles that one cookie does not hold the tokens', () => {
  let app: App;
  beforeAll(async () => {
    await setRoles(manyRoles);
    app = await world.start('Koa');
  });
  afterAll(() => setRoles(['buyer']));

  test('has a session in several, each small enough for browsers', async () => {
    const browser = await signedIn(app);
    expect(chunks(browser)).toHaveLength(2);
    for (const line of setByApp(browser)) expect(line.length).toBeLessThan(4096);
    expect(json(await browser.call(`${app.url}/bff/user`)).user.roles).toHaveLength(manyRoles.length);
  });

  test('is not signed in by parts in another order, nor by parts of two seals', async () => {
    const browser = await signedIn(app);
    const [first, second] = chunks(browser) as [string, string];
    const swapped = new Browser();
    swapped.cookies
      .set(cookieOf(app.url), browser.cookies.get(cookieOf(app.url))!)
      .set(first, `2.${browser.cookies.get(second)!}`)
      .set(second, browser.cookies.get(first)!.slice(2));
    expect((await me(app, swapped)).status).toBe(401);

    const old = browser.cookies.get(second)!;
    app.clock.ahead = 29.8 * minute;
    await me(app, browser);
    app.clock.ahead = 0;
    const mixed = new Browser();
    for (const [name, value] of browser.cookies) mixed.cookies.set(name, value);
    mixed.cookies.set(second, old);
    expect((await me(app, mixed)).status).toBe(401);
    expect((await me(app, browser)).status).toBe(200);
  });

  test('leaves no part behind when the tokens get smaller', async () => {
    const browser = await signedIn(app);
    await setRoles(fewer);
    app.clock.ahead = 29.8 * minute;
    expect((await me(app, browser)).status).toBe(200);
    app.clock.ahead = 0;
    expect(chunks(browser)).toHaveLength(1);
    expect((await me(app, browser)).status).toBe(200);
    await setRoles(manyRoles);
  });

  test('a part left over from a larger session is not taken for one', async () => {
    const browser = await signedIn(app);
    await setRoles(fewer);
    const small = await signedIn(app);
    small.cookies.set(chunks(small)[0]!.replace(/0$/, '1'), browser.cookies.get(chunks(browser)[1]!)!);
    expect((await me(app, small)).status).toBe(200);
    await setRoles(manyRoles);
  });

  test('is told, not looped, when the tokens fit no cookies at all', async () => {
    await setRoles(Array.from({ length: 200 }, (_, at) => `department-${at}-approver`));
    const browser = new Browser();
    const answer = await browser.signIn(`${app.url}/me`);
    expect(answer.status).toBe(500);
    expect(answer.body).toContain('too large to be kept in cookies');
    const [error] = app.errors.slice(-1);
    expect(error).toMatchObject({ code: 'session_too_large', detail: expect.stringMatching(/bytes, of 7400/) });
    expect(chunks(browser)).toEqual([]);
    await setRoles(manyRoles);
  });
});

describe('the key that cookies are sealed with is replaced', () => {
  test('sessions and sign-ins under the old one go on, and are sealed anew as they are renewed', async () => {
    const before = await world.start();
    const browser = await signedIn(before);
    const midway = new Browser();
    const page = await midway.visit(`${before.url}/bff/sign-in?returnTo=/me`);

    const keys = [cookieKey(), ...before.options.cookieKeys];
    const after = await world.start('node:http', { cookieKeys: keys }, before);
    for (const each of [browser, midway]) each.routes.set(before.url, after.listening);
    expect((await me(after, browser)).status).toBe(200);
    const arrived = await midway.submit(page, { email: person.email, password: person.password });
    expect(arrived.url).toBe(`${before.url}/me`);

    const only = await world.start('node:http', { cookieKeys: keys.slice(0, 1) }, before);
    const impatient = new Browser();
    for (const [name, value] of browser.cookies) impatient.cookies.set(name, value);
    impatient.routes.set(before.url, only.listening);
    expect((await me(only, impatient)).status).toBe(401);

    after.clock.ahead = 29.8 * minute;
    expect((await me(after, browser)).status).toBe(200);
    browser.routes.set(before.url, only.listening);
    expect((await me(only, browser)).status).toBe(200);
  });

  test('a cookie under a key of somebody else opens nothing', async () => {
    const app = await world.start();
    const browser = await signedIn(app);
    const stranger = await world.start('Koa', { cookieKeys: [cookieKey()] }, app);
    browser.routes.set(app.url, stranger.listening);
    expect((await me(stranger, browser)).status).toBe(401);
  });
});

describe('a mistake in the options', () => {
  const good: BffOptions = {
    issuer: 'https://id.example.com',
    clientId: 'shop',
    clientSecret: 'secret-of-the-shop',
    baseUrl: 'https://shop.example.com',
    cookieKeys: [randomBytes(32)],
  };
  const weak = 'only-a-password-of-somebody';
  const mistakes: [string, Partial<Record<keyof BffOptions, unknown>>][] = [
    ['an issuer over http', { issuer: 'http://id.example.com' }],
    ['an application over http', { baseUrl: 'http://shop.example.com' }],
    ['a path in baseUrl', { baseUrl: 'https://shop.example.com/app' }],
    ['no client id', { clientId: '' }],
    ['no client secret', { clientSecret: undefined }],
    ['no cookie key', { cookieKeys: [] }],
    ['cookieKeys that is one key', { cookieKeys: randomBytes(32).toString('base64') }],
    ['a password as cookie key', { cookieKeys: [weak] }],
    ['a short cookie key', { cookieKeys: [randomBytes(16)] }],
    ['a scope without openid', { scope: 'profile' }],
    ['a cookie name with a semicolon', { cookieName: 'a;b' }],
    ['another sameSite', { sameSite: 'none' }],
    ['another host after the sign-out', { signedOutPath: '//other.example' }],
    ['a negative time', { refreshAheadSeconds: -1 }],
  ];
  test.each(mistakes)('%s is refused at start, and repeats no secret', (_name, mistake) => {
    const create = () => createBff({ ...good, ...mistake } as BffOptions);
    expect(create).toThrow(TypeError);
    expect(create).not.toThrow(weak);
    expect(create).not.toThrow('secret-of-the-shop');
  });

  test('none is found in good ones', () => {
    for (const baseUrl of ['https://shop.example.com', 'http://localhost:5173', 'http://127.0.0.1']) {
      createBff({ ...good, baseUrl }).close();
    }
  });
});
