import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, Browser, json } from './browser.ts';
import { type App, startWorld, type World } from './world.ts';

let world: World;
let app: App;
let browser: Browser;
beforeAll(async () => {
  world = await startWorld();
  app = await world.start('Koa');
  browser = new Browser();
  await browser.signIn(`${app.url}/bff/sign-in`);
});
afterAll(() => world.close());

const marked = { 'x-signet-csrf': '1' };
const from = (site: string, mode = 'cors', destination = 'empty') => ({
  'sec-fetch-site': site,
  'sec-fetch-mode': mode,
  'sec-fetch-dest': destination,
  'x-signet-csrf': undefined,
});
const link = (site: string) => from(site, 'navigate', 'document');
const old = {
  'sec-fetch-site': undefined,
  'sec-fetch-mode': undefined,
  'sec-fetch-dest': undefined,
  'x-signet-csrf': undefined,
};
const html = { accept: 'text/html' };

// `me` is a page of the application, `api` the proxied upstream. Every request has the session's cookies, as if
// SameSite were not there.
const table: [what: string, method: string, headers: Record<string, string | undefined>, me: number, api: number][] = [
  ['a script of our page reads', 'GET', from('same-origin'), 200, 200],
  ['a script of our page reads, with the header', 'GET', { ...from('same-origin'), ...marked }, 200, 200],
  ['a script of our page writes, with the header', 'POST', { ...from('same-origin'), ...marked }, 200, 200],
  ['a script of our page writes, without it', 'POST', from('same-origin'), 403, 403],
  ['the header has another value', 'POST', { ...from('same-origin'), 'x-signet-csrf': 'true' }, 403, 403],
  ['a form of our page', 'POST', link('same-origin'), 403, 403],
  ['the address is typed in', 'GET', link('none'), 200, 200],
  ['a link elsewhere', 'GET', link('cross-site'), 200, 403],
  ['a link on a sibling host', 'GET', link('same-site'), 200, 403],
  ['a form elsewhere', 'POST', link('cross-site'), 403, 403],
  ['a frame elsewhere', 'GET', from('cross-site', 'navigate', 'iframe'), 403, 403],
  ['a frame on a sibling host', 'GET', from('same-site', 'navigate', 'iframe'), 403, 403],
  ['an object elsewhere', 'GET', from('cross-site', 'navigate', 'object'), 403, 403],
  ['an image elsewhere', 'GET', from('cross-site', 'no-cors', 'image'), 403, 403],
  ['a script tag elsewhere', 'GET', from('cross-site', 'no-cors', 'script'), 403, 403],
  ['a script elsewhere', 'GET', from('cross-site'), 403, 403],
  ['a script elsewhere that could send the header', 'GET', { ...from('cross-site'), ...marked }, 403, 403],
  ['a script elsewhere that could send the header, writing', 'POST', { ...from('cross-site'), ...marked }, 403, 403],
  ['a script on a sibling host', 'GET', from('same-site'), 403, 403],
  ['a script on a sibling host that could send the header', 'DELETE', { ...from('same-site'), ...marked }, 403, 403],
  ['an origin that cannot be told', 'GET', from('unheard-of'), 403, 403],
  ["an old browser's script, with the header", 'PUT', { ...old, ...marked }, 200, 200],
  ["an old browser's script, without it", 'GET', old, 403, 403],
  ["an old browser's page load", 'GET', { ...old, ...html }, 200, 403],
  ["an old browser's form", 'POST', { ...old, ...html }, 403, 403],
];

describe("a request with the session's cookies", () => {
  test.each(table)('%s (%s)', async (_what, method, headers, me, api) => {
    const before = world.upstream.received.length;
    expect((await browser.call(`${app.url}/me`, { method, headers })).status).toBe(me);
    const answer = await browser.call(`${app.url}/api/orders`, { method, headers });
    expect(answer.status).toBe(api);
    expect(world.upstream.received.length - before).toBe(api === 200 ? 1 : 0);
    if (api === 403) expect(json(answer).error).toBe('cross_site_request');
  });

  test('does not sign out without the header, nor tell another site who is signed in', async () => {
    const refused: Answer[] = [
      await browser.call(`${app.url}/bff/sign-out`, { method: 'POST', headers: from('same-origin') }),
      await browser.call(`${app.url}/bff/sign-out`, { method: 'POST', headers: { ...from('cross-site'), ...marked } }),
      await browser.call(`${app.url}/bff/user`, { headers: from('cross-site') }),
      await browser.call(`${app.url}/bff/user`, { headers: link('cross-site') }),
    ];
    expect(refused.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
    expect((await browser.call(`${app.url}/bff/sign-out`, { headers: link('cross-site') })).status).toBe(405);
    expect(json(await browser.call(`${app.url}/bff/user`)).user).not.toBeNull();
  });

  test('that is refused renews nothing', async () => {
    world.gateway.asked.length = 0;
    app.clock.ahead = 29.8 * 60_000;
    expect((await browser.call(`${app.url}/api/orders`, { headers: from('cross-site') })).status).toBe(403);
    app.clock.ahead = 0;
    expect(world.gateway.asked).toEqual([]);
  });

  test('begins no sign-in from an image, a frame or a script', async () => {
    const [image, frame] = [from('cross-site', 'no-cors', 'image'), from('cross-site', 'navigate', 'iframe')];
    for (const headers of [image, frame, from('same-origin')]) {
      const answer = await browser.call(`${app.url}/bff/sign-in`, { headers });
      expect(answer.status).toBe(400);
      expect(answer.headers).not.toHaveProperty('set-cookie');
    }
  });
});
