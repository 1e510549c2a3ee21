// An application on another site sends its requests as forms, in a browser whose cookies are SameSite=Lax: the session
// counts all the same, and nobody is signed out by a form alone.

import { createServer, type Server } from 'node:http';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { freePort } from '../support/ports.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest } from '../support/user-agent.ts';

let browser: Browser;
let signet: TestServer;
let application: Server;
let app: string;
let form: Record<string, string> = {};
let target = '';

/** A page with a form to the issuer, and under any other address what came back. */
async function startApplication(port: number): Promise<void> {
  application = createServer(async (request, response) => {
    const url = new URL(request.url!, app);
    const posted = (await request.toArray()).join('');
    const received = Object.fromEntries(posted ? new URLSearchParams(posted) : url.searchParams);
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    const fields = Object.entries(form).map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`);
    response.end(
      url.pathname === '/'
        ? `<form method="post" action="${signet.issuer}${target}">${fields.join('')}<button>Go</button></form>`
        : `<h1>${url.pathname}</h1><pre>${JSON.stringify(received)}</pre>`,
    );
  });
  await new Promise<void>((resolve) => application.listen(port, 'localhost', resolve));
}

describe.skipIf(noChromium)('an application on another site sends a form', () => {
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    const port = await freePort();
    app = `http://app.localhost:${port}`;
    [browser, signet] = await Promise.all([
      launchChromium(),
      startSignet({
        values: {
          applications: [
            {
              clientId: 'spa',
              name: 'Portal',
              type: 'spa',
              firstParty: true,
              redirectUris: [`${app}/callback`],
              postLogoutRedirectUris: [`${app}/signed-out`],
            },
          ],
        },
      }),
      startApplication(port),
    ]);
  });
  afterAll(async () => {
    await browser.close();
    application.closeAllConnections();
    await new Promise((resolve) => application.close(resolve));
    await signet.close();
  });
  afterEach(() => context.close());

  async function arrive(options = {}): Promise<void> {
    context = await browser.newContext(options);
    page = await context.newPage();
    await page.goto(requestUrl({}));
    await page.getByLabel('E-mail address').fill(person.email);
    await page.getByLabel('Password').fill(person.password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { name: '/callback' }).waitFor();
  }

  const requestUrl = (parameters: Record<string, string>) =>
    authorizationRequest(signet.issuer, { redirect_uri: `${app}/callback`, scope: 'openid', ...parameters }).url;

  async function send(to: string, fields: Record<string, string>): Promise<void> {
    [target, form] = [to, fields];
    await page.goto(app);
    await page.getByRole('button', { name: 'Go' }).click();
  }

  async function received(path: string): Promise<Record<string, string>> {
    await page.getByRole('heading', { name: path }).waitFor();
    return JSON.parse(await page.locator('pre').innerText()) as Record<string, string>;
  }

  const fieldsOf = (url: string) => Object.fromEntries(new URL(url).searchParams);
  const states = { short: 'kept', long: 'k'.repeat(7000) };

  test('and whoever is signed in comes back with a code at once, however long the form', async () => {
    await arrive();
    for (const state of Object.values(states)) {
      for (const mode of ['query', 'form_post']) {
        await send('/auth', fieldsOf(requestUrl({ state, prompt: 'none', response_mode: mode })));
        expect(await received('/callback')).toEqual({ code: expect.any(String), state, iss: signet.issuer });
      }
    }
  });

  test('and the person who confirms is signed out; the form alone signs nobody out', async () => {
    await arrive();
    const fields = { client_id: 'spa', post_logout_redirect_uri: `${app}/signed-out`, state: 'kept' };
    for (const hint of ['short', 'h'.repeat(2000)]) {
      await send('/session/end', { ...fields, logout_hint: hint });
      await page.getByRole('heading', { name: 'Sign out?' }).waitFor();
    }
    await page.goto(requestUrl({ prompt: 'none' }));
    expect(await received('/callback')).toHaveProperty('code');
    await send('/session/end', { ...fields, logout_hint: 'h'.repeat(2000) });
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    expect(await received('/signed-out')).toEqual({ state: 'kept' });
    await page.goto(requestUrl({ prompt: 'none' }));
    expect(await received('/callback')).toMatchObject({ error: 'login_required' });
  });

  test('and without JavaScript the person presses the button', async () => {
    await arrive({ javaScriptEnabled: false });
    await send('/auth', fieldsOf(requestUrl({ state: states.long, prompt: 'none' })));
    await page.getByRole('button', { name: 'Continue' }).click();
    expect(await received('/callback')).toHaveProperty('code');
  });
});
