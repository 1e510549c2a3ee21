// /health/ready means that a write works: on SQLite with a real full disk, a lock of another process, a file that is
// taken away; on PostgreSQL with a lock.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { engines, postgres } from '../support/engines.ts';
import { startSignet, type TestServer } from '../support/signet.ts';
import { signIn, tokenRequest } from '../support/user-agent.ts';

/** A file system of a few megabytes, where this process may mount one. */
const disk = mkdtempSync(join(tmpdir(), 'signet-small-disk-'));
const isSmall = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]).status === 0;

const readiness = async ({ url }: TestServer) => (await fetch(`${url}/health/ready`)).status;
const becomes = (server: TestServer, status: number) =>
  vi.waitFor(async () => expect(await readiness(server)).toBe(status), { timeout: 20_000, interval: 100 });

describe('a server on SQLite', () => {
  const directories: string[] = [];
  afterAll(() => {
    if (isSmall) spawnSync('umount', ['-l', disk]);
    for (const directory of [disk, ...directories]) rmSync(directory, { recursive: true, force: true });
  });

  /** A server for one fault: what is the matter is told once for each outage. */
  async function startIn(directory: string) {
    const server = await startSignet({ database: `sqlite:${join(directory, 'signet.db')}` });
    onTestFinished(() => server.close());
    return server;
  }

  function freshDirectory(): string {
    directories.push(mkdtempSync(join(tmpdir(), 'signet-disk-')));
    return directories.at(-1)!;
  }

  const fullDisk = 'whose disk is full';
  /** What makes writing impossible, what ends that, and what the log says of it. */
  const faults: Array<[string, (file: (suffix?: string) => string) => () => void, RegExp]> = [
    [
      fullDisk,
      () => {
        const filler = join(disk, 'filler');
        spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k']);
        return () => rmSync(filler);
      },
      /is full/,
    ],
    [
      'whose file another process holds',
      (file) => {
        const other = new DatabaseSync(file());
        other.exec('begin immediate');
        return () => {
          other.exec('rollback');
          other.close();
        };
      },
      /another process holds/,
    ],
    [
      'whose file was moved away',
      (file) => {
        renameSync(file(), file('.moved'));
        return () => renameSync(file('.moved'), file());
      },
      /deleted, moved or replaced.*moving it back/,
    ],
    [
      'whose file was replaced by another',
      (file) => {
        renameSync(file(), file('.moved'));
        new DatabaseSync(file('.other')).close();
        writeFileSync(file(), '');
        return () => renameSync(file('.moved'), file());
      },
      /deleted, moved or replaced/,
    ],
    [
      'whose log was deleted',
      (file) => {
        renameSync(file('-wal'), file('-wal.moved'));
        return () => renameSync(file('-wal.moved'), file('-wal'));
      },
      /signet\.db-wal was deleted/,
    ],
  ];

  test.for(faults)(
    '%s is not ready, acknowledges nothing, says what to do, and goes on when it can',
    async ([name, begin, said], { skip }) => {
      if (name === fullDisk && !isSmall) skip('this process may not mount a file system');
      const directory = name === fullDisk ? disk : freshDirectory();
      const server = await startIn(directory);
      const { refresh_token: token } = (await signIn(server.issuer)).tokens;
      const refresh = async () =>
        (
          await tokenRequest(server.issuer, {
            grant_type: 'refresh_token',
            refresh_token: String(token),
          })
        ).status;
      await becomes(server, 200);
      const end = begin((suffix = '') => join(directory, `signet.db${suffix}`));
      await becomes(server, 503);
      expect(await refresh()).toBe(503);
      expect(server.logged()).toMatch(said);
      end();
      await becomes(server, 200);
      expect(await refresh()).toBe(200);
    },
  );

  test('is asked once a second, whoever asks and however often', async () => {
    const server = await startIn(freshDirectory());
    await becomes(server, 200);
    const version = async () =>
      (
        await server.store.db.query<{ version: number }>(
          `select version from announcements where channel = 'write check'`,
        )
      ).rows[0]!.version;
    const [before, began] = [await version(), performance.now()];
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(Array.from({ length: 40 }, () => readiness(server)));
    }
    const seconds = Math.ceil((performance.now() - began) / 1_000);
    expect((await version()) - before).toBeLessThanOrEqual(seconds + 1);
  });
});

describe.runIf(engines.includes(postgres))('a server on PostgreSQL', () => {
  test('where a write has to wait for ever is not ready', async () => {
    const url = await postgres.freshUrl();
    const server = await startSignet({ database: url });
    onTestFinished(() => server.close());
    await becomes(server, 200);
    const admin = new pg.Client({ connectionString: url });
    await admin.connect();
    onTestFinished(() => admin.end());
    await admin.query('begin; lock table announcements in access exclusive mode');
    await becomes(server, 503);
    await admin.query('rollback');
    await becomes(server, 200);
  });
});
