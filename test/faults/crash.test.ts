// A server that is killed may have committed a refresh and not have answered it. Whoever repeats that refresh once the
// server is back is no thief, however long it was away. What the database has is aged instead of waited for.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { openStore, type Store } from '../../src/store.ts';
import { type ServerProcess, startServerProcess } from '../rotation/fleet.ts';
import { type ServerSettings, serverConfig } from '../rotation/scaled.ts';
import { sqlite } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { person } from '../support/signet.ts';
import { handleOf } from '../support/stored.ts';
import { asClient, signIn, type TokenAnswer, tokenRequest } from '../support/user-agent.ts';

describe('a refresh that a server answered, or not, before it was gone', () => {
  let settings: ServerSettings;
  let server: ServerProcess | undefined;
  let store: Store;
  let first: string;
  let answer: TokenAnswer;

  beforeAll(async () => {
    const port = await freePort();
    settings = {
      issuer: `http://localhost:${port}`,
      port,
      database: await sqlite.freshUrl(),
      scaled: false,
      directory: await mkdtemp(join(tmpdir(), 'signet-crash-')),
      sweepEveryMs: 50,
    };
    store = await openStore(serverConfig(settings), silentLog);
    const passwordHash = await bcrypt.hash(person.password, 4);
    await store.accounts.create({ email: person.email, roles: [], passwordHash }, 'test');
  });
  afterAll(async () => {
    await store.close();
    await server?.stop();
    await rm(settings.directory, { recursive: true, force: true });
  });

  const start = async () => {
    server = await startServerProcess(settings);
  };
  const refresh = (token: string) =>
    tokenRequest(settings.issuer, { grant_type: 'refresh_token', refresh_token: token }, asClient('device'));
  const kill = async () => {
    server!.kill();
    await server!.ended;
    server = undefined;
  };

  /** So long ago was everything that the database knows of tokens and servers. */
  async function pass(seconds: number): Promise<void> {
    const by = seconds * 1000;
    await store.db.query('update refresh_tokens set rotated_at = rotated_at - $1 where rotated_at is not null', [by]);
    const whose = server ? 'where found_dead_at is not null' : ''; // one that runs says so again
    await store.db.query(
      `update server_runs set alive_at = alive_at - $1, found_dead_at = found_dead_at - $1 ${whose}`,
      [by],
    );
  }

  beforeEach(async () => {
    if (!server) await start();
    // Who died in the test before is none of this one's.
    await store.db.query('delete from server_runs where found_dead_at is not null');
    const native = { clientId: 'device', parameters: { redirect_uri: 'http://127.0.0.1/callback' } };
    first = (await signIn(settings.issuer, native)).tokens.refresh_token;
    answer = await refresh(first);
    expect(answer.status).toBe(200);
  });

  test.each([45, 3000])(
    'killed, and back after %i s: it may be repeated, and the grant lives',
    async (away) => {
      await kill();
      await pass(away);
      await start();
      const repeated = await refresh(first);
      expect([repeated.status, handleOf(repeated.body.refresh_token)]).toEqual([
        200,
        handleOf(answer.body.refresh_token),
      ]);
      expect((await refresh(answer.body.refresh_token)).status).toBe(200);
      // Its owner has used what came of it: now it can only be somebody else.
      expect((await refresh(first)).body.error).toBe('invalid_grant');
    },
    60_000,
  );

  test('killed, and back for longer than the grace: a repetition ends the grant', async () => {
    await kill();
    await pass(45);
    await start();
    await pass(31);
    expect((await refresh(first)).body.error).toBe('invalid_grant');
    expect((await refresh(answer.body.refresh_token)).body.error).toBe('invalid_grant');
  }, 60_000);

  test('answered well before it was killed: a repetition ends the grant', async () => {
    await store.db.query('update refresh_tokens set rotated_at = rotated_at - 20000 where rotated_at is not null');
    await kill();
    await pass(45);
    await start();
    expect((await refresh(first)).body.error).toBe('invalid_grant');
    expect((await refresh(answer.body.refresh_token)).body.error).toBe('invalid_grant');
  }, 60_000);

  test('stopped, not killed: everything was answered, and a repetition after the grace ends the grant', async () => {
    await server!.stop();
    await pass(45);
    await start();
    expect((await refresh(first)).body.error).toBe('invalid_grant');
  }, 60_000);
});
