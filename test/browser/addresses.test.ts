// Addresses that RFC 5321 and RFC 6531 allow, typed into the form of a real browser: of a field of type email, Chromium
// sends the domain in its ASCII form, and sends no form at all where it knows less of addresses than we do.

import bcrypt from 'bcrypt';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest } from '../support/user-agent.ts';

describe.skipIf(noChromium)('whoever has such an address signs in by it', () => {
  let browser: Browser;
  let signet: TestServer;
  let passwordHash: string;
  beforeAll(async () => {
    [browser, signet] = await Promise.all([launchChromium(), startSignet()]);
    passwordHash = await bcrypt.hash(person.password, 4);
  });
  afterAll(async () => {
    await browser.close();
    await signet.close();
  });

  test.each([
    'ada@b\u00fccher.example',
    'j\u00fcrgen@b\u00fccher.example',
    'grace@xn--bcher-kva.example',
    '"ada lovelace"@example.com',
    'ada@[192.0.2.1]',
    '\u7528\u6237@\u4f8b\u5b50.\u5e7f\u544a',
  ])('%s', async (email) => {
    await signet.store.accounts.create({ email, roles: [], passwordHash }, 'test');
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(authorizationRequest(signet.issuer).url);
      await page.getByLabel('E-mail address').fill(email);
      await page.getByLabel('Password').fill(person.password);
      const sent = page.waitForRequest((request) => request.url().startsWith('https://app.example.com/'), {
        timeout: 5_000,
      });
      await page.keyboard.press('Enter');
      expect((await sent).url()).toContain('code=');
    } finally {
      await context.close();
    }
  });
});
