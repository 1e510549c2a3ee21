import type { Browser, Page, Request } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium, noChromium } from '../support/chromium.ts';
import { engines } from '../support/engines.ts';
import { decode } from '../support/user-agent.ts';
import { newVisitor, signIn, type Visitor } from './visitor.ts';
import { startWorld, type World } from './world.ts';

const situation = 'a person at the sample application, with the issuer on $name';
describe.skipIf(noChromium).each(engines)(situation, ({ name, freshUrl }) => {
  let browser: Browser;
  let world: World;
  let visitor: Visitor;

  beforeAll(async () => {
    [browser, world] = await Promise.all([launchChromium(), startWorld({ database: await freshUrl() })]);
  });
  afterAll(async () => {
    await browser.close();
    await world.close();
  });
  afterEach(async () => {
    await visitor.context.close();
    expect(visitor.complaints).toEqual([]);
  });

  async function arrive(): Promise<Page> {
    visitor = await newVisitor(browser, world);
    await signIn(visitor.page, world.app);
    return visitor.page;
  }

  /** Does `act` and tells with which access token the orders API was then called. */
  async function tokenSent(page: Page, act: () => Promise<void>): Promise<string> {
    const isCall = (request: Request) => request.url().startsWith(world.orders) && request.method() !== 'OPTIONS';
    const [request] = await Promise.all([page.waitForRequest(isCall), act()]);
    const response = await request.response();
    expect(response!.status()).toBeLessThan(300);
    return (await request.allHeaders())['authorization']!.replace('Bearer ', '');
  }

  const reloadOrders = (page: Page) => () => page.getByRole('button', { name: 'Reload' }).click();

  async function renewNow(page: Page): Promise<void> {
    await page.getByRole('button', { name: 'Renew now' }).click();
    await page.getByText('Renewed.').waitFor();
  }

  test('signs in, sees who they are, and places an order with the API', async () => {
    const page = await arrive();
    expect(page.url()).toBe(`${world.app}/`);
    const header = await page.getByRole('banner').innerText();
    expect(header).toMatch(/Ada[\s\S]*buyer[\s\S]*ada@example\.com/);
    await page.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    const token = decode(await tokenSent(page, () => page.getByRole('button', { name: 'Desk lamp' }).click()));
    await page.getByRole('cell', { name: 'Desk lamp' }).waitFor();
    const scope = expect.stringContaining('orders:write');
    expect(token.payload).toMatchObject({ sub: world.signet.accountId, scope });
  });

  test('is given new tokens, with no page in between, and the API takes them', async () => {
    const page = await arrive();
    const before = await tokenSent(page, reloadOrders(page));
    const pages: string[] = [];
    page.on('framenavigated', (frame) => pages.push(frame.url()));
    await renewNow(page);
    const after = await tokenSent(page, reloadOrders(page));
    expect(decode(after).payload.jti).not.toBe(decode(before).payload.jti);
    expect(pages).toEqual([]);
  });

  test('loads the page anew and is signed in again without a password', async () => {
    const page = await arrive();
    await page.goto(`${world.app}/?from=bookmark`);
    await page.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    expect(page.url()).toBe(`${world.app}/?from=bookmark`);
  });

  test('works in two tabs, each with tokens of its own, and renews in both at once', async () => {
    const first = await arrive();
    const second = await visitor.context.newPage();
    await second.goto(world.app);
    await second.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();
    await Promise.all([renewNow(first), renewNow(second)]);
    await Promise.all([renewNow(first), renewNow(second)]);
    const tokens = [await tokenSent(first, reloadOrders(first)), await tokenSent(second, reloadOrders(second))];
    const [one, other] = tokens.map((token) => decode(token).payload);
    expect(one!.sid).toBe(other!.sid);
    expect(one!.jti).not.toBe(other!.jti);
  });

  test('signs out: here, in the other tab, and at the issuer', async () => {
    const first = await arrive();
    const second = await visitor.context.newPage();
    await second.goto(world.app);
    await second.getByRole('button', { name: 'Renew now' }).waitFor();

    await first.getByRole('button', { name: 'Sign out' }).click();
    await second.getByText('You signed out in another tab.').waitFor();
    await first.getByText('You are signed out.').waitFor();
    expect(first.url()).toBe(`${world.app}/`);

    await second.getByRole('button', { name: 'Sign in' }).click();
    await second.getByLabel('Password').waitFor();
  });

  // What is left is between browser and application: one engine is enough.
  if (name === 'postgres') return;

  test('has the tokens renewed before they expire, without asking for it', async () => {
    visitor = await newVisitor(browser, world);
    const { page } = visitor;
    await page.clock.install();
    await signIn(page, world.app);
    const refresh = page.waitForResponse((response) => response.url() === `${world.signet.issuer}/token`);
    await page.clock.fastForward('29:40');
    expect((await refresh).status()).toBe(200);
    await page.getByText(/in (29|30):\d\d/).waitFor();
  });

  test('leaves no token where another script or the next person could find it', async () => {
    const page = await arrive();
    const kept = await page.evaluate('[{ ...localStorage }, { ...sessionStorage }, document.cookie]');
    expect(kept).toEqual([{ 'signed-in': world.signet.accountId }, {}, '']);
    await page.goBack();
    expect(page.url()).not.toContain('code=');
  });

  test('does not find the orders again with the back button after signing out', async () => {
    const page = await arrive();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('You are signed out.').waitFor();
    await page.goBack();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    expect(await page.getByRole('table').count()).toBe(0);
  });

  test('changes their mind on the sign-in page and is told so kindly', async () => {
    visitor = await newVisitor(browser, world);
    await visitor.page.goto(world.app);
    await visitor.page.getByRole('button', { name: 'Sign in' }).click();
    await visitor.page.getByRole('button', { name: 'Cancel and go back to Orders' }).click();
    await visitor.page.getByText('You cancelled the sign-in.').waitFor();
  });

  test('is asked to sign in again when the session at the issuer is gone', async () => {
    const page = await arrive();
    await visitor.context.clearCookies();
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  });

  test('uses the application on a site apart from the issuer’s, whose cookie is a third party’s there', async () => {
    visitor = await newVisitor(browser, world);
    const { page } = visitor;
    await signIn(page, world.distantApp);
    await page.reload();
    await renewNow(page);
  });
});

describe.skipIf(noChromium)('the issuer is stopped while a person works', () => {
  test('the API goes on answering, and the application says what does not work', async () => {
    const [browser, world] = await Promise.all([launchChromium(), startWorld()]);
    const visitor = await newVisitor(browser, world);
    const { page } = visitor;
    await signIn(page, world.app);
    await page.getByRole('cell', { name: 'Notebook, dotted' }).waitFor();

    await world.signet.close();
    await page.getByRole('button', { name: 'Desk lamp' }).click();
    await page.getByRole('cell', { name: 'Desk lamp' }).waitFor();
    await page.getByRole('button', { name: 'Renew now' }).click();
    await page.getByText('The sign-in service cannot be reached.').waitFor();
    await page.getByRole('button', { name: 'Reload' }).click();
    expect(await page.getByRole('alert').count()).toBe(0);
    await page.reload();
    await page.getByText('The sign-in service cannot be reached. Please try again in a moment.').waitFor();

    expect(visitor.complaints).toEqual([]);
    await browser.close();
    await world.close();
  });
});
