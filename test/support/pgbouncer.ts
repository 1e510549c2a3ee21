// A real PgBouncer before a PostgreSQL server, for tests: its own port on 127.0.0.1, gone afterwards.

import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPgBouncer } from '../../scripts/services.ts';
import { freePort } from './ports.ts';
import { ownerOfServer } from './postgres.ts';
import { onProcessEnd } from './process-end.ts';

/** Where `npm test` could not get PgBouncer: its tests are then skipped, which it says, and which fails on CI. */
export const noPgBouncer = Boolean(process.env.SIGNET_TEST_NO_PGBOUNCER);

export interface PgBouncer {
  port: number;
  stop(): Promise<void>;
}

export interface PgBouncerSettings {
  pool_mode: 'session' | 'transaction';
  default_pool_size?: number;
  max_client_conn?: number;
}

/** Sends every database on to the server at `target`, the port of one on 127.0.0.1. */
export async function startPgBouncer(target: number, settings: PgBouncerSettings): Promise<PgBouncer> {
  const program = findPgBouncer();
  if (program === undefined) throw new Error('PgBouncer is not installed: npm test says how to get it');
  const directory = mkdtempSync(join(tmpdir(), 'signet-pgbouncer-'));
  const owner = ownerOfServer(); // it refuses to run as root, too
  const port = await freePort();
  const lines = Object.entries({
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    ...settings,
  }).map(([name, value]) => `${name} = ${value}`);
  const file = join(directory, 'pgbouncer.ini');
  const databases = `* = host=127.0.0.1 port=${target} user=signet`;
  writeFileSync(file, `[databases]\n${databases}\n[pgbouncer]\n${lines.join('\n')}\n`);
  if (owner) for (const path of [directory, file]) chownSync(path, owner.uid, owner.gid);
  const process = spawn(program, [file], { ...owner, cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
  const forget = onProcessEnd(() => void process.kill('SIGKILL'));
  await untilUp(process);
  return {
    port,
    async stop() {
      forget();
      const ended = new Promise((resolve) => process.once('exit', resolve));
      process.kill('SIGKILL');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function untilUp(process: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    process.stderr!.on('data', (chunk: Buffer) => {
      output = `${output}${chunk}`.slice(-4_000);
      if (output.includes('process up')) resolve();
    });
    process.once('error', reject);
    process.once('exit', () => reject(new Error(`PgBouncer did not start: ${output}`)));
  });
}
