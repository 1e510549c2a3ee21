// What people and guessers meet at the sign-in page, from which address and in which browser. The counters themselves:
// signin/login-throttle.test.ts.

import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDevices, deviceLifeSeconds } from '../../src/signin/device.ts';
import { keyOf } from '../../src/signin/login-counters.ts';
import { freePort } from '../support/ports.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  const port = await freePort();
  server = await startSignet({
    values: {
      issuer: 'https://id.example.com',
      listen: { port, host: '127.0.0.1' },
      proxy: { trusted: ['127.0.0.1'] },
      passwords: { bcryptCost: 10 },
    },
  });
});
afterAll(() => server.close());

const cookieName = '__Host-signet_device';
const browser = () => new UserAgent(server.issuer, server.url);
const from = (address: string) => ({ 'X-Forwarded-For': address, 'X-Forwarded-Proto': 'https' });

let people = 0;
/** Somebody at whom nobody has guessed yet. */
async function newPerson(): Promise<{ email: string; password: string }> {
  const [email, password] = [`guessed-${(people += 1)}@example.com`, 'another long password'];
  await server.store.accounts.create({ email, roles: [], passwordHash: await bcrypt.hash(password, 10) }, 'test');
  return { email, password };
}

/** From an application to the form, and what the server answers to this password. */
async function attempt(
  agent: UserAgent,
  address: string,
  password: string,
  { email = person.email, ask = 'visit' }: { email?: string; ask?: 'visit' | 'request' } = {},
): Promise<Answer> {
  const page = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
  return agent[ask](page.url, { form: { email, password }, headers: from(address) });
}

const signedIn = (answer: Answer) => answer.status === 303;

async function guessUntilHeldUp(address: string): Promise<void> {
  const agent = browser();
  for (let guess = 0; guess < 10; guess += 1) {
    if ((await attempt(agent, address, 'not the password')).status !== 429) continue;
    // And for a minute more than that second, which a slow machine may need for what follows.
    await server.store.db.query(
      `update sign_in_attempts set blocked_until = blocked_until + 60000 where blocked_until > 0 and key like 'pair:%'`,
    );
    return;
  }
  throw new Error('nobody was held up');
}

describe('somebody guesses at a colleague’s password', () => {
  test('and the colleague signs in all the same, from the same address, in a browser of their own', async () => {
    const [own, office] = [browser(), '192.0.2.10'];
    expect(signedIn(await attempt(own, office, person.password))).toBe(true);
    await guessUntilHeldUp(office);
    expect((await attempt(browser(), office, person.password)).status).toBe(429);
    expect(signedIn(await attempt(own, office, person.password))).toBe(true);
  });

  test('with a cookie that is forged, too old, or another account’s, and gets no further', async () => {
    const agent = browser();
    const answer = await attempt(agent, '192.0.2.20', person.password);
    const cookie = agent.cookies.get(cookieName)!;
    expect(signedIn(answer)).toBe(true);
    const { seal, accounts } = server.store;
    const other = await accounts.create({ email: 'mallory@example.com', roles: [], passwordHash: 'x' }, 'test');
    const made = (accountId: string, now = Date.now()) => {
      let line = '';
      const ctx = {
        append: (_name: string, value: string) => {
          line = value;
        },
      };
      createDevices(seal, { issuer: server.issuer }, () => now).remember(ctx as never, accountId);
      return line.split(';')[0]!.slice(cookieName.length + 1);
    };
    const [device, until, proof] = cookie.split('.');
    const useless = [
      made(other.id),
      made(server.accountId, Date.now() - (deviceLifeSeconds + 1) * 1000),
      `${device}.${Number(until) + 1}.${proof}`,
      `x${device}.${until}.${proof}`,
      `${device}.${until}`,
      'a.b.c',
      '..',
    ];
    await guessUntilHeldUp('192.0.2.20');
    for (const value of useless) {
      const thief = browser();
      const page = await thief.visit(authorizationRequest(server.issuer).url);
      const cookies = [...thief.cookies].map(([name, theirs]) => `${name}=${theirs}`);
      const answered = await thief.visit(page.url, {
        form: { email: person.email, password: person.password },
        headers: { ...from('192.0.2.20'), Cookie: [...cookies, `${cookieName}=${value}`].join('; ') },
      });
      expect(answered.status, value).toBe(429);
    }
  });

  test('the cookie of a browser is for this server alone, for no script, and for ninety days', async () => {
    const answer = await attempt(browser(), '192.0.2.30', person.password, { ask: 'request' });
    const line = answer.headers.getSetCookie().find((each) => each.startsWith(`${cookieName}=`));
    const [cookie, ...attributes] = line!.split('; ');
    expect(cookie).toMatch(/^__Host-signet_device=[\w-]{22}\.\d+\.[\w-]{43}$/);
    expect(attributes).toEqual(['Path=/', 'HttpOnly', 'SameSite=Lax', 'Secure', 'Max-Age=7776000']);
    expect(line).not.toContain(server.accountId);
    const refused = await attempt(browser(), '192.0.2.30', 'not the password', { ask: 'request' });
    expect(refused.headers.getSetCookie().join()).not.toContain(cookieName);
  });
});

describe('somebody guesses from many addresses', () => {
  test('and the person gets in from a new browser, in the time that the page says', async () => {
    const victim = await newPerson();
    const guess = async (address: string) => (await attempt(browser(), address, 'not the password', victim)).status;
    const statuses = await Promise.all(Array.from({ length: 30 }, (_, at) => guess(`203.0.113.${at}`)));
    expect(statuses.filter((status) => status === 400)).toHaveLength(20);
    const own = browser();
    const refused = await attempt(own, '192.0.2.50', victim.password, victim);
    const seconds = Number(refused.headers.get('retry-after'));
    expect(refused.status).toBe(429);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(20);
    expect(refused.body).toContain(`Too many attempts. Try again in ${seconds} seconds.`);
    await server.store.db.query('update sign_in_attempts set blocked_until = blocked_until - 20000');
    // What the account allowed meanwhile has gone to the others.
    let others = 200;
    while ((await guess(`203.0.113.${(others += 1)}`)) !== 429);
    expect(signedIn(await attempt(own, '192.0.2.50', victim.password, victim))).toBe(true);
  });

  test('eight sign-ins of one account at the same moment are all let in', async () => {
    const victim = await newPerson();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => attempt(browser(), '192.0.2.60', victim.password, victim)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(303));
  });
});

describe('more come than can be served', () => {
  // At a loopback host a check may be quick; the two that have to last are made to.
  let other: TestServer;
  beforeAll(async () => {
    other = server;
    server = await startSignet({
      values: { proxy: { trusted: ['127.0.0.1'] } },
      parts: { passwordQueue: { proved: 5, others: 4 } },
    });
  });
  afterAll(async () => {
    await server.close();
    server = other;
  });

  test('a browser that is known is served; who was told to come back later has not failed', async () => {
    const [own, office] = [browser(), '192.0.2.70'];
    expect(signedIn(await attempt(own, office, person.password))).toBe(true);
    const ready = await own.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
    const agents = Array.from({ length: 15 }, browser);
    const pages = await Promise.all(agents.map((agent) => agent.visit(authorizationRequest(server.issuer).url)));
    const guess = (at: number, address: string, name = `all-at-once-${at}`) =>
      agents[at]!.visit(pages[at]!.url, {
        form: { email: `${name}@example.com`, password: 'not the password' },
        headers: from(address),
      });
    const counted = async (names: string[], address: (at: number) => string) => {
      const keys = names.map((name, at) => `'${keyOf('pair', `${name}@example.com`, address(at))}'`);
      return (await server.store.db.query(`select key from sign_in_attempts where key in (${keys.join(', ')})`)).rows
        .length;
    };

    const slow = ['slow-1', 'slow-2'];
    for (const name of slow) {
      const passwordHash = `$2b$14$${'.'.repeat(53)}`;
      await server.store.accounts.create({ email: `${name}@example.com`, roles: [], passwordHash }, 'test');
    }
    const lasting = slow.map((name, at) => guess(13 + at, '198.51.100.1', name));
    await vi.waitFor(async () => expect(await counted(slow, () => '198.51.100.1')).toBe(2), {
      timeout: 20_000,
      interval: 5,
    });
    const flood = Array.from({ length: 12 }, (_, at) => guess(at, `192.0.2.${80 + at}`));
    const newcomer = guess(12, '203.0.113.12');
    const known = own.visit(ready.url, {
      form: { email: person.email, password: person.password },
      headers: from(office),
    });

    expect(signedIn(await known)).toBe(true);
    expect((await newcomer).status).toBe(400);
    const answers = await Promise.all(flood);
    const busy = answers.filter(({ status }) => status === 503);
    expect(busy.length).toBeGreaterThanOrEqual(8);
    expect(Number(busy[0]!.headers.get('retry-after'))).toBeLessThanOrEqual(10);
    expect(busy[0]!.body).toMatch(/Many people are signing in right now. Try again in (10|\d) seconds?\./);
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(12 - busy.length);
    expect((await Promise.all(lasting)).map(({ status }) => status)).toEqual([400, 400]);
    // Of those told to come back none had failed.
    expect(
      await counted(
        agents.slice(0, 12).map((_, at) => `all-at-once-${at}`),
        (at) => `192.0.2.${80 + at}`,
      ),
    ).toBe(12 - busy.length);
  });
});
