// A real PostgreSQL server for tests: its own data directory, its own port on 127.0.0.1, gone afterwards. Durability is
// off, because nothing here outlives the run. Most tests want a database of the shared server: see engines.ts.

import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';

import { findPostgres } from '../../scripts/services.ts';

export interface PostgresServer {
  /** The maintenance database, as a superuser. */
  url: string;
  port: number;
  /** Makes an empty database and gives its URL. */
  createDatabase(): Promise<string>;
  /** Stops the server and removes its data. */
  stop(): Promise<void>;
}

export async function startPostgres(): Promise<PostgresServer> {
  const bin = findPostgres();
  if (bin === undefined) throw new Error('PostgreSQL is not installed: npm test says how to get it');
  const owner = ownerOfServer();
  const directory = mkdtempSync(join(tmpdir(), 'signet-postgres-'));
  if (owner) chownSync(directory, owner.uid, owner.gid);
  const data = join(directory, 'data');
  const asOwner = { ...owner, cwd: directory, env: { PATH: process.env.PATH, LC_ALL: 'C' } };

  const initdb = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'signet', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'],
    { ...asOwner, encoding: 'utf8' },
  );
  if (initdb.status !== 0) throw new Error(`initdb failed: ${initdb.stderr || initdb.error}`);

  const port = await freePort();
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: directory,
    max_connections: 200,
    shared_buffers: '32MB',
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
  };
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...asOwner, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const forget = removeWhenProcessEnds(server, directory);
  await readiness(server);

  const url = `postgres://signet@127.0.0.1:${port}/postgres`;
  return {
    url,
    port,
    createDatabase: () => createDatabase(url),
    async stop() {
      await terminated(server);
      rmSync(directory, { recursive: true, force: true });
      forget();
    },
  };
}

/** Makes an empty database on the server at `adminUrl` and gives its URL. */
export async function createDatabase(adminUrl: string): Promise<string> {
  const name = `signet_${randomBytes(6).toString('hex')}`;
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  return new URL(`/${name}`, adminUrl).href;
}

// PostgreSQL refuses to run as root.
function ownerOfServer(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string, user: string) => Number(spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout || NaN);
  const user = ['postgres', 'nobody'].find((name) => !Number.isNaN(id('-u', name)));
  if (user === undefined) throw new Error('PostgreSQL refuses to run as root, and there is no user postgres or nobody');
  return { uid: id('-u', user), gid: id('-g', user) };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function readiness(server: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    server.stderr!.on('data', (chunk: Buffer) => {
      output = `${output}${chunk}`.slice(-4_000);
      if (output.includes('ready to accept connections')) resolve();
    });
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`PostgreSQL did not start: ${output}`)));
  });
}

// SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one.
async function terminated(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exited = new Promise((resolve) => server.once('exit', resolve));
  server.kill('SIGINT');
  const impatience = setTimeout(() => server.kill('SIGQUIT'), 5_000);
  await exited;
  clearTimeout(impatience);
}

/** The server goes even where nobody gets to call stop(): a failed run, Ctrl-C, a CI job that is cancelled. */
function removeWhenProcessEnds(server: ChildProcess, directory: string): () => void {
  const remove = () => {
    server.kill('SIGQUIT');
    rmSync(directory, { recursive: true, force: true });
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (signal: NodeJS.Signals) => {
    remove();
    forget();
    // Where nobody else answers the signal, it does what it would have done without us.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const forget = () => {
    process.off('exit', remove);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.once('exit', remove);
  for (const signal of signals) process.once(signal, onSignal);
  return forget;
}
