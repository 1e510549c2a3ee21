// What a person meets on the issuer's own pages. The application they come from is another company's, so the way also
// leads over the consent page.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { launchChromium, launchOptions, noChromium } from '../support/chromium.ts';
import { enterPassword, newPerson, newVisitor, type Person, type Visitor, watch } from './visitor.ts';
import { startWorld, type World } from './world.ts';

describe.skipIf(noChromium)('a person on the way from an application to the issuer and back', () => {
  let browser: Browser;
  let world: World;
  let visitor: Visitor;
  let person: Person;

  beforeAll(async () => {
    [browser, world] = await Promise.all([launchChromium(), startWorld()]);
  });
  afterAll(async () => {
    await browser.close();
    await world.close();
  });
  beforeEach(async () => {
    person = await newPerson(world);
  });
  afterEach(async () => {
    await visitor.context.close();
    expect(visitor.complaints).toEqual([]);
  });

  async function arrive(options: BrowserContextOptions = {}): Promise<Page> {
    visitor = await newVisitor(browser, world, options);
    await visitor.page.goto(world.reportsSignIn);
    return visitor.page;
  }

  const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { level: 1, name }).waitFor();

  test('mistypes the password, reads so, and tries again without typing the address anew', async () => {
    const page = await arrive();
    await enterPassword(page, { ...person, password: 'not my password' });
    expect(await page.getByRole('alert').innerText()).toBe('That e-mail address and password do not match.');
    expect(await page.getByLabel('E-mail address').inputValue()).toBe(person.email);
    expect(await page.title()).toMatch(/^Error: Sign in/);
    await page.getByLabel('Password').fill(person.password);
    await page.keyboard.press('Enter');
    await heading(page, 'Allow Reports to use your account?');
  });

  test('reads what the application would get, allows it, and is not asked again, also in another browser', async () => {
    const page = await arrive();
    await enterPassword(page, person);
    await heading(page, 'Allow Reports to use your account?');
    const text = await page.getByRole('main').innerText();
    for (const phrase of [person.email, 'Your e-mail address', 'See your orders', world.reports]) {
      expect(text).toContain(phrase);
    }
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await heading(page, 'Connected');
    await page.goto(world.reportsSignIn);
    await heading(page, 'Connected');

    await visitor.context.clearCookies();
    await page.goto(world.reportsSignIn);
    await enterPassword(page, person);
    await heading(page, 'Connected');
  });

  test('does not allow it, and the application hears access_denied', async () => {
    const page = await arrive();
    await enterPassword(page, person);
    await page.getByRole('button', { name: 'Do not allow' }).click();
    await heading(page, 'access_denied');
    expect(page.url()).toContain('state=begun-here');
  });

  test('goes back after signing in, and finds a page that explains itself', async () => {
    const page = await arrive();
    await enterPassword(page, person);
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await heading(page, 'Connected');
    await page.goBack();
    await heading(page, 'You already signed in here');
    await page.goForward();
    await heading(page, 'Connected');
  });

  test('does all of it without JavaScript', async () => {
    const page = await arrive({ javaScriptEnabled: false });
    await enterPassword(page, { ...person, password: 'not my password' });
    await page.getByRole('alert').waitFor();
    await enterPassword(page, person);
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await heading(page, 'Connected');
  });

  test.each([true, false])('is taken on where nothing is asked, by a script or by a button (%s)', async (script) => {
    const page = await arrive({ javaScriptEnabled: script });
    const goOn = async () => {
      if (script) return;
      await heading(page, 'One moment');
      await page.getByRole('button', { name: 'Continue' }).click();
    };
    await enterPassword(page, person);
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await heading(page, 'Connected');
    await page.goto(`${world.reportsSignIn}&response_mode=form_post`);
    await goOn();
    await heading(page, 'Connected');
    expect(page.url()).not.toContain('code=');

    const another = await newPerson(world);
    await page.goto(`${world.reportsSignIn}&prompt=login`);
    await enterPassword(page, another);
    await goOn();
    await heading(page, 'Allow Reports to use your account?');

    await visitor.context.clearCookies();
    await page.goto(`${world.signet.issuer}/session/end`);
    await goOn();
    await heading(page, 'You are signed out');
  });

  test('does all of it with the keyboard', async () => {
    const page = await arrive();
    await page.locator('#email:focus').waitFor(); // browsers give it when they paint, which may be after the load
    await page.keyboard.type(person.email);
    await page.keyboard.press('Tab');
    await page.keyboard.type(person.password);
    await page.keyboard.press('Enter');
    await heading(page, 'Allow Reports to use your account?');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Allow');
    await page.keyboard.press('Enter');
    await heading(page, 'Connected');
  });

  test('finds every page whole on a small telephone', async () => {
    const page = await arrive({ viewport: { width: 320, height: 568 } });
    const hidden = () => page.evaluate('document.documentElement.scrollWidth - innerWidth');
    expect(await hidden()).toBeLessThanOrEqual(0);
    await enterPassword(page, person);
    await heading(page, 'Allow Reports to use your account?');
    expect(await hidden()).toBeLessThanOrEqual(0);
    for (const path of ['/', '/nowhere', '/sign-in/long-gone']) {
      await page.goto(world.signet.issuer + path);
      expect(await hidden(), path).toBeLessThanOrEqual(0);
    }
  });

  test('is the first administrator, and has to replace the one-time password', async () => {
    const { email, oneTimePassword } = world.signet.firstAdministrator!;
    const page = await arrive();
    await enterPassword(page, { email, password: oneTimePassword });
    await heading(page, 'Choose your password');

    const choose = async (password: string, again = password) => {
      await page.getByLabel('New password', { exact: true }).fill(password);
      await page.getByLabel('New password, once more').fill(again);
      await page.getByRole('button', { name: 'Save and continue' }).click();
    };
    await choose('violet harbour lantern', 'violet harbor lantern');
    expect(await page.getByRole('alert').innerText()).toBe('The two passwords are not the same.');
    await choose(oneTimePassword);
    expect(await page.getByRole('alert').innerText()).toContain('other than the one-time password');
    await choose('violet harbour lantern');
    await heading(page, 'Allow Reports to use your account?');

    await visitor.context.clearCookies();
    await page.goto(world.reportsSignIn);
    await enterPassword(page, { email, password: oneTimePassword });
    await page.getByRole('alert').waitFor();
    await enterPassword(page, { email, password: 'violet harbour lantern' });
    await heading(page, 'Allow Reports to use your account?');
  });

  test('loses the cookie while the page is open, and reads what to do', async () => {
    const page = await arrive();
    await visitor.context.clearCookies();
    await enterPassword(page, person);
    await heading(page, 'Your browser did not keep our cookie');
  });
});

describe.skipIf(noChromium)('a browser that keeps no cookies for the issuer', () => {
  test('is told which host to allow, not led in a circle', async () => {
    const world = await startWorld();
    const profile = await mkdtemp(join(tmpdir(), 'signet-profile-'));
    await mkdir(join(profile, 'Default'));
    await writeFile(
      join(profile, 'Default/Preferences'),
      JSON.stringify({
        profile: { content_settings: { exceptions: { cookies: { [`${world.signet.issuer},*`]: { setting: 2 } } } } },
      }),
    );
    const context = await chromium.launchPersistentContext(profile, launchOptions());
    const complaints = watch(context, world);
    const page = await context.newPage();

    await page.goto(world.app);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Your browser did not keep our cookie' }).waitFor();
    const said = await page.getByRole('main').innerText();
    expect(said).toContain(`Allow cookies for ${new URL(world.signet.issuer).host}`);
    expect(complaints).toEqual([]);

    await context.close();
    await world.close();
    await rm(profile, { recursive: true, force: true });
  });
});
