// Single use where it is hardest: two server processes on one PostgreSQL, asked at the same moment.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import type { Dispatcher } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { openStore, type Store } from '../../src/store.ts';
import { type ServerProcess, startServerProcess } from '../rotation/fleet.ts';
import { type ServerSettings, serverConfig } from '../rotation/scaled.ts';
import { engines, postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { atTheSameMoment } from '../support/same-moment.ts';
import { person } from '../support/signet.ts';
import { ageRotation, rotationsOf } from '../support/stored.ts';
import {
  asClient,
  authorizationRequest,
  authorize,
  redemption,
  type TokenAnswer,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

describe.skipIf(!engines.includes(postgres))('two server processes on one PostgreSQL', () => {
  let issuer: string;
  let settings: ServerSettings;
  let servers: ServerProcess[];
  let urls: string[];
  let store: Store;

  beforeAll(async () => {
    const port = await freePort();
    issuer = `http://localhost:${port}`;
    const directory = await mkdtemp(join(tmpdir(), 'signet-processes-'));
    settings = { issuer, port, directory, database: await postgres.freshUrl(), scaled: false };
    // At once: of the two, one makes the tables and the first key.
    servers = await Promise.all([
      startServerProcess(settings),
      freePort().then((other) => startServerProcess({ ...settings, port: other })),
    ]);
    urls = servers.map((server) => `http://127.0.0.1:${server.port}`);
    store = await openStore(serverConfig(settings), silentLog);
    const passwordHash = await bcrypt.hash(person.password, 4);
    await store.accounts.create({ email: person.email, roles: [], passwordHash }, 'test');
  });
  afterAll(async () => {
    await store.close();
    await Promise.all(servers.map((server) => server.stop()));
    await rm(settings.directory, { recursive: true, force: true });
  });

  const refreshAt = (url: string, token: string, dispatcher?: Dispatcher) =>
    tokenRequest(url, { grant_type: 'refresh_token', refresh_token: token }, { ...asClient('spa'), dispatcher });

  /** Fifty requests, every other one to the other process. */
  const fifty = (ask: (url: string, dispatcher: Dispatcher) => Promise<TokenAnswer>) =>
    atTheSameMoment(
      Array.from({ length: 50 }, (_, index) => urls[index % 2]!),
      ask,
    );

  async function redeeming(): Promise<Record<string, string>> {
    const request = authorizationRequest(issuer);
    return redemption(request, (await authorize(new UserAgent(issuer), request.url)).get('code')!);
  }

  test('give tokens for one of fifty redemptions of a code, and the grant ends when it is replayed later', async () => {
    const code = await redeeming();
    const answers = await fifty((url, dispatcher) => tokenRequest(url, code, { dispatcher }));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(49);

    const again = await redeeming();
    const { body: tokens } = await tokenRequest(urls[0]!, again);
    expect(await tokenRequest(urls[1]!, again)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(await refreshAt(urls[0]!, tokens.refresh_token)).toMatchObject({ body: { error: 'invalid_grant' } });
  });

  test('give fifty refreshes with one token the same successor; replayed later, it ends the grant', async () => {
    const {
      body: { refresh_token: token },
    } = await tokenRequest(urls[0]!, await redeeming());
    const answers = await fifty((url, dispatcher) => refreshAt(url, token, dispatcher));
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(await rotationsOf(store.db, token)).toBe(1);

    await ageRotation(store.db, token, 60);
    expect(await refreshAt(urls[1]!, token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const successor = answers[0]!.body.refresh_token;
    expect(await refreshAt(urls[0]!, successor)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });
});
