// An older copy of the database comes back: restored from a backup, or as the standby that had not heard of everything.
// It is noticed, told, and no status index is given away a second time.

import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createLog } from '../../src/log.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { openStore } from '../../src/store.ts';
import { engines, postgres, sqlite } from '../support/engines.ts';
import { startSignet, type TestServer } from '../support/signet.ts';
import { decode, signIn } from '../support/user-agent.ts';

interface Copies {
  /** Puts a copy of the database aside. */
  take(): Promise<void>;
  /** In the place of the database, whoever is connected to it. */
  putBack(): Promise<void>;
}

/** The file alone, as somebody copies it back: the server that used it was stopped, so it is whole. */
function copiesOfFile(url: string): Copies {
  const file = url.slice('sqlite:'.length);
  return {
    take: () => copyFile(file, `${file}.copy`),
    async putBack() {
      for (const suffix of ['-wal', '-shm']) await rm(file + suffix, { force: true });
      await copyFile(`${file}.copy`, file);
    },
  };
}

function copiesOfDatabase(url: string): Copies {
  const name = new URL(url).pathname.slice(1);
  async function asAdministrator(...statements: string[]): Promise<void> {
    const client = new pg.Client({ connectionString: new URL('/postgres', url).href });
    await client.connect();
    for (const statement of statements) await client.query(statement);
    await client.end();
  }
  const aloneIn = (database: string) => [
    `alter database ${database} allow_connections false`,
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}'`,
  ];
  return {
    take: () =>
      asAdministrator(
        ...aloneIn(name),
        `create database ${name}_copy template ${name}`,
        `alter database ${name} allow_connections true`,
      ),
    putBack: () =>
      asAdministrator(
        ...aloneIn(name),
        `alter database ${name} rename to ${name}_lost`,
        `alter database ${name}_copy rename to ${name}`,
      ),
  };
}

/** What the tokens of a new sign-in bear, as `list/idx`. */
async function newStatus({ issuer }: { issuer: string }): Promise<string> {
  const { tokens } = await signIn(issuer);
  const { uri, idx } = decode(tokens.access_token).payload.status.status_list;
  return `${uri.slice(uri.lastIndexOf('/') + 1)}/${idx}`;
}

async function expectNoticed({ store, logged }: TestServer, log: () => string): Promise<void> {
  const events = await store.audit.list({ event: 'database.set_back' });
  expect(events).toHaveLength(1);
  expect(await store.audit.verify()).toMatchObject({ ok: true });
  const line = `${logged()}${log()}`.split('\n').find((each) => each.includes('"database.set_back"'));
  expect(JSON.parse(line!)).toMatchObject({ level: 'error', hint: expect.stringContaining('docs/operations.md') });
}

describe.each(engines)('an older copy of the database, on $name', ({ name, freshUrl }) => {
  const copiesOf = name === 'sqlite' ? copiesOfFile : copiesOfDatabase;

  test('that comes back while no server runs is noticed at the start, and no status index is given twice', async () => {
    const database = await freshUrl();
    const copies = copiesOf(database);
    const directory = await mkdtemp(join(tmpdir(), 'signet-older-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const first = await startSignet({ database, directory, parts: { aliveEveryMs: 50 } });
    const { config } = first;
    const given = [await newStatus(first)];
    await first.close();
    await copies.take();

    // What is given out now, the copy knows nothing of.
    const lines: string[] = [];
    const log = createLog('debug', (line) => lines.push(line));
    let running: RunningServer = await startServer(config, log);
    for (let count = 0; count < 3; count += 1) given.push(await newStatus(config));
    await running.close();
    expect(lines.join('')).not.toContain('database.set_back');

    await copies.putBack();
    running = await startServer(config, log);
    onTestFinished(() => running.close());
    for (let count = 0; count < 4; count += 1) given.push(await newStatus(config));
    expect(new Set(given).size).toBe(given.length);
    const lists = given.map((status) => status.split('/')[0]);
    expect(new Set(lists.slice(0, 4)).has(lists[4]!)).toBe(false);
    const store = await openStore(config, log);
    await expectNoticed({ ...first, store }, () => lines.join(''));
    await store.close();
    // Once: the next start finds it as it is.
    await running.close();
    running = await startServer(config, log);
    expect(lines.filter((line) => line.includes('"database.set_back"'))).toHaveLength(1);
  }, 120_000);
});

describe.skipIf(!engines.includes(postgres))('an older copy of the database, under a server that runs', () => {
  test('is noticed within seconds, and no status index is given twice', async () => {
    const database = await postgres.freshUrl();
    const copies = copiesOfDatabase(database);
    const server = await startSignet({ database, parts: { aliveEveryMs: 50 } });
    onTestFinished(() => server.close());
    const given = [await newStatus(server)];
    await copies.take();
    for (let count = 0; count < 3; count += 1)
      given.push(await vi.waitFor(() => newStatus(server), { timeout: 20_000 }));
    await copies.putBack();
    await vi.waitFor(() => expect(server.logged()).toContain('"database.set_back"'), { timeout: 30_000, interval: 50 });
    for (let count = 0; count < 4; count += 1)
      given.push(await vi.waitFor(() => newStatus(server), { timeout: 20_000 }));
    expect(new Set(given).size).toBe(given.length);
    await expectNoticed(server, () => '');
  }, 120_000);
});

test('another database, with the same master key, is no older copy', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'signet-older-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const first = await startSignet({ database: await sqlite.freshUrl(), directory, parts: { aliveEveryMs: 20 } });
  await first.close();
  const other = await startSignet({ database: await sqlite.freshUrl(), directory });
  expect(other.logged()).not.toContain('database.set_back');
  await other.close();
});
