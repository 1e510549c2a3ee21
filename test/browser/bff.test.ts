// The sample application whose tokens are in cookies: clicked through in Chromium, while everything that its scripts
// could see is looked at.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createApp } from '../../examples/vue-bff/app.ts';
import { type Gateway, startGateway } from '../bff/gateway.ts';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { freePort } from '../support/ports.ts';
import { endsWithUs } from '../support/process-end.ts';
import { ordersApi, secret, startSignet, type TestServer } from '../support/signet.ts';
import { decode } from '../support/user-agent.ts';
import { newVisitor, signIn, type Visitor } from './visitor.ts';
import type { World } from './world.ts';

const examples = fileURLToPath(new URL('../../examples', import.meta.url));

describe.skipIf(noChromium)('a person at the application that keeps its tokens in cookies', () => {
  let browser: Browser;
  let signet: TestServer;
  let orders: Gateway;
  let ordersApiProcess: ChildProcess;
  let directory: string;
  let server: Server;
  let app: string;
  let ahead = 0;
  /** Awaited before a request is answered. */
  let arriving = async (_path: string) => {};
  let visitor: Visitor;
  let bodies: Promise<string>[];

  beforeAll(async () => {
    const [port, ordersPort] = [await freePort(), await freePort()];
    app = `http://localhost:${port}`;
    directory = await mkdtemp(join(tmpdir(), 'signet-bff-'));
    [browser, signet, orders] = await Promise.all([
      launchChromium(),
      startSignet({
        values: {
          applications: [
            {
              clientId: 'orders-bff',
              name: 'Orders',
              type: 'web',
              secret,
              firstParty: true,
              redirectUris: [`${app}/bff/callback`],
              postLogoutRedirectUris: [`${app}/signed-out`],
              access: { [ordersApi]: ['orders:read', 'orders:write'] },
            },
          ],
        },
      }),
      startGateway(),
    ]);
    orders.issuer = `http://localhost:${ordersPort}`;
    ordersApiProcess = endsWithUs(
      spawn(process.execPath, [join(examples, 'orders-api/server.ts')], {
        env: { PORT: String(ordersPort), ISSUER: signet.issuer, AUDIENCE: ordersApi },
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    await new Promise((resolve) => ordersApiProcess.stdout!.once('data', resolve));
    await build({ root: join(examples, 'vue-bff'), logLevel: 'warn', build: { outDir: directory, emptyOutDir: true } });
    const answer = createApp({
      issuer: signet.issuer,
      clientId: 'orders-bff',
      clientSecret: secret,
      baseUrl: app,
      cookieKeys: [randomBytes(32)],
      resource: ordersApi,
      ordersUrl: orders.url,
      pages: directory,
      now: () => Date.now() + ahead,
    }).callback();
    server = createServer((request, response) => void arriving(request.url!).then(() => answer(request, response)));
    await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
  });
  afterAll(async () => {
    await browser.close();
    server.closeAllConnections();
    server.close();
    ordersApiProcess.kill();
    orders.close();
    await signet.close();
    await rm(directory, { recursive: true, force: true });
  });
  afterEach(async () => {
    ahead = 0;
    arriving = async () => {};
    await visitor.context.close();
    expect(visitor.complaints).toEqual([]);
  });

  async function arrive(): Promise<Page> {
    visitor = await newVisitor(browser, { signet, app, distantApp: app, orders: app, reports: app } as World);
    bodies = [];
    visitor.context.on('response', (response) => {
      if (response.url().startsWith(app)) bodies.push(response.text().catch(() => '')); // a redirect has no body
    });
    await signIn(visitor.page, app);
    await visitor.page.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    return visitor.page;
  }

  /** The token that the orders API was last called with. */
  const tokenSent = () => orders.seen.at(-1)!.headers.authorization!.replace('Bearer ', '');

  const reload = async (page: Page) => {
    const answered = page.waitForResponse(`${app}/api/orders`);
    await page.getByRole('button', { name: 'Reload' }).click();
    return answered;
  };

  test('signs in, orders, has the token renewed, signs out; and no script could have read a token', async () => {
    const page = await arrive();
    expect(page.url()).toBe(`${app}/`);
    expect(await page.getByRole('banner').innerText()).toMatch(/Ada[\s\S]*buyer[\s\S]*ada@example\.com/);
    await page.getByRole('button', { name: 'Desk lamp' }).click();
    await page.getByRole('cell', { name: 'Desk lamp' }).waitFor();
    const first = tokenSent();
    expect(decode(first).payload).toMatchObject({ sub: signet.accountId, client_id: 'orders-bff' });

    ahead = 29.8 * 60_000;
    expect((await reload(page)).status()).toBe(200);
    ahead = 0;
    const second = tokenSent();
    expect(decode(second).payload.jti).not.toBe(decode(first).payload.jti);
    await reload(page);
    expect(tokenSent()).toBe(second);

    const readable = (await page.evaluate(everythingReadable)) as string;
    expect(readable).toContain('Your orders'); // the page itself, so that it is known to have looked
    for (const token of [first, second]) {
      expect(readable).not.toContain(token);
      expect((await Promise.all(bodies)).join('\n')).not.toContain(token);
    }
    expect(readable).not.toMatch(/^(?:database|cache) /m);
    expect(await page.evaluate('[document.cookie, localStorage.length, sessionStorage.length]')).toEqual(['', 0, 0]);
    const cookies = (await visitor.context.cookies(app)).filter(({ name }) => name.startsWith('bff'));
    expect(cookies.length).toBeGreaterThanOrEqual(2);
    for (const cookie of cookies) expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' });

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign out?' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out.').waitFor();
    expect(page.url()).toBe(`${app}/`);
    expect((await visitor.context.cookies(app)).filter(({ name }) => name.startsWith('bff'))).toEqual([]);

    const all = (await Promise.all(bodies)).join('\n');
    expect(all).toContain('Notebook, dotted');
    expect(all).not.toMatch(/eyJ[\w-]{10}/); // the beginning of every JWT
    expect(readable).not.toMatch(/eyJ[\w-]{10}/);
  });

  test('loads the page anew, opens a second tab, and is signed in without a redirect', async () => {
    const page = await arrive();
    const visited: string[] = [];
    visitor.context.on('request', (request) => visited.push(request.url()));
    await page.reload();
    await page.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    const second = await visitor.context.newPage();
    await second.goto(app);
    await second.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    expect(visited.filter((url) => url.startsWith(signet.issuer))).toEqual([]);
  });

  test('asks in many tabs at the moment the token ends, and stays signed in everywhere', async () => {
    const page = await arrive();
    const tabs = [page];
    for (let count = 0; count < 3; count += 1) {
      const tab = await visitor.context.newPage();
      await tab.goto(app);
      await tab.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
      tabs.push(tab);
    }
    // The clock that is ahead would have a new token renewed as well: so, all four have come before one is answered.
    // (Chromium keeps equal requests waiting for each other where they might be answered from its cache.)
    await visitor.context.route(`${app}/api/**`, (route) => route.continue());
    arriving = together(tabs.length);
    ahead = 29.8 * 60_000;
    const answers = await Promise.all(tabs.map(reload));
    ahead = 0;
    arriving = async () => {};
    expect(answers.map((answer) => answer.status())).toEqual([200, 200, 200, 200]);
    expect(new Set(orders.seen.slice(-4).map(({ headers }) => headers.authorization)).size).toBe(1);
    expect((await Promise.all(tabs.map(reload))).map((answer) => answer.status())).toEqual([200, 200, 200, 200]);
  });

  test('signs out in one tab, and the other notices', async () => {
    const page = await arrive();
    const second = await visitor.context.newPage();
    await second.goto(app);
    await second.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await second.getByText('You signed out in another tab.').waitFor();
    expect(await second.getByRole('table').count()).toBe(0);
  });

  test('is not signed out, nor made to order, by a page of another site', async () => {
    const page = await arrive();
    const ordered = orders.seen.length;
    const stranger = createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/html').end(`<form method="post" action="${app}/api/orders/lamp"></form>
        <img src="${app}/api/orders"><img src="${app}/bff/sign-in"><script>
        fetch('${app}/bff/sign-out', { method: 'POST', credentials: 'include', mode: 'no-cors' });
        fetch('${app}/api/orders/lamp', { method: 'POST', credentials: 'include', headers: { 'X-Signet-CSRF': '1' } })
          .catch(() => 0).then(() => document.forms[0].submit());
        </script>`);
    });
    await new Promise<void>((resolve) => stranger.listen(0, 'localhost', resolve));
    const { port } = stranger.address() as { port: number };
    const other = await visitor.context.newPage();
    // On the same site, as ports are: there the cookies do come along, and only our own rules are left.
    const refused = other.waitForResponse(
      (response) => response.request().isNavigationRequest() && response.url().endsWith('/lamp'),
    );
    await other.goto(`http://localhost:${port}/`);
    expect((await refused).status()).toBe(403);
    stranger.close();
    stranger.closeAllConnections();
    expect(orders.seen.length).toBe(ordered);
    expect((await reload(page)).status()).toBe(200);
    visitor.complaints.length = 0; // the stranger's own page was a request to somebody else
  });
});

/** Lets nobody pass to the orders before so many have come. */
function together(count: number): (path: string) => Promise<void> {
  let come = 0;
  let open = () => {};
  const all = new Promise<void>((resolve) => {
    open = resolve;
  });
  return async (path) => {
    if (path !== '/api/orders') return;
    if (++come === count) open();
    await all;
  };
}

// Runs in the page: its text and markup, cookies, all three kinds of storage, caches, and whatever hangs on window.
const everythingReadable = `(async () => {
  const seen = new Set();
  const stored = [{ ...localStorage }, { ...sessionStorage }].map((storage) => JSON.stringify(storage));
  const found = [document.documentElement.outerHTML, document.cookie, ...stored];
  for (const { name } of await indexedDB.databases()) found.push('database ' + name);
  for (const name of await caches.keys()) found.push('cache ' + name);
  const walk = (value, depth) => {
    if (typeof value === 'string') found.push(value);
    if (typeof value !== 'object' || value === null || depth > 4 || seen.has(value)) return;
    seen.add(value);
    for (const name of Object.getOwnPropertyNames(value)) {
      try { walk(value[name], depth + 1); } catch { /* a getter that wants another receiver */ }
    }
  };
  walk(window, 0);
  return found.join('\\n');
})()`;
