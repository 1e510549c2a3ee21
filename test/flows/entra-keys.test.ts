// One of Microsoft's signing keys was stolen and has been withdrawn. Servers go on believing it for an hour, unless an
// administrator says so.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { openTerminal } from '../cli/terminal.ts';
import { startAdministration } from '../support/admin.ts';
import { engines } from '../support/engines.ts';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { freePort } from '../support/ports.ts';
import { declared, secret } from '../support/signet.ts';
import { tokenRequest } from '../support/user-agent.ts';

describe.each(engines)('two servers on $name', ({ freshUrl }) => {
  let sim: EntraSim;
  let directory: string;
  let worlds: EntraWorld[];
  beforeAll(async () => {
    sim = await startEntraSim();
    directory = await mkdtemp(join(tmpdir(), 'signet-entra-keys-'));
    const database = await freshUrl();
    worlds = [];
    for (const _server of [1, 2]) {
      const port = await freePort();
      const issuer = `http://localhost:${port}`;
      const [read, write] = [
        [`${issuer}/admin`, ['admin:read']],
        [`${issuer}/admin`, ['admin:read', 'admin:write']],
      ];
      worlds.push(
        await startEntraWorld({
          sim,
          database,
          directory,
          values: {
            issuer,
            listen: { port, host: '127.0.0.1' },
            // A time that no test waits for: the others are told.
            keys: { pollEvery: '1h', publishAhead: '2h' },
            applications: [
              ...declared.applications,
              { clientId: 'operator', name: 'Operator', type: 'service', secret, access: Object.fromEntries([write]) },
              { clientId: 'reader', name: 'Dashboard', type: 'service', secret, access: Object.fromEntries([read]) },
            ],
          },
        }),
      );
    }
  });
  afterAll(async () => {
    for (const world of worlds) await world.close();
    await sim.close();
    await rm(directory, { recursive: true });
  });

  const issuerOf = (world: EntraWorld) => world.server.issuer;
  async function post(world: EntraWorld, clientId?: string, body: unknown = {}) {
    const resource = `${issuerOf(world)}/admin`;
    const token =
      clientId === undefined
        ? undefined
        : (
            await tokenRequest(
              issuerOf(world),
              {
                grant_type: 'client_credentials',
                resource,
                scope: clientId === 'operator' ? 'admin:write' : 'admin:read',
              },
              { clientId, secret },
            )
          ).body.access_token;
    const response = await fetch(`${issuerOf(world)}/admin/api/v1/entra/refresh-keys`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    });
    return { status: response.status, body: (await response.json()) as Record<string, any> };
  }

  /** Whether a token that is signed with the key `signer` lets somebody in. */
  async function letsIn(world: EntraWorld, signer: EntraSim['keys']['active']): Promise<boolean> {
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    const withdraw = sim.nextIdToken({ sign: signer });
    const back = await world.passMicrosoft(agent, left.url, 'alice');
    withdraw();
    return new URL(back.url).searchParams.has('code');
  }

  async function stealAKey() {
    for (const world of worlds) await world.signIn('alice'); // so that both know it
    const stolen = sim.keys.active;
    await sim.keys.rotate();
    sim.keys.revoke(stolen.kid);
    for (const world of worlds) expect(await letsIn(world, stolen)).toBe(true);
    return stolen;
  }

  const timesForgotten = ({ server }: EntraWorld) => server.logged().split('"entra.keys_forgotten"').length - 1;
  const follows = (world: EntraWorld, times: number) =>
    expect.poll(() => timesForgotten(world), { timeout: 10_000 }).toBe(times);

  test('E18 refuse a stolen key of Microsoft’s as soon as an administrator says so at one of them', async () => {
    const stolen = await stealAKey();
    const [here, there] = worlds as [EntraWorld, EntraWorld];
    const asked = await post(here, 'operator');
    expect([asked.status, asked.body]).toEqual([200, { serversFollowBy: expect.any(String) }]);
    expect(timesForgotten(here)).toBe(1); // before the answer
    expect(await letsIn(here, stolen)).toBe(false);
    await follows(there, 1);
    expect(await letsIn(there, stolen)).toBe(false);
    expect(await here.server.store.audit.list({ event: 'entra.keys_refreshed' })).toMatchObject([
      { actor: 'operator', clientId: 'operator', seq: expect.any(Number), requestId: expect.any(String) },
    ]);
    for (const world of worlds) expect((await world.signIn('alice')).tokens.access_token).toBeDefined();
  });

  test('E18 follow the command line, which runs beside them', async () => {
    const stolen = await stealAKey();
    const terminal = await openTerminal({ directory });
    const { tenant, clientId } = worlds[0]!.server.config.entra!;
    await terminal.write(
      'signet.yaml',
      JSON.stringify({
        issuer: issuerOf(worlds[0]!),
        database: { url: worlds[0]!.server.config.database.url },
        entra: { tenant, clientId, clientSecret: 'not used by this command' },
      }),
    );
    const { exitCode, document } = await terminal.signet('entra refresh-keys --json');
    expect([exitCode, document]).toEqual([0, { serversFollowBy: expect.any(String) }]);
    for (const world of worlds) {
      await follows(world, 2);
      expect(await letsIn(world, stolen)).toBe(false);
    }
    const [newest] = await worlds[0]!.server.store.audit.list({ event: 'entra.keys_refreshed' });
    expect(newest).toMatchObject({ actor: 'cli:tester' });
    expect(await worlds[0]!.server.store.audit.verify()).toMatchObject({ ok: true });
    const { out } = await terminal.signet('entra refresh-keys');
    expect(out).toMatch(/^The next token from Microsoft is checked with the keys that it publishes then\.\nRunning /);
  });

  test('E18 ask who it is: strangers and those who may only look change nothing', async () => {
    const here = worlds[0]!;
    const before = await here.server.store.audit.list({ event: 'entra.keys_refreshed' });
    expect(await post(here)).toMatchObject({ status: 401, body: { error: 'missing_token' } });
    expect(await post(here, 'reader')).toMatchObject({ status: 403, body: { error: 'insufficient_scope' } });
    const unknownMember = await post(here, 'operator', { kid: 'x' });
    expect(unknownMember).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect(await here.server.store.audit.list({ event: 'entra.keys_refreshed' })).toEqual(before);
  });
});

test('E18 where nobody signs in with Microsoft there is nothing to forget, which is said', async () => {
  const server = await startAdministration();
  const answer = await server.call('/entra/refresh-keys', { token: await server.serviceToken('operator'), body: {} });
  expect([answer.status, answer.body.error]).toEqual([404, 'entra_not_configured']);
  await server.close();
  const terminal = await openTerminal();
  await terminal.makeDatabase();
  const { exitCode, err } = await terminal.signet('entra refresh-keys');
  expect([exitCode, err]).toEqual([2, expect.stringContaining('there is no entra section')]);
  await terminal.leave();
});
