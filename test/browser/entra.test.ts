// A person who signs in with Microsoft, in a real browser. The host names are Microsoft's own; behind them is the
// simulator. The configuration is that of production, and the browser is told by two arguments.

import type { Browser, BrowserContext, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { Agent } from 'undici';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { launchOptions, noChromium } from '../support/chromium.ts';
import { startWorld, type World } from './world.ts';

// Chromium sends a cookie without SameSite along with another site's form for two minutes, and then no longer: so a
// second factor that takes longer than that finds out who relied on it. With this feature it is ten seconds.
const shortThreshold = '--enable-features=ShortLaxAllowUnsafeThreshold';
const pastThreshold = 11;

if (!process.env.SIGNET_TEST_LONG) {
  console.log('left out: two minutes of waiting for a second factor; SIGNET_TEST_LONG=1 runs them');
}

describe.skipIf(noChromium).each(['query', 'form_post'] as const)('with response_mode %s, a person', (responseMode) => {
  let sim: EntraSim;
  let dispatcher: Agent;
  let browser: Browser;
  let world: World;
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    sim = await startEntraSim({
      app: { optionalClaims: ['email', 'xms_edov', 'login_hint', 'sid', 'given_name', 'family_name'] },
    });
    dispatcher = new Agent({ connect: sim.connector() });
    const { args = [], ...launch } = launchOptions();
    browser = await chromium.launch({ ...launch, args: [...args, ...sim.chromiumArgs(), shortThreshold] });
    world = await startWorld({
      parts: { dispatcher },
      entra: {
        tenant: sim.app.home.id,
        clientId: sim.app.clientId,
        clientSecret: sim.app.secret,
        responseMode,
        domains: ['contoso.example'],
        logout: { propagate: 'ask' },
        roles: { appRoles: { Reader: ['buyer'] } },
      },
    });
    const { issuer } = world.signet;
    sim.app.addRedirectUri(`${issuer}/sign-in/entra/callback`, `${issuer}/sign-in/entra/signed-out`);
    sim.app.frontChannelLogoutUrl = `${issuer}/sign-in/entra/frontchannel-logout`;
  });
  afterAll(async () => {
    await browser.close();
    await world.close();
    await dispatcher.close();
    await sim.close();
  });
  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
  });
  afterEach(async () => {
    await context.close();
    sim.reset();
  });

  const heading = (name: string | RegExp, where = page) => where.getByRole('heading', { level: 1, name }).waitFor();
  const orders = (where = page) => where.getByRole('heading', { name: 'Your orders', exact: true }).waitFor();
  const choose = (name: string, where = page) => where.getByRole('button', { name: new RegExp(`^${name}`) }).click();

  /** As far as Microsoft's account picker. */
  async function toMicrosoft(where = page): Promise<void> {
    await where.goto(world.app);
    await where.getByRole('button', { name: 'Sign in' }).click();
    await where.getByLabel('E-mail address').fill('alice@contoso.example');
    await where.getByRole('button', { name: 'Continue' }).click();
    await heading('Pick an account', where);
    expect(new URL(where.url()).host).toBe('login.microsoftonline.com');
  }

  test('types the address, is sent to Microsoft, and comes back signed in, with name and roles', async () => {
    await toMicrosoft();
    await choose('Alice');
    await orders();
    const banner = await page.getByRole('banner').innerText();
    for (const words of ['Alice Example', 'buyer', 'alice@contoso.example']) expect(banner).toContain(words);
    expect(page.url()).toBe(`${world.app}/`);
  });

  /** Which of our cookies come along with what Microsoft's page posts, once the sign-in is through. */
  async function cookiesWithTheForm(signIn: () => Promise<void>): Promise<string> {
    await context.addCookies([{ name: 'control', value: 'without-same-site', url: world.signet.issuer }]);
    const posted = page.waitForRequest(
      (request) => request.method() === 'POST' && request.url().endsWith('/entra/callback'),
    );
    await signIn();
    return (await (await posted).allHeaders())['cookie'] ?? '';
  }

  test('needs longer for the second factor than a cookie without SameSite would be sent', async () => {
    sim.longMfa(pastThreshold);
    const takeLong = async () => {
      await toMicrosoft();
      await page.getByLabel('MFA takes long').check();
      await choose('Alice');
      await heading('Approve sign-in request');
      const later = { timeout: (pastThreshold + 15) * 1000 };
      await page.getByRole('heading', { name: 'Your orders', exact: true }).waitFor(later);
    };
    if (responseMode === 'query') await takeLong();
    else expect(await cookiesWithTheForm(takeLong)).not.toContain('control');
    const ours = (await context.cookies(world.signet.issuer)).filter(({ name }) => name.includes('signet_'));
    expect(ours.length).toBeGreaterThan(0);
    for (const { sameSite, httpOnly } of ours) expect([sameSite, httpOnly]).toEqual(['Lax', true]);
  }, 60_000);

  if (responseMode === 'form_post')
    test('is quick, and such a cookie is sent: the test above sees it', async () => {
      const cookies = await cookiesWithTheForm(async () => {
        await toMicrosoft();
        await choose('Alice');
        await orders();
      });
      expect(cookies).toContain('control');
      expect(cookies).not.toContain('signet_');
    });

  if (process.env.SIGNET_TEST_LONG)
    test('needs two minutes and five seconds for it', async () => {
      sim.longMfa(125);
      await toMicrosoft();
      await page.getByLabel('MFA takes long').check();
      await choose('Alice');
      await page.getByRole('heading', { name: 'Your orders', exact: true }).waitFor({ timeout: 150_000 });
    }, 180_000);

  test('signs in in two tabs at once, each ending where it began', async () => {
    const other = await context.newPage();
    await toMicrosoft();
    await toMicrosoft(other);
    await choose('Alice');
    await orders();
    await choose('Alice', other);
    await orders(other);
  });

  test('cancels at Microsoft, reads so on our page, and tries again', async () => {
    await toMicrosoft();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('status').waitFor();
    expect(await page.getByRole('status').innerText()).toContain('You cancelled the sign-in');
    expect(await page.getByRole('alert').count()).toBe(0);
    expect(new URL(page.url()).origin).toBe(world.signet.issuer);
    await page.getByRole('link', { name: 'Sign in with Microsoft' }).click();
    await choose('Alice');
    await orders();
  });

  test('has no access (not assigned): that is said on Microsoft’s page, and Back leads to ours', async () => {
    await toMicrosoft();
    await choose('Ulf Unassigned');
    expect(await page.locator('body').innerText()).toContain('AADSTS50105');
    await page.goBack();
    await page.goBack();
    await page.getByRole('link', { name: 'Sign in with Microsoft' }).click();
    await choose('Alice');
    await orders();
  });

  test('is of another tenant: Microsoft’s page says so, and Back leads to ours and another account', async () => {
    await toMicrosoft();
    await page.locator('button[value="fabrikam/mallory"]').click();
    expect(await page.locator('body').innerText()).toContain('AADSTS50020');
    await page.goBack();
    await page.goBack();
    await page.getByRole('link', { name: 'Sign in with Microsoft' }).click();
    await choose('Alice');
    await orders();
  });

  test('presses Back after signing in, and finds nothing that could be used twice', async () => {
    await toMicrosoft();
    await choose('Alice');
    await orders();
    await page.goBack();
    await page.waitForLoadState();
    expect(sim.requests('token').length).toBe(1);
    await page.goto(world.app);
    await orders();
    expect(sim.requests('token').length).toBe(1);
  });

  test('signs out here and at Microsoft, and is asked for an account the next time', async () => {
    await toMicrosoft();
    await choose('Alice');
    await orders();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await heading('Sign out?');
    expect(await page.getByRole('main').innerText()).toContain('alice@contoso.example');
    await page.getByRole('button', { name: 'Sign out here and at Microsoft' }).click();
    await page.getByText('You are signed out.').waitFor();
    expect(page.url()).toBe(`${world.app}/`);
    expect(sim.sessions).toHaveLength(0);
    await toMicrosoft();
  });

  test('signs out at Microsoft: the session here has ended, too (by a frame without cookies)', async () => {
    await toMicrosoft();
    await choose('Alice');
    await orders();
    const there = await context.newPage();
    const framed = there.waitForResponse((response) => response.url().includes('frontchannel-logout'));
    await there.goto(`https://login.microsoftonline.com/${sim.app.home.id}/oauth2/v2.0/logout`);
    expect((await framed).status()).toBe(200);
    await page.goto(world.app);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  });
});
