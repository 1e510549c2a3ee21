// What a person sees: the account picker, consent and sign-out, by requests and in a real browser; and the process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { fetch, ProxyAgent } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { EntraSim } from '../../entra-sim/index.ts';
import { startEntraSim } from '../../entra-sim/index.ts';
import { launchOptions, noChromium } from '../support/chromium.ts';
import { endsWithUs } from '../support/process-end.ts';
import type { Visitor } from './visitor.ts';
import { claimsOf, createRelyingParty, createVisitor, redirectUri } from './visitor.ts';

let sim: EntraSim;
let visitor: Visitor;

// The application under test, as far as Microsoft can see it: whatever is asked of it is noted and answered.
const seen: { method: string; url: string; body: string }[] = [];
const application = createServer((request: IncomingMessage, response) => {
  let body = '';
  request.on('data', (piece: Buffer) => (body += piece.toString()));
  request.on('end', () => {
    seen.push({ method: request.method!, url: request.url!, body });
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>application</title>');
  });
});
let origin: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => application.listen(0, '127.0.0.1', resolve));
  origin = `http://localhost:${(application.address() as AddressInfo).port}`;
  sim = await startEntraSim({
    app: { redirectUris: [redirectUri, `${origin}/callback`], frontChannelLogoutUrl: `${origin}/frontchannel-logout` },
  });
});
afterAll(async () => {
  application.close();
  await sim.close();
});

beforeEach(async () => {
  await sim.reset();
  sim.signInAs(null);
  seen.length = 0;
  visitor = createVisitor(sim);
  return () => visitor.close();
});

const login = () => `https://login.microsoftonline.com/${sim.app.home.id}`;
const begin = (options: Parameters<ReturnType<typeof createRelyingParty>['begin']>[0] = {}) =>
  createRelyingParty(sim, visitor).begin(options);

describe('the account picker', () => {
  const picker = async () => {
    const page = await (await visitor.request(await begin({ loginHint: 'bob@contoso.example', state: 'S' }))).text();
    const waiting = /name="waiting" value="([^"]+)"/.exec(page)![1]!;
    const action = /<form method="POST" action="([^"]+)"/.exec(page)![1]!;
    const choose = (form: Record<string, string>) =>
      visitor.request(new URL(action, login()).href, { form: { waiting, ...form } });
    return { page, choose };
  };

  test('says that it is simulated, and puts the hinted person first', async () => {
    const { page } = await picker();
    expect(page).toContain('Simulated Microsoft sign-in');
    expect(/name="user" value="([^"]+)"/.exec(page)![1]).toBe('contoso/bob');
  });

  test('signs in whoever is chosen, once, and remembers the session', async () => {
    const { choose } = await picker();
    const callback = new URL((await choose({ user: 'contoso/alice' })).headers.get('location')!);
    expect(callback.searchParams.get('state')).toBe('S');
    expect(callback.searchParams.has('code')).toBe(true);
    expect(await (await choose({ user: 'contoso/alice' })).text()).toContain('AADSTS50089');
    const again = await visitor.callback(await begin());
    expect(again.has('code')).toBe(true);
    const other = await visitor.request(await begin({ prompt: 'select_account' }));
    expect(await other.text()).toContain('Pick an account');
  });

  test('can be cancelled, which the application hears', async () => {
    const { choose } = await picker();
    const { searchParams } = new URL((await choose({ cancel: 'yes' })).headers.get('location')!);
    expect(Object.fromEntries(searchParams)).toMatchObject({
      error: 'access_denied',
      error_subcode: 'cancel',
      state: 'S',
      error_description: expect.stringMatching(/^AADSTS65004/),
    });
  });

  test('can take its time over the second factor: the sign-in is then older than the code', async () => {
    const { choose } = await picker();
    const page = await (await choose({ user: 'contoso/alice', mfa: 'long' })).text();
    expect(page).toContain('This takes 125 seconds');
    const started = /name="started" value="(\d+)"/.exec(page)![1]!;
    sim.clock.advance(125);
    const answer = await choose({ user: 'contoso/alice', mfa: 'approved', started });
    expect(answer.status).toBe(302);
    expect(sim.sessions.at(-1)!.authTimeSeconds).toBe(Number(started));
  });

  test('shows who may not come in a page', async () => {
    const { choose } = await picker();
    expect(await (await choose({ user: 'contoso/ulf' })).text()).toContain('AADSTS50105');
  });
});

describe("an administrator's consent", () => {
  const url = () => {
    const query = new URLSearchParams({ client_id: sim.app.clientId, redirect_uri: redirectUri, state: 'S' });
    return `${login()}/v2.0/adminconsent?${query}`;
  };

  test('opens the tenant, and returns without a code', async () => {
    sim.tenant('contoso').requireAdminConsent();
    sim.signInAs('alice');
    expect(await (await visitor.request(await begin())).text()).toContain('AADSTS90094');
    const { searchParams } = new URL((await visitor.request(url())).headers.get('location')!);
    const tenant = sim.tenant('contoso').id;
    expect(Object.fromEntries(searchParams)).toMatchObject({ admin_consent: 'True', tenant, state: 'S' });
    expect((await visitor.callback(await begin())).has('code')).toBe(true);
    sim.tenant('contoso').requireAdminConsent(false);
  });

  test('is asked for on a page when nobody was picked, and can be declined', async () => {
    expect(await (await visitor.request(url())).text()).toContain('Permissions requested');
    const form = { client_id: sim.app.clientId, redirect_uri: redirectUri, answer: 'no' };
    const { searchParams } = new URL((await visitor.request(url(), { form })).headers.get('location')!);
    expect(searchParams.get('error')).toBe('access_denied');
  });
});

describe('sign-out', () => {
  const signedIn = async () => {
    sim.signInAs('alice');
    const { idToken } = await createRelyingParty(sim, visitor).signIn();
    return claimsOf(idToken) as { sid: string; login_hint: string };
  };
  const logout = async (parameters: Record<string, string>) =>
    (await visitor.request(`${login()}/oauth2/v2.0/logout?${new URLSearchParams(parameters)}`)).text();

  test('ends the session, frames the front-channel URL, and goes back to a registered address only', async () => {
    const { sid } = await signedIn();
    const page = await logout({ post_logout_redirect_uri: redirectUri, state: 'S' });
    expect(page).toContain(`<iframe src="${origin}/frontchannel-logout?sid=${sid}">`);
    expect(page).toContain(`href="${redirectUri}?state=S"`);
    expect((await visitor.callback(await begin({ prompt: 'none' }))).get('error')).toBe('login_required');
    await signedIn();
    expect(await logout({ post_logout_redirect_uri: 'https://attacker.example/' })).not.toContain('attacker.example');
  });

  test('from another browser ends nothing, whatever it hints', async () => {
    const { login_hint: hint } = await signedIn();
    const stranger = createVisitor(sim);
    const page = await stranger.request(`${login()}/oauth2/v2.0/logout?${new URLSearchParams({ logout_hint: hint })}`);
    expect(await page.text()).not.toContain('iframe src');
    expect(sim.sessions).toHaveLength(1);
    await stranger.close();
  });

  const ways = ['with', 'without', 'wrong', 'twice'] as const;
  test.each(ways)('can call the front-channel URL %s its sid', async (how) => {
    const { sid } = await signedIn();
    expect((await sim.frontChannelLogout('alice', { sid: how })).status).toBe(200);
    const sent = new URL(seen[0]!.url, origin).searchParams.getAll('sid');
    const unknown = '00000000-0000-4000-8000-000000000000';
    expect(sent).toEqual({ with: [sid], without: [], wrong: [unknown], twice: [sid, sid] }[how]);
  });
});

describe.skipIf(noChromium)('Chromium with production host names', () => {
  test('signs in through the picker by form_post, and out again with the front-channel frame', async () => {
    const options = launchOptions();
    const browser = await chromium.launch({ ...options, args: [...options.args!, ...sim.chromiumArgs()] });
    try {
      const page = await browser.newPage();
      const party = createRelyingParty(sim, visitor);
      const ownUri = `${origin}/callback`;
      await page.goto(await party.begin({ redirectUri: ownUri, responseMode: 'form_post', state: 'S' }));
      expect(new URL(page.url()).origin).toBe('https://login.microsoftonline.com');
      sim.longMfa(1);
      await page.getByLabel('MFA takes long').check();
      await page.getByRole('button', { name: 'Alice Example' }).click();
      await page.getByText('Approve sign-in request').waitFor();
      await page.waitForURL(ownUri);
      const callback = new URLSearchParams(seen.find(({ method }) => method === 'POST')!.body);
      expect(callback.get('state')).toBe('S');
      await party.redeem(callback, { redirectUri: ownUri });

      const [{ sid } = { sid: 'none' }] = sim.sessions;
      await page.goto(`${login()}/oauth2/v2.0/logout?post_logout_redirect_uri=${encodeURIComponent(ownUri)}`);
      await page.waitForURL(ownUri);
      expect(seen.map(({ url }) => url)).toContain(`/frontchannel-logout?sid=${sid}`);
      expect(sim.sessions).toHaveLength(0);
    } finally {
      await browser.close();
      sim.longMfa(125);
    }
  });
});

describe('as a process', () => {
  test('says where it is in one line of JSON, and ends when asked to', async () => {
    const main = new URL('../../entra-sim/main.ts', import.meta.url).pathname;
    const stdio = ['ignore', 'pipe', 'inherit'] as const;
    const child = endsWithUs(spawn(process.execPath, [main, '--redirect-uri', redirectUri], { stdio: [...stdio] }));
    const [line] = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`ended with ${code}`))),
    ]);
    const ready = JSON.parse(line as string) as Record<string, string>;
    expect(ready).toMatchObject({ port: expect.any(Number), chromiumArgs: expect.any(Array) });
    const ca = readFileSync(ready.caPath!, 'utf8');
    const dispatcher = new ProxyAgent({ uri: ready.proxyUrl!, requestTls: { ca } });
    const url = `https://login.microsoftonline.com/${ready.tenantId}/v2.0/.well-known/openid-configuration`;
    const { issuer } = (await (await fetch(url, { dispatcher })).json()) as { issuer: string };
    expect(issuer).toBe(`https://login.microsoftonline.com/${ready.tenantId}/v2.0`);
    await dispatcher.destroy();
    child.kill('SIGTERM');
    expect((await once(child, 'exit'))[0]).toBe(0);
  });
});
