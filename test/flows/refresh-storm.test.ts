// An application that renews long before the end of its access token, each second and in each tab: the issuer's work is
// bounded, and nobody is refused.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { engines } from '../support/engines.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { asClient, decode, signIn, tokenRequest } from '../support/user-agent.ts';

const [sqlite] = engines;

describe('a storm of refreshes', () => {
  let server: TestServer;
  const time = Date.now;
  let shift = 0;
  beforeAll(async () => {
    vi.spyOn(Date, 'now').mockImplementation(() => time() + shift);
    server = await startSignet({
      database: await sqlite!.freshUrl(),
      values: { proxy: { trusted: ['127.0.0.1', '::1'] } },
    });
  });
  afterAll(async () => {
    await server.close();
    vi.restoreAllMocks();
  });

  const refresh = (token: string, parameters = {}, address = '192.0.2.1') =>
    tokenRequest(
      server.issuer,
      { grant_type: 'refresh_token', refresh_token: token, ...parameters },
      { ...asClient('spa'), headers: { 'X-Forwarded-For': address } },
    );

  /** Refreshes one after the other, always with the newest token. */
  async function storm(token: string, times: number, everyMs = 100): Promise<string[]> {
    const chain = [token];
    for (let turn = 0; turn < times; turn += 1) {
      shift += everyMs;
      const { status, body } = await refresh(chain.at(-1)!);
      expect(status).toBe(200);
      chain.push(body.refresh_token);
    }
    return chain;
  }
  const rotations = (chain: string[]) => new Set(chain).size - 1;
  const fresh = async () => (await signIn(server.issuer, { parameters: { resource: ordersApi } })).tokens.refresh_token;

  test('turns ten times, and then once in five seconds; in between the newest answer stands in', async () => {
    const chain = await storm(await fresh(), 100);
    expect(rotations(chain)).toBeGreaterThanOrEqual(10);
    expect(rotations(chain)).toBeLessThanOrEqual(13);
    shift += 6_000;
    expect((await refresh(chain.at(-1)!)).body.refresh_token).not.toBe(chain.at(-1));
  });

  test('leaves rows and audit events for what turned, and no more', async () => {
    const before = await server.store.audit.list();
    const chain = await storm(await fresh(), 60);
    await vi.waitFor(async () => {
      const after = (await server.store.audit.list()).length - before.length;
      expect(after).toBeLessThanOrEqual(rotations(chain) + 6);
    });
  });

  test('is answered with tokens that are as good as new', async () => {
    const { body } = await refresh((await storm(await fresh(), 30)).at(-1)!);
    expect(decode(body.access_token).payload.exp * 1000).toBeGreaterThan(Date.now() + 1_790_000);
    const again = await fetch(`${server.issuer}/me`, { headers: { Authorization: `Bearer ${body.access_token}` } });
    expect(again.status).toBe(200);
  });

  test('is no cover for a thief: from another network, or for something else, the token is used', async () => {
    for (const [parameters, address] of [
      [{}, '198.51.100.9'],
      [{ scope: 'openid' }, '192.0.2.1'],
    ] as const) {
      const newest = (await storm(await fresh(), 20)).at(-1)!;
      const { status, body: stolen } = await refresh(newest, parameters, address);
      expect([status, stolen.refresh_token === newest]).toEqual([200, false]);
      shift += 31_000;
      expect((await refresh(newest)).status).toBe(400);
      expect((await refresh(stolen.refresh_token, {}, address)).status).toBe(400);
    }
  });

  test('ends with its grant, also while the newest answer stands in', async () => {
    const newest = (await storm(await fresh(), 20)).at(-1)!;
    await fetch(`${server.issuer}/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'spa', token: newest }),
    });
    expect((await refresh(newest)).status).toBe(400);
  });
});
