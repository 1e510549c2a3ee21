// A person at a browser of their own, and somebody who looks over their shoulder: requests to anybody who is not part
// of the story, violations of a content security policy and scripts that fail are written down as complaints.

import bcrypt from 'bcrypt';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { person } from '../support/signet.ts';
import type { World } from './world.ts';

export interface Visitor {
  context: BrowserContext;
  page: Page;
  complaints: string[];
}

export async function newVisitor(
  browser: Browser,
  world: World,
  options: BrowserContextOptions = {},
): Promise<Visitor> {
  const context = await browser.newContext(options);
  return { context, complaints: watch(context, world), page: await context.newPage() };
}

export function watch(context: BrowserContext, world: World): string[] {
  const expected = new Set([world.signet.issuer, world.app, world.distantApp, world.orders, world.reports]);
  const complaints: string[] = [];
  context.on('request', (request) => {
    const { origin } = new URL(request.url());
    if (!expected.has(origin)) complaints.push(`request to ${request.url()}`);
  });
  context.on('console', (message) => {
    // Chromium's own report, which there is also where JavaScript is switched off.
    if (/content security policy/i.test(message.text())) complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  return complaints;
}

export type Person = typeof person;

let people = 0;

/** Somebody new, who has not allowed anything to anybody yet. */
export async function newPerson({ signet }: World): Promise<Person> {
  people += 1;
  const { password } = person;
  const email = `grace-${people}@example.com`;
  const account = { email, name: 'Grace', roles: [], passwordHash: await bcrypt.hash(password, 4) };
  await signet.store.accounts.create(account, 'test');
  return { email, password };
}

/** Fills in the issuer's sign-in page. */
export async function enterPassword(page: Page, { email, password }: Person): Promise<void> {
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** From the sample application's front page to the orders. */
export async function signIn(page: Page, app: string): Promise<void> {
  await page.goto(app);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await enterPassword(page, person);
  await page.getByRole('heading', { name: 'Your orders', exact: true }).waitFor();
}
