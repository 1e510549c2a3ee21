// Everything that an anonymous request can make a server keep, flooded: the bound holds, and an honest person from
// elsewhere still gets in. SECURITY.md has the table; each of its rows names a test.

import { get } from 'node:http';
import { Agent } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { engines } from '../support/engines.ts';
import { startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, UserAgent } from '../support/user-agent.ts';

const ofNetwork = 10;
const inAll = 20;

describe.each(engines)('a flood on $name', ({ name, freshUrl }) => {
  let server: TestServer;
  let sim: EntraSim;
  beforeAll(async () => {
    sim = await startEntraSim();
    const entra = { tenant: sim.app.home.id, clientId: sim.app.clientId, clientSecret: sim.app.secret };
    server = await startSignet({
      database: await freshUrl(),
      values: { proxy: { trusted: ['127.0.0.1'] }, entra },
      parts: { room: { ofNetwork, inAll }, dispatcher: new Agent({ connect: sim.connector() }) },
    });
  });
  afterAll(async () => {
    await server.close();
    await sim.close();
  });

  const count = async (from: string) =>
    Number((await server.store.db.query<{ n: number }>(`select count(*) as n from ${from}`)).rows[0]!.n);
  const from = (address: string) => ({ 'X-Forwarded-For': address });
  /** Many at once, as a flood is, and no more than a machine of tests has sockets for. */
  async function flood(times: number, ask: (index: number) => Promise<unknown>): Promise<void> {
    for (let at = 0; at < times; at += 20) {
      await Promise.all(Array.from({ length: Math.min(20, times - at) }, (_, index) => ask(at + index)));
    }
  }
  const begin = (address: string) =>
    new UserAgent(server.issuer).request(authorizationRequest(server.issuer).url, { headers: from(address) });
  const startSignOut = (address: string) =>
    new UserAgent(server.issuer).request('/session/end?client_id=spa', { headers: from(address) });
  async function leaveForMicrosoft(address: string): Promise<void> {
    const agent = new UserAgent(server.issuer);
    const { headers } = await agent.request(authorizationRequest(server.issuer).url, { headers: from(address) });
    await agent.request(`${headers.get('location')}/microsoft`, { headers: from(address) });
  }

  const kept: Array<[what: string, rows: string, ask: (address: string) => Promise<unknown>]> = [
    ['sign-ins that nobody finishes', `oidc_models where model = 'Interaction'`, begin],
    [
      'sessions in which nobody is signed in',
      `oidc_models where model = 'Session' and account_id is null`,
      startSignOut,
    ],
    ['sign-ins that are at Microsoft', 'entra_states', leaveForMicrosoft],
  ];

  describe.each(kept)('of %s', (_what, rows, ask) => {
    beforeEach(async () => {
      await server.store.db.query('delete from oidc_models');
      await server.store.db.query('delete from entra_states');
    });

    test.each([
      ['one address', () => '192.0.2.1'],
      ['all over a /48', (index: number) => `2001:db8:7:${index.toString(16)}::1`],
    ])('leaves as many as one network may have, from %s', async (_where, address) => {
      await ask('198.51.100.9');
      await flood(2 * ofNetwork, (index) => ask(address(index)));
      expect(await count(rows)).toBe(ofNetwork + 1); // and the other network's is there
    });

    test('leaves as many as all may have, from ever other networks', async () => {
      await flood(4 * inAll, (index) => ask(`2001:db8:${index.toString(16)}::1`));
      // Looked at now and then, and so with the next few more.
      expect(await count(rows)).toBeLessThanOrEqual(2 * inAll);
    });
  });

  test('of begun sign-ins stops nobody: who comes then signs in, at the same address as well', async () => {
    await flood(inAll + ofNetwork, () => begin('192.0.2.1'));
    for (const address of ['192.0.2.1', '198.51.100.7']) {
      const agent = new UserAgent(server.issuer);
      const { request } = agent;
      agent.request = (url, options = {}) =>
        request.call(agent, url, { ...options, headers: { ...options.headers, ...from(address) } });
      expect((await authorize(agent, authorizationRequest(server.issuer).url)).get('code')).toBeTruthy();
    }
  });

  // What follows asks nothing of the engine.
  if (name !== 'sqlite') return;

  const refused: Array<[what: string, ask: (address: string, index: number) => Promise<unknown>]> = [
    [
      'authorization requests that cannot be',
      (address) =>
        fetch(
          authorizationRequest(server.issuer, {
            response_type: 'bogus',
          }).url,
          { headers: from(address), redirect: 'manual' },
        ),
    ],
    [
      'unknown applications',
      (address, index) => fetch(`${server.issuer}/auth?client_id=x${index}`, { headers: from(address) }),
    ],
    [
      'token requests',
      (address, index) =>
        fetch(`${server.issuer}/token`, {
          method: 'POST',
          headers: from(address),
          body: new URLSearchParams({ grant_type: 'authorization_code', client_id: 'spa', code: `${index}` }),
        }),
    ],
    [
      'introspection',
      (address) =>
        fetch(`${server.issuer}/token/introspection`, {
          method: 'POST',
          headers: from(address),
          body: new URLSearchParams({ token: 'x', client_id: 'spa' }),
        }),
    ],
    [
      'userinfo',
      (address) =>
        fetch(`${server.issuer}/me`, {
          headers: { ...from(address), Authorization: 'Bearer x' },
        }),
    ],
    [
      'sign-outs',
      (address) =>
        fetch(`${server.issuer}/session/end?post_logout_redirect_uri=https://x&client_id=spa`, {
          headers: from(address),
        }),
    ],
    ['the admin API', (address, index) => fetch(`${server.issuer}/admin/api/v1/${index}`, { headers: from(address) })],
    [
      'sign-ins that Microsoft is said to have sent',
      (address, index) =>
        fetch(`${server.issuer}/sign-in/entra/callback?state=x${index}&code=x`, { headers: from(address) }),
    ],
  ];

  test('of refusals of every kind, from all over a /64, is a handful of rows', async () => {
    const began = performance.now();
    await flood(40 * refused.length, async (index) => {
      const [, ask] = refused[index % refused.length]!;
      await ((await ask(`2001:db8:7:7::${index.toString(16)}`, index)) as Response).arrayBuffer();
    });
    const rows = () => count(`audit_events where address like '2001:db8:7:7:%'`);
    await vi.waitFor(async () => expect(await rows()).toBeGreaterThanOrEqual(60), { timeout: 5_000 });
    // Another one's mistake has its row all the same.
    await fetch(`${server.issuer}/me`, { headers: { ...from('198.51.100.20'), Authorization: 'Bearer x' } });
    await vi.waitFor(async () => expect(await count(`audit_events where address = '198.51.100.20'`)).toBe(1), {
      timeout: 5_000,
    });
    // Of 320 sixty a minute, and at the end of each, of which one may have come meanwhile, some that count the others.
    const minutes = 2 + Math.floor((performance.now() - began) / 60_000);
    expect(await rows()).toBeLessThanOrEqual(minutes * 72);
  });

  test('of names that fetch the JWKS leaves some hundred, and costs no write per fetch', async () => {
    await flood(560, async (index) => {
      const headers = { ...from(`2001:db8:${index.toString(16)}::1`), 'User-Agent': `signet-verifier/1.0 (x${index})` };
      await (await fetch(`${server.issuer}/jwks`, { headers })).arrayBuffer();
    });
    await server.store.jwksClients.list();
    expect(await count('jwks_consumers')).toBeLessThanOrEqual(501);
  });

  test('of passwords for invented people leaves what was looked at, and nothing of what was not', async () => {
    const address = '203.0.113.77';
    const agent = new UserAgent(server.issuer);
    const page = await agent.visit(authorizationRequest(server.issuer).url, { headers: from(address) });
    const guess = (index: number) =>
      agent.request(`${new URL(page.url).pathname}?local`, {
        form: { email: `x${index}@example.net`, password: 'not the right one' },
        headers: from(address),
      });
    await flood(160, guess);
    const looked = await count('sign_in_attempts');
    expect(looked).toBeGreaterThan(100);
    expect(looked).toBeLessThanOrEqual(3 * 100 + 10);
    await flood(100, (index) => guess(1_000 + index));
    // One more was free meanwhile, perhaps.
    expect(await count('sign_in_attempts')).toBeLessThanOrEqual(looked + 6);
  });

  test('of front-channel sign-outs keeps nothing', async () => {
    const tables = ['oidc_models', 'entra_states', 'upstream_sessions', 'audit_events'];
    const before = await Promise.all(tables.map(count));
    await flood(100, async (index) => {
      const url = `${server.issuer}/sign-in/entra/signed-out?sid=${index}`;
      await (await fetch(url, { headers: from('203.0.113.9'), redirect: 'manual' })).arrayBuffer();
    });
    expect(await Promise.all(tables.map(count))).toEqual(before);
  });

  /**
   * A refusal repeats the `state` in its Location, which fetch would not read. What is longer than any request may be
   * gets its connection closed.
   */
  const knock = (url: string) =>
    new Promise((resolve) => {
      get(url, { maxHeaderSize: 131_072, agent: false }, (answer) => answer.resume().once('close', resolve)).once(
        'error',
        resolve,
      );
    });

  test('of parameters is bounded as it is kept, whatever characters are in them', async () => {
    await server.store.db.query('delete from oidc_models');
    for (const character of ['x', '\u0001', '"', 'é', '\u20ac', '\ud83d\ude00']) {
      for (const times of [500, 1_000, 2_000, 2_040]) {
        const text = character.repeat(times / character.length);
        const { url } = authorizationRequest(server.issuer, { state: text.repeat(4), nonce: text, login_hint: text });
        await knock(url);
      }
    }
    const { rows } = await server.store.db.query<{ payload: string }>('select payload from oidc_models');
    expect(rows.length).toBeGreaterThan(6);
    for (const { payload } of rows) expect(Buffer.byteLength(payload)).toBeLessThan(16_000);
  });
});
