// A real PostgreSQL server for tests: its own data directory, its own port on 127.0.0.1, gone afterwards. Durability is
// off, because nothing here outlives the run. Most tests want a database of the shared server: see engines.ts.

import type { SpawnOptions } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';

import { findPostgres } from '../../scripts/services.ts';
import { freePort } from './ports.ts';
import { onProcessEnd } from './process-end.ts';

export interface PostgresServer {
  /** The maintenance database, as a superuser. */
  url: string;
  port: number;
  /** Makes an empty database and gives its URL. */
  createDatabase(): Promise<string>;
  /** Stops the server and removes its data. */
  stop(): Promise<void>;
}

/** `hba`: lines of pg_hba.conf, in place of letting everybody in from this machine. */
export async function startPostgres({ hba }: { hba?: string[] } = {}): Promise<PostgresServer> {
  const bin = findPostgres();
  if (bin === undefined) throw new Error('PostgreSQL is not installed: npm test says how to get it');
  const owner = ownerOfServer();
  const directory = mkdtempSync(join(tmpdir(), 'signet-postgres-'));
  if (owner) chownSync(directory, owner.uid, owner.gid);
  const data = join(directory, 'data');
  const asOwner = { ...owner, cwd: directory, env: { PATH: process.env.PATH, LC_ALL: 'C' } };
  // pg_ctl waits until the last file is written, so that all can be removed; where no server runs, it only says so.
  const remove = () => {
    spawnSync(join(bin, 'pg_ctl'), ['stop', '-D', data, '-m', 'immediate', '-w'], asOwner);
    rmSync(directory, { recursive: true, force: true });
  };
  const forget = onProcessEnd(remove);
  const stop = async () => {
    forget();
    remove();
  };

  const port = await freePort();
  try {
    initialise(bin, data, asOwner);
    if (hba) writeFileSync(join(data, 'pg_hba.conf'), `${hba.join('\n')}\n`);
    await start(bin, data, port, asOwner);
  } catch (error) {
    await stop();
    throw error;
  }
  const url = `postgres://signet@127.0.0.1:${port}/postgres`;
  return {
    url,
    port,
    createDatabase: () => createDatabase(url),
    stop,
  };
}

/** Makes a database on the server at `adminUrl`, empty or like the one at `templateUrl`, and gives its URL. */
export async function createDatabase(adminUrl: string, templateUrl?: string): Promise<string> {
  const template = templateUrl ? ` template ${new URL(templateUrl).pathname.slice(1)}` : '';
  const name = `signet_${randomBytes(6).toString('hex')}`;
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  await admin.query(`create database ${name}${template}`);
  await admin.end();
  return new URL(`/${name}`, adminUrl).href;
}

// PostgreSQL refuses to run as root.
export function ownerOfServer(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string, user: string) => Number(spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout || NaN);
  const user = ['postgres', 'nobody'].find((name) => !Number.isNaN(id('-u', name)));
  if (user === undefined) throw new Error('PostgreSQL refuses to run as root, and there is no user postgres or nobody');
  return { uid: id('-u', user), gid: id('-g', user) };
}

export function initialise(bin: string, data: string, asOwner: SpawnOptions): void {
  const { status, stderr, error } = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'signet', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'],
    { ...asOwner, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`initdb failed: ${stderr || error}`);
}

/** Resolves when it accepts connections, as a standby read-only ones. */
export function start(bin: string, data: string, port: number, asOwner: SpawnOptions): Promise<void> {
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: dirname(data),
    max_connections: 200,
    shared_buffers: '32MB',
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
  };
  const args = ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  const server = spawn(join(bin, 'postgres'), args, { ...asOwner, stdio: ['ignore', 'ignore', 'pipe'] });
  return new Promise((resolve, reject) => {
    let output = '';
    server.stderr!.on('data', (chunk: Buffer) => {
      output = `${output}${chunk}`.slice(-4_000);
      if (/ready to accept (read-only )?connections/.test(output)) resolve();
    });
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`PostgreSQL did not start: ${output}`)));
  });
}
