// Clocks that are apart by no more than is allowed (keys.clockSkew), with every setting as it comes: what one server
// makes is good at the other and at a service at once, whichever of them is fast. No time is scaled.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { openStore } from '../../src/store.ts';
import { createVerifier } from '../../src/verifier/index.ts';
import { engines, postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { callback, ordersApi, person } from '../support/signet.ts';
import {
  asClient,
  authorizationRequest,
  authorize,
  redemption,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';
import type { Balancer } from './balancer.ts';
import { startBalancer } from './balancer.ts';
import type { ServerProcess } from './fleet.ts';
import { startServerProcess } from './fleet.ts';
import type { ServerSettings } from './scaled.ts';
import { serverConfig } from './scaled.ts';

describe.skipIf(!engines.includes(postgres))('two servers on one PostgreSQL, one of them right', () => {
  let issuer: string;
  let settings: Omit<ServerSettings, 'port'>;
  let right: ServerProcess;
  let balancer: Balancer;
  /** The port of the server that is asked now, alone. */
  const asked: number[] = [];

  beforeAll(async () => {
    const front = await freePort();
    issuer = `http://localhost:${front}`;
    const directory = await mkdtemp(join(tmpdir(), 'signet-clocks-'));
    settings = { issuer, directory, database: await postgres.freshUrl(), scaled: false };
    right = await startServerProcess({ ...settings, port: await freePort() });
    balancer = await startBalancer(front, asked);
    const store = await openStore(serverConfig({ ...settings, port: right.port }), silentLog);
    const passwordHash = await bcrypt.hash(person.password, 4);
    await store.accounts.create({ email: person.email, roles: [], passwordHash }, 'test');
    await store.close();
  }, 60_000);
  afterAll(async () => {
    await balancer.close();
    await right.stop();
    await rm(settings.directory, { recursive: true, force: true });
  });

  const ask = ({ port }: ServerProcess) => {
    asked[0] = port;
  };

  /** A service that starts now and knows one server only. */
  async function expectGood(accessToken: string): Promise<void> {
    const verifier = createVerifier({ issuer, audience: ordersApi });
    await expect(verifier.verify(accessToken)).resolves.toMatchObject({ audience: [ordersApi] });
    verifier.close();
  }

  async function exchange(parameters: Record<string, string>, clientId = 'spa'): Promise<Record<string, any>> {
    const { status, body } = await tokenRequest(issuer, { resource: ordersApi, ...parameters }, asClient(clientId));
    expect([status, body.error]).toEqual([200, undefined]);
    return body;
  }

  /** A sign-in at one and everything after it at the other; what each issues is shown to a service of either. */
  async function signInAndGoOn(one: ServerProcess, other: ServerProcess): Promise<void> {
    ask(one);
    const request = authorizationRequest(issuer, { resource: ordersApi, redirect_uri: callback });
    const code = (await authorize(new UserAgent(issuer), request.url)).get('code')!;
    ask(other);
    const { access_token: first, refresh_token: refreshToken } = await exchange(redemption(request, code));
    await expectGood(first);
    ask(one);
    await expectGood(first);
    const refreshed = await exchange({ grant_type: 'refresh_token', refresh_token: refreshToken });
    ask(other);
    await exchange({ grant_type: 'refresh_token', refresh_token: refreshed.refresh_token });
    await expectGood(refreshed.access_token);
    const { access_token: own } = await exchange({ grant_type: 'client_credentials' }, 'service');
    ask(one);
    await expectGood(own);
  }

  test.each([50, -59, 60])(
    'and one off by %i s: codes, refreshes and tokens are good at once',
    async (seconds) => {
      const off = await startServerProcess({ ...settings, port: await freePort() }, { clockShiftMs: seconds * 1000 });
      try {
        await signInAndGoOn(right, off);
        await signInAndGoOn(off, right);
        expect([...right.log, ...off.log].filter(({ level }) => level === 'error')).toEqual([]);
      } finally {
        await off.stop();
      }
    },
    60_000,
  );
});
