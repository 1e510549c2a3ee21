import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Config, loadConfig } from '../../src/config/config.ts';
import { createLog, silentLog } from '../../src/log.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { openStore, type Store } from '../../src/store.ts';
import { engines, postgres } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { startPostgres } from '../support/postgres.ts';
import { nextKey } from '../support/rotation.ts';
import { declared, ordersApi, secret } from '../support/signet.ts';
import { authorizationRequest, tokenRequest, UserAgent } from '../support/user-agent.ts';

async function freshDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'signet-start-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function configIn(directory: string, values: Record<string, unknown> = {}): Promise<Config> {
  return loadConfig({
    env: {},
    cwd: directory,
    values: {
      listen: { port: await freePort(), host: '127.0.0.1' },
      passwords: { bcryptCost: 4 },
      ...declared,
      ...values,
    },
  });
}

/** Stopped when the test ends, at the latest. */
async function started(config: Config, log = silentLog): Promise<RunningServer> {
  const server = await startServer(config, log);
  onTestFinished(server.close);
  return server;
}

async function inspect<T>(config: Config, look: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(config, silentLog);
  try {
    return await look(store);
  } finally {
    await store.close();
  }
}

const keysOf = (config: Config) =>
  inspect(config, async ({ keyring }) => {
    await nextKey(keyring);
    return keyring.list();
  });
const statesOf = async (config: Config) => (await keysOf(config)).map(({ state }) => state).sort();
const accountsOf = (config: Config) =>
  inspect(config, async ({ accounts }) => (await accounts.list()).map(({ email }) => email));
const jwks = async ({ url }: RunningServer) => (await fetch(`${url}/jwks`)).json();

describe('the first start', () => {
  test('makes a master key for its owner alone, a database, two signing keys and an administrator', async () => {
    const directory = await freshDirectory();
    const config = await configIn(directory);
    const { firstAdministrator } = await started(config);
    expect((await stat(join(directory, 'keys/master.key'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, 'data'))).isDirectory()).toBe(true);
    expect(await statesOf(config)).toEqual(['active', 'prepared']);
    expect(firstAdministrator).toEqual({
      email: 'admin@localhost',
      oneTimePassword: expect.stringMatching(/^[a-z2-9-]{24}$/),
    });
    const [account] = await inspect(config, ({ accounts }) => accounts.list());
    expect(account).toMatchObject({ roles: ['admin'], passwordMustChange: true });

    const agent = new UserAgent(config.issuer);
    const page = await agent.submit(await agent.visit(authorizationRequest(config.issuer).url), {
      email: firstAdministrator!.email,
      password: firstAdministrator!.oneTimePassword,
    });
    expect(page.body).toContain('name="new_password"');
  });

  test('says the one-time password to whoever started it, and neither to the log nor to the database', async () => {
    const lines: string[] = [];
    const config = await configIn(await freshDirectory());
    const { firstAdministrator } = await started(
      config,
      createLog('debug', (line) => lines.push(line)),
    );
    const stored = await inspect(config, async ({ db }) =>
      JSON.stringify([await db.query('select * from accounts'), await db.query('select * from audit_events')]),
    );
    expect(lines.join('') + stored).not.toContain(firstAdministrator!.oneTimePassword);
  });
});

test('a signing key has as many bits as are configured', async () => {
  const store = await openStore(await configIn(await freshDirectory(), { keys: { modulusLength: 3072 } }), silentLog);
  onTestFinished(store.close);
  await store.keyring.bootstrap();
  const [key] = await store.keyring.list();
  expect(Buffer.from(key!.publicJwk.n, 'base64url')).toHaveLength(3072 / 8);
});

describe('the second start', () => {
  test('uses what is there, and says nothing of an administrator', async () => {
    const config = await configIn(await freshDirectory());
    const first = await startServer(config, silentLog);
    const keys = await keysOf(config);
    await first.close();
    const second = await started(config);
    expect(second.firstAdministrator).toBeUndefined();
    expect(await keysOf(config)).toEqual(keys);
    expect(await accountsOf(config)).toEqual(['admin@localhost']);
  });

  test('makes no administrator where people are, whatever their roles', async () => {
    const config = await configIn(await freshDirectory());
    await inspect(config, ({ accounts }) => accounts.create({ email: 'ada@example.com', roles: [] }, 'test'));
    expect((await started(config)).firstAdministrator).toBeUndefined();
  });
});

describe('what stops a start is said in a sentence, with the next step', () => {
  test('a master key that does not open what is in the database', async () => {
    const directory = await freshDirectory();
    const config = await configIn(directory);
    await (await startServer(config, silentLog)).close();
    const file = join(directory, 'keys/master.key');
    const right = await readFile(file);
    await writeFile(file, randomBytes(32).toString('base64url'));
    await expect(startServer(config, silentLog)).rejects.toMatchObject({
      code: 'master_key_wrong',
      message: expect.stringContaining('master key'),
    });
    await writeFile(file, right);
    await started(config);
  });

  test('a master key that is gone: none is made in its place', async () => {
    const directory = await freshDirectory();
    const config = await configIn(directory);
    await (await startServer(config, silentLog)).close();
    await rm(join(directory, 'keys/master.key'));
    await expect(startServer(config, silentLog)).rejects.toMatchObject({ code: 'master_key_missing' });
    await expect(stat(join(directory, 'keys/master.key'))).rejects.toThrow();
  });

  test('a port that another process has, and the start after it still tells the first password', async () => {
    const config = await configIn(await freshDirectory());
    const other = await started(await configIn(await freshDirectory(), { listen: config.listen }));
    await expect(startServer(config, silentLog)).rejects.toMatchObject({
      code: 'listen_failed',
      message: `port ${config.listen.port} on 127.0.0.1 is in use by another process`,
      hint: expect.stringContaining('SIGNET_LISTEN_PORT'),
    });
    await other.close();
    expect((await started(config)).firstAdministrator).toBeDefined();
  });

  test('a database of a newer release', async () => {
    const config = await configIn(await freshDirectory());
    await inspect(config, ({ db }) =>
      db.query(
        `insert into schema_migrations (version, name, checksum, applied_at) values (999, '0999_future.sql', 'x', 1)`,
      ),
    );
    await expect(startServer(config, silentLog)).rejects.toMatchObject({
      code: 'database_too_new',
      hint: expect.stringContaining('newer release'),
    });
  });
});

describe.skipIf(!engines.includes(postgres))('two servers on one PostgreSQL', () => {
  test('start together, with one key and the next, one administrator and one master key between them', async () => {
    const directory = await freshDirectory();
    const database = { url: await postgres.freshUrl() };
    const configs = [await configIn(directory, { database }), await configIn(directory, { database })];
    const servers = await Promise.all(configs.map((config) => started(config)));
    expect(servers.filter(({ firstAdministrator }) => firstAdministrator)).toHaveLength(1);
    expect(await statesOf(configs[0]!)).toEqual(['active', 'prepared']);
    expect(await accountsOf(configs[0]!)).toHaveLength(1);
    await vi.waitFor(
      async () => {
        const [one, other] = await Promise.all(servers.map(jwks));
        expect(one).toMatchObject({ keys: [{}, {}] });
        expect(other).toEqual(one);
      },
      { timeout: 15_000, interval: 20 },
    );
    expect(await inspect(configs[0]!, ({ audit }) => audit.verify())).toMatchObject({ ok: true });
  });
});

describe('drain()', () => {
  test('says that it is not ready, asks for connections to be closed, and takes new ones for as long as is set', async () => {
    const config = await configIn(await freshDirectory());
    const server = await started({ ...config, listen: { ...config.listen, drainDelay: 1 } });
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(200);
    const drained = server.drain();
    const ready = await fetch(`${server.url}/health/ready`);
    expect([ready.status, await ready.json()]).toEqual([503, { status: 'stopping' }]);
    for (const path of ['/health/live', '/jwks', '/token']) {
      const { status, headers } = await fetch(server.url + path, { method: path === '/token' ? 'POST' : 'GET' });
      expect([status < 500, headers.get('connection')]).toEqual([true, 'close']);
    }
    await drained;
    await expect(fetch(`${server.url}/health/live`)).rejects.toThrow();
  });
});

describe('close()', () => {
  test('finishes the request under way, takes no other, and does not wait for connections kept open', async () => {
    const server = await startServer(await configIn(await freshDirectory()), silentLog);
    const body = new URLSearchParams({ grant_type: 'client_credentials', resource: ordersApi }).toString();
    const answer = new Promise<number>((resolve, reject) => {
      const request = httpRequest(
        `${server.url}/token`,
        {
          method: 'POST',
          headers: {
            'Content-Type': 'application/x-www-form-urlencoded',
            'Content-Length': body.length,
            Authorization: `Basic ${btoa(`service:${secret}`)}`,
          },
        },
        (response) => {
          response.resume().once('end', () => resolve(response.statusCode!));
        },
      );
      request.once('error', reject);
      request.write(body.slice(0, 10), async () => {
        // The first half has arrived when the server has answered somebody who came after it.
        await fetch(`${server.url}/health/live`);
        closing = server.close();
        await expect(fetch(`${server.url}/health/live`)).rejects.toThrow();
        request.end(body.slice(10));
      });
    });
    let closing: Promise<void> | undefined;
    expect(await answer).toBe(200);
    const answered = performance.now();
    await closing;
    expect(performance.now() - answered).toBeLessThan(2_500); // Node keeps a connection for five seconds
  });

  test('leaves nothing behind that would keep the process alive', async () => {
    const directory = await freshDirectory();
    const source = fileURLToPath(new URL('../../src/', import.meta.url));
    const script = `
      import { loadConfig } from '${source}config/config.ts';
      import { silentLog } from '${source}log.ts';
      import { startServer } from '${source}server.ts';
      const values = { listen: { port: ${await freePort()}, host: '127.0.0.1' }, passwords: { bcryptCost: 4 } };
      const server = await startServer(loadConfig({ env: {}, cwd: '.', values }), silentLog);
      await (await fetch(server.url + '/jwks')).text();
      await server.close();
      console.log('closed');`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: directory,
      timeout: 100_000,
      killSignal: 'SIGKILL',
    });
    expect(stdout).toBe('closed\n');
  });

  test('may be called twice', async () => {
    const server = await startServer(await configIn(await freshDirectory()), silentLog);
    await Promise.all([server.close(), server.close()]);
    await server.close();
  });
});

describe('whoever watches over the server', () => {
  test('is told that it lives, and that it is ready', async () => {
    const { url } = await started(await configIn(await freshDirectory()));
    const live = await fetch(`${url}/health/live`);
    expect([live.status, live.headers.get('cache-control'), await live.json()]).toEqual([
      200,
      'no-store',
      { status: 'ok' },
    ]);
    const ready = await fetch(`${url}/health/ready`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({ status: 'ok', database: 'ok', keys: { ok: true } });
  });

  const onPostgres = test.skipIf(!engines.includes(postgres));
  onPostgres('is told when the database is away, while what is in memory is still served', async () => {
    const database = await startPostgres();
    let stopped = false;
    onTestFinished(() => (stopped ? undefined : database.stop()));
    const config = await configIn(await freshDirectory(), { database: { url: await database.createDatabase() } });
    const { url } = await started(config);
    await database.stop();
    stopped = true;
    for (const path of ['/health/live', '/jwks', '/.well-known/openid-configuration']) {
      expect([path, (await fetch(url + path)).status]).toEqual([path, 200]);
    }
    const ready = await fetch(`${url}/health/ready`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ status: 'degraded', database: 'unavailable' });
    const page = await new UserAgent(config.issuer).visit(authorizationRequest(config.issuer).url);
    expect(page.status).toBeGreaterThanOrEqual(500);
    expect(page.body).toContain('<h1>');
    expect(page.body).not.toContain('postgres');
  });
});

describe('an address that leads nowhere, and a fault of our own', () => {
  test('an unknown path is a page for a person, JSON for a program, each with the request id', async () => {
    const { url } = await started(await configIn(await freshDirectory()));
    const page = await fetch(`${url}/nothing-here`, { headers: { Accept: 'text/html,*/*;q=0.8' } });
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8']);
    const html = await page.text();
    expect(html).toContain('There is nothing here');
    expect(html).toContain(page.headers.get('x-request-id'));
    const json = await fetch(`${url}/nothing-here`, { headers: { Accept: 'application/json' } });
    expect([json.status, await json.json()]).toEqual([404, expect.objectContaining({ error: 'not_found' })]);
    expect(json.headers.get('x-request-id')).toMatch(/^[0-9a-f]{16}$/);
  });

  test('a fault shows neither stack nor statement, but a number under which the log has both', async () => {
    const lines: string[] = [];
    const config = await configIn(await freshDirectory());
    const { url } = await started(
      config,
      createLog('debug', (line) => lines.push(line)),
    );
    const agent = new UserAgent(config.issuer);
    const form = await agent.visit(authorizationRequest(config.issuer).url);
    await inspect(config, ({ db }) => db.query('alter table accounts rename to gone'));

    const page = await agent.submit(form, { email: 'ada@example.com', password: 'whatever it was' });
    const json = await agent.request(form.url, {
      form: { email: 'ada@example.com', password: 'x' },
      headers: { Accept: 'application/json' },
    });
    expect([page.status, json.status]).toEqual([500, 500]);
    expect(page.body).toContain('Something went wrong on our side');
    expect(JSON.parse(json.body)).toEqual({
      error: 'server_error',
      error_description: expect.any(String),
      request_id: json.headers.get('x-request-id'),
    });
    for (const { body, headers } of [page, json]) {
      expect(body).toContain(headers.get('x-request-id'));
      expect(body).not.toMatch(/accounts|sqlite|select|\.ts|at async|node_modules/i);
      const line = lines.find((each) => each.includes(headers.get('x-request-id')!));
      expect(JSON.parse(line!)).toMatchObject({ event: 'request.failed', level: 'error' });
      expect(line).toContain('no such table');
    }
    expect(lines.join('')).not.toContain('whatever it was');
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
  });

  test('a fault inside the protocol, too: the application is told server_error and no more', async () => {
    const lines: string[] = [];
    const config = await configIn(await freshDirectory());
    await started(
      config,
      createLog('debug', (line) => lines.push(line)),
    );
    await inspect(config, ({ db }) => db.query('alter table oidc_models rename to gone'));
    const { status, body } = await tokenRequest(config.issuer, {
      grant_type: 'authorization_code',
      code: 'x',
      redirect_uri: 'https://x',
    });
    expect(status).toBe(500);
    expect(body.error).toBe('server_error');
    expect(JSON.stringify(body)).not.toMatch(/oidc_models|sqlite/i);
    expect(lines.join('')).toContain('no such table');
  });

  test('a request names itself in vain: its id is ours', async () => {
    const { url } = await started(await configIn(await freshDirectory()));
    const { headers } = await fetch(url, { headers: { 'X-Request-Id': 'mine' } });
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f]{16}$/);
  });
});
