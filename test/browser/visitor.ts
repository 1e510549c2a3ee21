// A person at a browser of their own, and somebody who looks over their shoulder: requests to anybody who is not part of
// the story, violations of a content security policy and scripts that fail are written down as complaints.

import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { person } from '../support/signet.ts';
import type { World } from './world.ts';

export interface Visitor {
  context: BrowserContext;
  page: Page;
  complaints: string[];
}

export async function newVisitor(browser: Browser, world: World, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext(options);
  return { context, complaints: await watch(context, world), page: await context.newPage() };
}

export async function watch(context: BrowserContext, { signet, app, distantApp, orders, reports }: World): Promise<string[]> {
  const expected = new Set([signet.issuer, app, distantApp, orders, reports]);
  const complaints: string[] = [];
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI, documentURI }) =>
      console.error(`securitypolicyviolation: ${effectiveDirective} ${blockedURI} on ${documentURI}`));
  });
  context.on('request', (request) => {
    const { origin } = new URL(request.url());
    if (!expected.has(origin)) complaints.push(`request to ${request.url()}`);
  });
  context.on('console', (message) => {
    if (/security ?policy/i.test(message.text())) complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  return complaints;
}

/** Fills in the issuer's sign-in page. */
export async function enterPassword(page: Page, { email, password } = person): Promise<void> {
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** From the sample application's front page to the orders. */
export async function signIn(page: Page, app: string): Promise<void> {
  await page.goto(app);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await enterPassword(page);
  await page.getByRole('heading', { name: 'Your orders', exact: true }).waitFor();
}
