// What people and guessers meet at the sign-in page, from which address and in which browser. The counters themselves:
// signin/attempts.test.ts.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDevices, deviceLifeSeconds } from '../../src/signin/device.ts';
import { freePort } from '../support/ports.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, UserAgent, type Answer } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  const port = await freePort();
  server = await startSignet({ values: {
    issuer: 'https://id.example.com', listen: { port, host: '127.0.0.1' }, proxy: { trusted: ['127.0.0.1'] },
    passwords: { bcryptCost: 10 },
  } });
});
afterAll(() => server.close());

const cookieName = '__Host-signet_device';
const browser = () => new UserAgent(server.issuer, server.url);
const from = (address: string) => ({ 'X-Forwarded-For': address, 'X-Forwarded-Proto': 'https' });

/** From an application to the form, and what the server answers to this password. */
async function attempt(
  agent: UserAgent, address: string, password: string, ask: 'visit' | 'request' = 'visit',
): Promise<Answer> {
  const page = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
  return agent[ask](page.url, { form: { email: person.email, password }, headers: from(address) });
}

const signedIn = (answer: Answer) => answer.status === 303;

async function guessUntilHeldUp(address: string): Promise<void> {
  const agent = browser();
  for (let guess = 0; guess < 10; guess += 1) {
    if ((await attempt(agent, address, 'not the password')).status !== 429) continue;
    // The first wait is a second, which a busy machine takes to look.
    await server.store.db.query('update sign_in_attempts set blocked_until = $1 where blocked_until > 0', [Date.now() + 60_000]);
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
      const ctx = { append: (_name: string, value: string) => { line = value; } };
      createDevices(seal, { issuer: server.issuer }, () => now).remember(ctx as never, accountId);
      return line.split(';')[0]!.slice(cookieName.length + 1);
    };
    const [device, until, proof] = cookie.split('.');
    const useless = [
      made(other.id), made(server.accountId, Date.now() - (deviceLifeSeconds + 1) * 1000),
      `${device}.${Number(until) + 1}.${proof}`, `x${device}.${until}.${proof}`, `${device}.${until}`, 'a.b.c', '..',
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
    const answer = await attempt(browser(), '192.0.2.30', person.password, 'request');
    const line = answer.headers.getSetCookie().find((each) => each.startsWith(`${cookieName}=`));
    const [cookie, ...attributes] = line!.split('; ');
    expect(cookie).toMatch(/^__Host-signet_device=[\w-]{22}\.\d+\.[\w-]{43}$/);
    expect(attributes).toEqual(['Path=/', 'HttpOnly', 'SameSite=Lax', 'Secure', 'Max-Age=7776000']);
    expect(line).not.toContain(server.accountId);
    const refused = await attempt(browser(), '192.0.2.30', 'not the password', 'request');
    expect(refused.headers.getSetCookie().join()).not.toContain(cookieName);
  });
});

describe('more come than can be served', () => {
  test('who was told to come back later has not failed', async () => {
    const agent = browser();
    const page = await agent.visit(authorizationRequest(server.issuer).url);
    const guess = (name: string) => agent.visit(page.url, {
      form: { email: `${name}@example.com`, password: 'not the password' }, headers: from('192.0.2.40'),
    });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, at) => guess(`all-at-once-${at}`)));
    const busy = answers.filter(({ status }) => status === 503).length;
    expect(busy).toBeGreaterThan(10);
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(50 - busy);
    // The address has 50 failures free, and of those told to come back none was one.
    for (let at = 0; at < 3; at += 1) expect((await guess(`later-${at}`)).status).toBe(400);
  });
});
