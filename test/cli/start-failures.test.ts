// A start that fails for a reason outside of Signet says which, and what to do: never that it was not expected.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { engines, postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { openTerminal } from './terminal.ts';

async function start(env: NodeJS.ProcessEnv) {
  const terminal = await openTerminal();
  onTestFinished(() => terminal.leave());
  const said = await terminal.signet('serve', { env: { SIGNET_LISTEN_PORT: String(await freePort()), ...env } });
  expect(said.err).not.toContain('not expected');
  expect(said.err).not.toContain('hunter2');
  return said;
}

describe.runIf(engines.includes(postgres))('where PostgreSQL is the reason', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres({
      hba: [
        'host all signet 127.0.0.1/32 trust',
        'host all walled 127.0.0.1/32 scram-sha-256',
        'hostssl all sealed 127.0.0.1/32 trust',
        'host all limited 127.0.0.1/32 trust',
        'host all guest 127.0.0.1/32 trust',
      ],
    });
    const admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
    await admin.query("create role walled login password 'right'; create role sealed login; create role guest login");
    await admin.query('create role limited login connection limit 0');
    await admin.end();
  });
  afterAll(() => server?.stop());

  test.each<[string, (port: number) => string, RegExp, RegExp]>([
    ['does not listen there', () => 'postgres://signet@127.0.0.1:1/postgres', /ECONNREFUSED/, /host and port/],
    [
      'has a host that nobody knows',
      () => 'postgres://signet@nowhere.invalid/postgres',
      /host of the database URL/,
      /DNS/,
    ],
    [
      'refuses the password',
      (port) => `postgres://walled:hunter2@127.0.0.1:${port}/postgres`,
      /user and password/,
      /Check user and password/,
    ],
    [
      'wants a password and gets none',
      (port) => `postgres://walled@127.0.0.1:${port}/postgres`,
      /user and password/,
      /Check user and password/,
    ],
    ['has no such database', (port) => `postgres://signet@127.0.0.1:${port}/nothing`, /does not exist/, /createdb/],
    ['has no such user', (port) => `postgres://nobody@127.0.0.1:${port}/postgres`, /let this user in/, /pg_hba\.conf/],
    [
      'lets this user in over TLS alone',
      (port) => `postgres://sealed@127.0.0.1:${port}/postgres`,
      /no encryption/,
      /sslmode=verify-full/,
    ],
    [
      'has no TLS, which the URL asks for',
      (port) => `postgres://signet@127.0.0.1:${port}/postgres?sslmode=verify-full`,
      /about TLS/,
      /sslmode=disable/,
    ],
    [
      'is out of connections',
      (port) => `postgres://limited@127.0.0.1:${port}/postgres`,
      /out of connections/,
      /max_connections.*pool_max_conns/,
    ],
    [
      'lets this user make no tables',
      (port) => `postgres://guest@127.0.0.1:${port}/postgres`,
      /permission denied for schema/,
      /grant create, usage on schema public/,
    ],
  ])('it %s', async (_name, url, error, hint) => {
    const { exitCode, err } = await start({ SIGNET_DATABASE_URL: url(server.port) });
    expect([exitCode, err]).toEqual([1, expect.stringMatching(error)]);
    expect(err).toMatch(new RegExp(`\\nhint: .*${hint.source}`));
  });

  test.each([
    ['sslmod=require', /did you mean sslmode\?/],
    ['statement_timout=5', /did you mean statement_timeout\?/],
    ['sslmode=always', /sslmode that must be one of disable/],
    ['target_session_attrs=standby', /Signet writes/],
    ['schema=public', /parameter schema, which is not known/],
    ['pool_max_conns=0', /pool_max_conns that must be/],
    ['statement_timeout=5s', /must be a whole number/],
    ['sslmode=disable&sslmode=require', /sslmode twice/],
  ])('a parameter of the URL that would be swallowed is refused: %s', async (parameter, error) => {
    const { exitCode, err } = await start({ SIGNET_DATABASE_URL: `postgres://signet@127.0.0.1/x?${parameter}` });
    expect([exitCode, err]).toEqual([2, expect.stringMatching(error)]);
  });
});

describe('where a file system is the reason', () => {
  const home = mkdtempSync(join(tmpdir(), 'signet-start-'));
  const mount = (name: string, options: string) => {
    const directory = join(home, name);
    mkdirSync(directory);
    return spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory]).status === 0;
  };
  const mayMount = mount('read-only', 'ro') && mount('full', 'size=16k');
  writeFileSync(join(home, 'file'), 'text');
  afterAll(() => {
    for (const name of ['read-only', 'full']) spawnSync('umount', ['-l', join(home, name)]);
    rmSync(home, { recursive: true, force: true });
  });

  test.for<[string, NodeJS.ProcessEnv, RegExp, RegExp]>([
    [
      'the database would be on a read-only file system',
      { SIGNET_DATABASE_URL: `sqlite:${home}/read-only/signet.db` },
      /read-only/,
      /Mount it/,
    ],
    [
      'the disk of the database is full',
      { SIGNET_DATABASE_URL: `sqlite:${home}/full/signet.db` },
      /full/,
      /free space/,
    ],
    [
      'the master key would be on a read-only file system',
      { SIGNET_KEYS_MASTER_KEY_FILE: `${home}/read-only/master.key` },
      /master key .* cannot be created/,
      /keys\.masterKeyFile/,
    ],
    [
      'part of the path of the database is a file',
      { SIGNET_DATABASE_URL: `sqlite:${home}/file/signet.db` },
      /is a file/,
      /database\.url/,
    ],
    ['the database is a directory', { SIGNET_DATABASE_URL: `sqlite:${home}` }, /directory/, /Name a file/],
    [
      'the database is something else',
      { SIGNET_DATABASE_URL: `sqlite:${home}/other` },
      /no SQLite database/,
      /database\.url/,
    ],
  ])('%s', async ([_name, env, error, hint], { skip }) => {
    const isMounted = /\/(read-only|full)\//.test(Object.values(env).join());
    if (isMounted && !mayMount) skip('this process may not mount a file system');
    writeFileSync(
      join(home, 'other'),
      'a text that was here first, and is longer than the header of SQLite. '.repeat(40),
    );
    const { exitCode, err } = await start(env);
    expect([exitCode, err]).toEqual([1, expect.stringMatching(error)]);
    expect(err).toMatch(new RegExp(`\\nhint: .*${hint.source}`));
  });
});
