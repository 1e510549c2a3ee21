import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openDatabase } from '../../src/database/open.ts';
import { engines, postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { normalised, openTerminal } from './terminal.ts';

const signet = fileURLToPath(new URL('../../signet.js', import.meta.url));

let directory: string;
let port: number;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'signet-cli-'));
  port = await freePort();
});

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

/** The real thing, in a process of its own. */
function start(
  words: readonly string[],
  input: string | Buffer = '',
  nodeOptions: readonly string[] = [],
  { cwd = directory, env = {} } = {},
) {
  const child = spawn(process.execPath, [...nodeOptions, signet, ...words], {
    cwd,
    env: {
      PATH: process.env['PATH'],
      SIGNET_LISTEN_PORT: String(port),
      SIGNET_PASSWORDS_BCRYPT_COST: '4',
      SIGNET_LOG_LEVEL: 'warn',
      ...env,
    },
  });
  running.add(child);
  const said = { out: '', err: '' };
  child.stdout.on('data', (text) => {
    said.out += text;
  });
  child.stderr.on('data', (text) => {
    said.err += text;
  });
  child.stdin.end(input);
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child);
    return { exitCode: code as number, ...said };
  });
  const says = async (words: string, where: 'out' | 'err' = 'out') => {
    const stream = where === 'out' ? child.stdout : child.stderr;
    while (!said[where].includes(words)) await Promise.race([once(stream, 'data'), failed()]);
    return said;
  };
  const failed = async () => {
    throw new Error(`signet ended: ${JSON.stringify(await ended)}`);
  };
  return { child, says, ended };
}

test('a node that cannot read TypeScript is told for what it is, with the one that can', async () => {
  // What an older one lacks, a newer one leaves out on request.
  const { exitCode, out, err } = await start(['serve'], '', ['--no-experimental-strip-types']).ended;
  expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
  expect(err).toMatch(
    /^error: this is Node .*22\.18 or newer.*\nhint: npm ci installs one: .*node_modules\/\.bin\/node signet\.js/,
  );
});

describe('signet serve, for the first time and then again', () => {
  test('the first administrator is told once, and a signal stops the server', async () => {
    const server = start(['serve']);
    const { out } = await server.says('Ctrl-C stops the server.\n');
    expect(await readdir(directory)).toEqual(['data', 'keys']);
    const terminal = await openTerminal({ directory });
    const transcript = normalised(out.replaceAll(String(port), '3000'), terminal);
    await expect(transcript).toMatchFileSnapshot(fileURLToPath(new URL('first-start.golden.txt', import.meta.url)));
    expect((await fetch(`http://localhost:${port}/.well-known/openid-configuration`)).status).toBe(200);

    const second = await start(['serve']).ended;
    expect(second).toMatchObject({ exitCode: 1, out: '' });
    expect(second.err).toContain(`error: port ${port} on 127.0.0.1 is in use by another process\nhint: `);

    server.child.kill('SIGTERM');
    expect(await server.ended).toMatchObject({ exitCode: 0 });
  });

  test('a later start says where it is, and no password; a second signal does not wait', async () => {
    const server = start(['serve']);
    const { out } = await server.says('listening');
    expect(out).toContain(`issuer      http://localhost:${port}\n`);
    expect(out).not.toContain('password');

    // A request that never ends keeps the server from closing.
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write(
      [
        'POST /token HTTP/1.1',
        'Host: localhost',
        'Content-Type: application/x-www-form-urlencoded',
        'Content-Length: 9',
        'Expect: 100-continue',
        '',
        '',
      ].join('\r\n'),
    );
    await once(socket, 'data');
    server.child.kill('SIGINT');
    await server.says('stopping', 'err');
    server.child.kill('SIGINT');
    expect(await server.ended).toMatchObject({ exitCode: 130 });
  });

  test('with --json the start is one document', async () => {
    const terminal = await openTerminal({ directory, env: { SIGNET_LISTEN_PORT: String(await freePort()) } });
    const { exitCode, document } = await terminal.signet('serve --json');
    expect(exitCode).toBe(0);
    expect(document.discovery).toBe(`${document.issuer}/.well-known/openid-configuration`);
    expect(document.firstAdministrator).toBeNull();
  });
});

describe('a signal that comes early', () => {
  const freshPlace = async () => {
    const cwd = await mkdtemp(join(directory, 'early-'));
    return { cwd, env: { SIGNET_LISTEN_PORT: String(await freePort()) } };
  };
  const asPreload = (script: string) => ['--import', `data:text/javascript,${encodeURIComponent(script)}`];

  test('with the very line that says that the server runs stops it like any other', async () => {
    const stopsItself = `const { write } = process.stdout;
      process.stdout.write = function (text) {
        if (/Signet is running/.test(text)) process.kill(process.pid, 'SIGTERM');
        return write.apply(this, arguments);
      };`;
    const { exitCode, out, err } = await start(['serve'], '', asPreload(stopsItself), await freshPlace()).ended;
    expect([exitCode, out, err]).toEqual([
      0,
      expect.stringContaining('one-time password'),
      expect.stringContaining('stopping'),
    ]);
  });

  test('before the server listens ends the start, and no password is used up that nobody saw', async () => {
    const place = await freshPlace();
    const stopsItself = `import { syncBuiltinESMExports } from 'node:module';
      import fs from 'node:fs/promises';
      const { open } = fs;
      fs.open = (...given) => {
        if (String(given[0]).includes('master.key')) {
          process.kill(process.pid, 'SIGTERM');
          fs.open = open;
          syncBuiltinESMExports();
        }
        return open(...given);
      };
      syncBuiltinESMExports();`;
    const stopped = await start(['serve'], '', asPreload(stopsItself), place).ended;
    expect(stopped).toMatchObject({ exitCode: 0, out: '', err: expect.stringContaining('stopping') });
    const next = start(['serve'], '', [], place);
    await next.says('one-time password');
    next.child.kill('SIGTERM');
    expect(await next.ended).toMatchObject({ exitCode: 0 });
  });

  test.skipIf(!engines.includes(postgres))(
    'while another server migrates the database is not waited out',
    async () => {
      const url = await postgres.freshUrl();
      const other = await openDatabase(url);
      await other.transaction(
        async (tx) => {
          await tx.query("select set_config('idle_in_transaction_session_timeout', '0', true)");
          await tx.query('select pg_advisory_xact_lock($1)', [5_741_203_118]);
          const { cwd, env } = await freshPlace();
          const server = start(['serve'], '', [], { cwd, env: { ...env, SIGNET_DATABASE_URL: url } });
          await vi.waitFor(
            async () => {
              const { rows } = await other.query(
                `select 1 as waits from pg_locks where locktype = 'advisory' and not granted`,
              );
              expect(rows).toHaveLength(1);
            },
            { timeout: 20_000, interval: 50 },
          );
          server.child.kill('SIGTERM');
          expect(await server.ended).toMatchObject({ exitCode: 0, out: '' });
        },
        { slow: true },
      );
      await other.close();
    },
    60_000,
  );
});

describe('signet as a process', () => {
  test("reads a password from standard input, and audits the name of the operating system's user", async () => {
    const words = ['accounts', 'add', 'ada@example.com', '--password-stdin', '--json'];
    const { exitCode, out } = await start(words, 'a long enough password\n').ended;
    expect(exitCode).toBe(0);
    const { account } = JSON.parse(out);
    const { document } = await (await openTerminal({ directory })).signet(`audit list --subject ${account.id} --json`);
    const { userInfo } = await import('node:os');
    expect(document.events).toMatchObject([{ event: 'account.created', actor: `cli:${userInfo().username}` }]);
  });

  test.each<[string, Buffer, boolean]>([
    ['UTF-16, as PowerShell writes it', Buffer.from('\ufeffein langes Pa\u00dfwort\r\n', 'utf16le'), true],
    ['UTF-8 with a byte order mark', Buffer.from('\ufeffein langes Pa\u00dfwort\n'), true],
    ['Latin-1', Buffer.from('ein langes Pa\u00dfwort\n', 'latin1'), false],
  ])('reads a password as it was meant, or not at all: %s', async (_encoding, input, isRead) => {
    const email = `${input.length}@example.com`;
    const { exitCode, err } = await start(['accounts', 'add', email, '--password-stdin'], input).ended;
    expect([exitCode, err]).toEqual(
      isRead ? [0, ''] : [2, 'error: standard input is neither UTF-8 nor UTF-16\nhint: pipe it in as UTF-8\n'],
    );
    const db = await openDatabase(`sqlite:${join(directory, 'data', 'signet.db')}`);
    const { rows } = await db.query<{ password_hash: string }>('select password_hash from accounts where email = $1', [
      email,
    ]);
    await db.close();
    expect(rows.map((row) => bcrypt.compareSync('ein langes Pa\u00dfwort', row.password_hash))).toEqual(
      isRead ? [true] : [],
    );
  });

  test('loads nothing that strips types once all was compiled', async () => {
    const strips = `process.on('exit', () => console.error(process.moduleLoadList.some((name) => /amaro/.test(name))))`;
    const options = ['--import', `data:text/javascript,${strips}`];
    await start(['--version']).ended;
    expect(await start(['--version'], '', options).ended).toMatchObject({ exitCode: 0, err: 'false\n' });
  });

  test('an error sets the exit code of the process', async () => {
    expect(await start(['keys', 'lst']).ended).toEqual({
      exitCode: 2,
      out: '',
      err: "error: unknown command 'lst'\nhint: did you mean list? Otherwise run: signet keys --help\n",
    });
  });
});
