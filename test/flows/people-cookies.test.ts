import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSignet, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, authorize, UserAgent } from '../support/user-agent.ts';

const issuer = 'https://id.example.com';

let behindProxy: TestServer;
let onLoopback: TestServer;
beforeAll(async () => {
  // A public issuer may not hash cheaper than this.
  behindProxy = await startSignet({ values: { issuer, passwords: { bcryptCost: 10 } } });
  onLoopback = await startSignet();
});
afterAll(async () => {
  await behindProxy.close();
  await onLoopback.close();
});

/** Keeps every cookie that was set on the way. */
class WatchingAgent extends UserAgent {
  readonly set: string[] = [];

  override async request(...asked: Parameters<UserAgent['request']>): Promise<Answer> {
    const answer = await super.request(...asked);
    this.set.push(...answer.headers.getSetCookie());
    return answer;
  }
}

describe('on an https issuer, behind a proxy that speaks plain http to us', () => {
  test('every cookie is __Host-, Secure, HttpOnly, SameSite=Lax and for the whole host', async () => {
    const agent = new WatchingAgent(issuer, behindProxy.url);
    expect((await authorize(agent, authorizationRequest(issuer).url)).get('code')).toBeTruthy();
    // More sign-ins than are kept, so that cookies are also seen going.
    for (let tab = 0; tab < 12; tab += 1) await agent.visit(authorizationRequest(issuer, { prompt: 'login' }).url);
    const names = new Set(agent.set.map((line) => line.split('=')[0]!.replace(/sign_in_.*/, 'sign_in_…')));
    expect([...names].sort()).toEqual([
      '__Host-signet_device',
      '__Host-signet_session',
      '__Host-signet_session.sig',
      '__Host-signet_sign_in_…',
    ]);
    expect(agent.set.some((line) => /expires=Thu, 01 Jan 1970/i.test(line))).toBe(true);
    for (const line of agent.set) {
      const attributes = line
        .toLowerCase()
        .split(';')
        .slice(1)
        .map((part) => part.trim());
      expect(attributes, line).toEqual(expect.arrayContaining(['secure', 'httponly', 'samesite=lax', 'path=/']));
      expect(
        attributes.some((attribute) => attribute.startsWith('domain')),
        line,
      ).toBe(false);
    }
  });

  test('HSTS is on every answer: page, redirect, JSON, asset, refusal', async () => {
    const agent = new UserAgent(issuer, behindProxy.url);
    const { url } = authorizationRequest(issuer);
    for (const path of ['/', url, '/jwks', '/health/live', '/sign-in/none', '/nothing', '/token']) {
      const { headers, status } = await agent.request(path);
      expect([path, status, headers.get('strict-transport-security')]).toEqual([path, status, 'max-age=31536000']);
    }
  });

  test('where it sends people does not depend on what a request says of its host or scheme', async () => {
    const agent = new UserAgent(issuer, behindProxy.url);
    const headers = {
      'X-Forwarded-Host': 'evil.example',
      'X-Forwarded-Proto': 'http',
      Forwarded: 'host=evil.example;proto=http',
    };
    const { headers: answered } = await agent.request(authorizationRequest(issuer).url, { headers });
    expect(new URL(answered.get('location')!, issuer).origin).toBe(issuer);
    expect(answered.getSetCookie().every((line) => line.startsWith('__Host-') && /; secure/i.test(line))).toBe(true);
    const discovery = await agent.request('/.well-known/openid-configuration', { headers });
    expect(discovery.body).not.toContain('evil.example');
    expect(discovery.body).not.toContain('http://');
  });

  test('our form is accepted from the public origin, not from the one that the proxy speaks to', async () => {
    const agent = new UserAgent(issuer, behindProxy.url);
    const page = await agent.visit(authorizationRequest(issuer).url);
    const post = (origin: string) =>
      agent.request(page.url, { form: { cancel: 'yes' }, headers: { 'Sec-Fetch-Site': '', Origin: origin } });
    expect((await post(behindProxy.url)).status).toBe(403);
    expect((await post(issuer)).status).toBe(303);
  });
});

test('on loopback over http, cookies are not Secure, or no browser would send them; nor is there HSTS', async () => {
  const agent = new WatchingAgent(onLoopback.issuer);
  await authorize(agent, authorizationRequest(onLoopback.issuer).url);
  expect(agent.set.length).toBeGreaterThan(2);
  for (const line of agent.set) {
    expect(line).toMatch(/^signet_/);
    expect(line).not.toMatch(/;\s*secure/i);
    expect(line).toMatch(/httponly/i);
    expect(line).toMatch(/samesite=lax/i);
  }
  const { headers } = await agent.request('/');
  expect(headers.get('strict-transport-security')).toBeNull();
});
