// Post, redirect, get: the back button and a reload never ask whether a form is to be sent once more. Chromium then shows
// an error page of its own, "Confirm Form Resubmission", which has no heading of ours.

import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { enterPassword, newPerson, newVisitor, type Person, type Visitor } from './visitor.ts';
import { startWorld, type World } from './world.ts';

describe.skipIf(noChromium).each([
  ['with passwords alone', undefined],
  [
    'with Microsoft as well',
    {
      tenant: '11111111-2222-4333-8444-555555555555',
      clientId: '11111111-2222-4333-8444-666666666666',
      clientSecret: 'x'.repeat(40),
      domains: ['contoso.example'],
    },
  ],
] as const)('%s, a person who uses the back button and reloads', (_where, entra) => {
  let browser: Browser;
  let world: World;
  let visitor: Visitor;
  let person: Person;
  beforeAll(async () => {
    [browser, world] = await Promise.all([launchChromium(), startWorld(entra ? { entra } : {})]);
  });
  afterAll(async () => {
    await browser.close();
    await world.close();
  });
  beforeEach(async () => {
    person = await newPerson(world);
    visitor = await newVisitor(browser, world, { javaScriptEnabled: false });
  });
  afterEach(async () => {
    await visitor.context.close();
    expect(visitor.complaints).toEqual([]);
  });

  const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name }).waitFor();

  /** As far as the question for the password. */
  async function arrive(): Promise<Page> {
    const { page } = visitor;
    await page.goto(world.reportsSignIn);
    if (!entra) return page;
    await page.getByLabel('E-mail address').fill(person.email);
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByLabel('Password').waitFor();
    return page;
  }

  async function enterHere(page: Page, who: Person): Promise<void> {
    if (!entra) return enterPassword(page, who);
    await page.getByLabel('Password').fill(who.password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  }

  test('after a wrong password, finds the page and what it said, and signs in', async () => {
    const page = await arrive();
    await enterHere(page, { ...person, password: 'not my password' });
    await page.getByRole('alert').waitFor();
    await page.reload();
    expect(await page.getByRole('alert').innerText()).toBe('That e-mail address and password do not match.');
    await enterHere(page, person);
    await heading(page, 'Allow Reports to use your account?');
    await page.goBack();
    await heading(page, 'You already signed in here');
    await page.goForward();
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await heading(page, 'Connected');
    for (let step = 0; step < 2; step += 1) {
      await page.goBack();
      await heading(page, 'You already signed in here');
    }
  });

  test('reads another page in between, and comes back to the form', async () => {
    const page = await arrive();
    await enterHere(page, { ...person, password: 'not my password' });
    await page.getByRole('alert').waitFor();
    await page.goto(world.signet.issuer);
    await page.goBack();
    await heading(page, 'Sign in');
    await enterHere(page, person);
    await heading(page, 'Allow Reports to use your account?');
  });
});
