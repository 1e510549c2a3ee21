// Two real PostgreSQL servers with streaming replication, whose parts can be exchanged as an operator does it: the
// primary stops, the standby is promoted, and the old primary comes back as its standby.

import { spawnSync } from 'node:child_process';
import { appendFileSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { findPostgres } from '../../scripts/services.ts';
import { freePort } from './ports.ts';
import { createDatabase, initialise, ownerOfServer, start } from './postgres.ts';
import { onProcessEnd } from './process-end.ts';

export interface PostgresPair {
  /** The ports of both; which of them is the primary changes. */
  ports: [number, number];
  /** An empty database on the present primary. */
  createDatabase(): Promise<string>;
  stopPrimary(): void;
  promoteStandby(): void;
  /** After `stopPrimary` and `promoteStandby`. */
  returnAsStandby(): Promise<void>;
  stop(): void;
}

export async function startPostgresPair(): Promise<PostgresPair> {
  const bin = findPostgres();
  if (bin === undefined) throw new Error('PostgreSQL is not installed: npm test says how to get it');
  const owner = ownerOfServer();
  const directory = mkdtempSync(join(tmpdir(), 'signet-pair-'));
  if (owner) chownSync(directory, owner.uid, owner.gid);
  const asOwner = { ...owner, cwd: directory, env: { PATH: process.env.PATH, LC_ALL: 'C' } };
  const ports: [number, number] = [await freePort(), await freePort()];
  const data = ports.map((port) => join(directory, String(port)));
  let primary = 0;
  const run = (program: string, args: string[]) => {
    const { status, stderr } = spawnSync(join(bin, program), args, { ...asOwner, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  };
  const follow = (standby: number) => {
    const of = ports[1 - standby];
    appendFileSync(
      join(data[standby]!, 'postgresql.auto.conf'),
      `primary_conninfo = 'host=127.0.0.1 port=${of} user=signet'\nrecovery_target_timeline = 'latest'\n`,
    );
    writeFileSync(join(data[standby]!, 'standby.signal'), '');
  };
  const stop = () => {
    forget();
    for (const each of data) spawnSync(join(bin, 'pg_ctl'), ['stop', '-D', each, '-m', 'immediate', '-w'], asOwner);
    rmSync(directory, { recursive: true, force: true });
  };
  const forget = onProcessEnd(stop);

  initialise(bin, data[0]!, asOwner);
  await start(bin, data[0]!, ports[0], asOwner);
  run('pg_basebackup', [
    '-D',
    data[1]!,
    '-h',
    '127.0.0.1',
    '-p',
    String(ports[0]),
    '-U',
    'signet',
    '-c',
    'fast',
    '-X',
    'stream',
  ]);
  follow(1);
  await start(bin, data[1]!, ports[1], asOwner);

  return {
    ports,
    createDatabase: () => createDatabase(`postgres://signet@127.0.0.1:${ports[primary]}/postgres`),
    // Not before the standby has everything: what "fast" waits for.
    stopPrimary: () => run('pg_ctl', ['stop', '-D', data[primary]!, '-m', 'fast', '-w']),
    promoteStandby() {
      run('pg_ctl', ['promote', '-D', data[1 - primary]!, '-w']);
      primary = 1 - primary;
    },
    async returnAsStandby() {
      follow(1 - primary);
      await start(bin, data[1 - primary]!, ports[1 - primary]!, asOwner);
    },
    stop,
  };
}

/** Waits until the standby at `url` has the database, and everything that was written to it. */
export async function untilThere(url: string): Promise<void> {
  for (;;) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.query('select 1 from notes limit 1');
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await client.end().catch(() => {});
    }
  }
}
