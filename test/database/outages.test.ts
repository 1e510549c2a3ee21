// An outage of the database as an operator and a client meet it: PostgreSQL behind a network that is cut.

import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { engines, postgres } from '../support/engines.ts';
import { type Forwarder, startForwarder, through } from '../support/forwarder.ts';
import { secret, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, redemption, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

const basic = `Basic ${Buffer.from(`web:${secret}`).toString('base64')}`;

describe.runIf(engines.includes(postgres))('a database that goes away under a server', () => {
  let network: Forwarder;
  let server: TestServer;
  beforeAll(async () => {
    const url = await postgres.freshUrl();
    network = await startForwarder(Number(new URL(url).port));
    server = await startSignet({ database: through(network, url) });
  });
  afterAll(async () => {
    if (server) await server.close();
    await network?.close();
  });

  const events = () =>
    server
      .logged()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const ready = async () => (await fetch(`${server.url}/health/ready`)).status;
  const refreshWith = (token: unknown) =>
    tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: String(token) });
  const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  test('for a moment: a refresh and a code are held, and answered when it is back', async () => {
    const { tokens } = await signIn(server.issuer);
    const request = authorizationRequest(server.issuer);
    const code = (await authorize(new UserAgent(server.issuer), request.url)).get('code')!;
    await network.cut();
    await after(50);
    const asked = Promise.all([
      refreshWith(tokens.refresh_token),
      tokenRequest(server.issuer, redemption(request, code)),
    ]);
    await after(500);
    await network.resume();
    expect((await asked).map(({ status }) => status)).toEqual([200, 200]);
  });

  test('over the answer to the write of a refresh: it is written once, and answered', async () => {
    const url = await postgres.freshUrl();
    const lossy = await startForwarder(Number(new URL(url).port));
    const other = await startSignet({ database: through(lossy, url) });
    onTestFinished(async () => {
      await other.close();
      await lossy.close();
    });
    const { tokens } = await signIn(other.issuer);
    lossy.loseAnswerTo('update refresh_tokens set current_digest');
    const first = await tokenRequest(other.issuer, {
      grant_type: 'refresh_token',
      refresh_token: String(tokens.refresh_token),
    });
    expect([first.status, first.body.refresh_token]).toEqual([200, expect.any(String)]);
    const next = await tokenRequest(other.issuer, {
      grant_type: 'refresh_token',
      refresh_token: String(first.body.refresh_token),
    });
    expect(next.status).toBe(200);
    await vi.waitFor(
      async () => {
        const { rows } = await other.store.db.query<{ n: number }>(
          `select count(*) as n from audit_events where event = 'token.issued_again'`,
        );
        expect(rows[0]!.n).toBe(1); // the answer was lost after the write, indeed
      },
      { timeout: 10_000 },
    );
  });

  test('for longer: every endpoint says to come again, nothing is lost, and the log has a line at each end', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const ofOutages = () => events().filter(({ event }) => String(event).startsWith('database.'));
    await vi.waitFor(
      async () =>
        expect([await ready(), ofOutages().at(-1)?.event ?? 'database.available']).toEqual([200, 'database.available']),
      { timeout: 15_000, interval: 100 },
    ); // the one of before is over, too
    await network.cut();
    await after(50);
    const before = events().length;

    const send = (path: string, init: RequestInit = {}) => fetch(server.url + path, { redirect: 'manual', ...init });
    const form = (values: Record<string, unknown>) => ({
      method: 'POST',
      headers: { Authorization: basic, 'Content-Type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(values as Record<string, string>).toString(),
    });
    const asked: Array<[string, Promise<Response>]> = [
      [
        'refresh',
        send('/token', {
          method: 'POST',
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({
            grant_type: 'refresh_token',
            refresh_token: String(tokens.refresh_token),
            client_id: 'spa',
          }).toString(),
        }),
      ],
      ['introspection', send('/token/introspection', form({ token: tokens.refresh_token }))],
      ['revocation', send('/token/revocation', form({ token: tokens.refresh_token }))],
      ['userinfo', send('/me', { headers: { Authorization: `Bearer ${String(tokens.access_token)}` } })],
    ];
    const visits = [new UserAgent(server.issuer), agent].map((each) =>
      each.visit(authorizationRequest(server.issuer).url),
    );
    for (const [what, answer] of asked) {
      const { status, headers } = await answer;
      const body = (await (await answer).json()) as Record<string, unknown>;
      expect({ what, status, retry: headers.get('retry-after'), error: body.error }).toEqual({
        what,
        status: 503,
        retry: '5',
        error: 'temporarily_unavailable',
      });
      expect(JSON.stringify(body)).not.toMatch(/postgres|ECONN|127\.0\.0\.1/i);
    }
    for (const page of await Promise.all(visits)) {
      expect([page.status, page.headers.get('retry-after')]).toEqual([503, '5']);
      expect(page.body).toContain('not possible right now');
    }
    expect(await ready()).toBe(503);
    for (const path of ['/jwks', '/.well-known/openid-configuration', '/health/live']) {
      expect([path, (await send(path)).status]).toEqual([path, 200]);
    }

    await network.resume();
    await vi.waitFor(async () => expect(await ready()).toBe(200), { timeout: 10_000, interval: 100 });
    expect((await refreshWith(tokens.refresh_token)).status).toBe(200);
    await vi.waitFor(
      () =>
        expect(
          events()
            .slice(before)
            .map(({ event }) => event),
        ).toContain('database.available'),
      { timeout: 15_000, interval: 100 },
    );
    const since = events().slice(before);
    const named = (event: string) => since.filter((line) => line.event === event);
    expect([named('database.unavailable').length, named('database.available').length]).toEqual([1, 1]);
    expect(named('database.available')[0]).toMatchObject({ failures: expect.any(Number), forMs: expect.any(Number) });
    expect(named('database.unavailable')[0]).toMatchObject({ hint: expect.stringContaining('database URL') });
    expect(since.filter(({ event, level }) => event === 'request.failed' && level !== 'debug')).toEqual([]);
  });
});
