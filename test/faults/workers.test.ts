// Several workers behind one port, as `signet serve` starts them: the real command line, with processes that share nothing
// but the database. What is promised of one process is promised of them all.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import bcrypt from 'bcrypt';
import { Client } from 'undici';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { silentLog } from '../../src/log.ts';
import { openStore, type Store } from '../../src/store.ts';
import { endpoints } from '../../src/web/endpoints.ts';
import { engines } from '../support/engines.ts';
import { freePort } from '../support/ports.ts';
import { endsWithUs } from '../support/process-end.ts';
import { atTheSameMoment } from '../support/same-moment.ts';
import { declared, ordersApi, person, secret } from '../support/signet.ts';
import { statusBit } from '../support/status.ts';
import { rotationsOf } from '../support/stored.ts';
import { asClient, signIn, tokenRequest } from '../support/user-agent.ts';

const signet = fileURLToPath(new URL('../../signet.js', import.meta.url));

interface Supervised {
  child: ChildProcess;
  said: { out: string; err: string };
  ended: Promise<{ code: number | null; signal: string | null }>;
}

function serve(directory: string, env: Record<string, string> = {}): Supervised {
  const child = endsWithUs(
    spawn(process.execPath, [signet, 'serve'], { cwd: directory, env: { PATH: process.env.PATH, ...env } }),
  );
  const said = { out: '', err: '' };
  for (const stream of ['out', 'err'] as const) {
    child[`std${stream}`].on('data', (text) => {
      said[stream] += text;
    });
  }
  return { child, said, ended: once(child, 'close').then(([code, signal]) => ({ code, signal })) };
}

/** The processes that this one started and that still run, in the order of their numbers. */
function workersOf({ child }: Supervised): number[] {
  return readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

/** How many sockets a process has open. */
function socketsOf(pid: number): number {
  const files = readdirSync(`/proc/${pid}/fd`);
  return files.filter((file) => readlinkOf(`/proc/${pid}/fd/${file}`).startsWith('socket:')).length;
}

function readlinkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}

const logLines = ({ said }: Supervised): Record<string, any>[] =>
  said.err.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));

describe.each(engines)('two workers on $name', ({ freshUrl }) => {
  let directory: string;
  let issuer: string;
  let port: number;
  let metricsPort: number;
  let server: Supervised;
  let store: Store;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'signet-workers-'));
    [port, metricsPort] = [await freePort(), await freePort()];
    issuer = `http://localhost:${port}`;
    const values = {
      workers: 2,
      listen: { port, host: '127.0.0.1', drainDelay: '1s' },
      metrics: { listen: { port: metricsPort } },
      database: { url: await freshUrl() },
      passwords: { bcryptCost: 4 },
      tokens: { refreshSpacing: 0 },
      ...declared,
    };
    await writeFile(join(directory, 'signet.yaml'), JSON.stringify(values)); // which is YAML as well
    server = serve(directory);
    await vi.waitFor(() => expect(server.said.out).toContain('Ctrl-C'), { timeout: 30_000, interval: 50 });
    store = await openStore(loadConfig({ env: {}, cwd: directory }), silentLog);
    const passwordHash = await bcrypt.hash(person.password, 4);
    await store.accounts.create({ email: person.email, roles: [], passwordHash }, 'test');
  }, 60_000);
  afterAll(async () => {
    await store.close();
    server.child.kill('SIGKILL');
    await server.ended;
    await rm(directory, { recursive: true, force: true });
  });

  /** Connections of their own, which the workers were given in turns. */
  const connections = (count: number) => Array.from({ length: count }, () => new Client(issuer));
  const asService = (dispatcher?: Client) =>
    tokenRequest(
      issuer,
      { grant_type: 'client_credentials', resource: ordersApi },
      { clientId: 'service', secret, dispatcher },
    );
  const refresh = (token: string, dispatcher?: Client) =>
    tokenRequest(issuer, { grant_type: 'refresh_token', refresh_token: token }, { ...asClient('device'), dispatcher });
  const freshRefreshToken = async () => {
    const native = { clientId: 'device', parameters: { redirect_uri: 'http://127.0.0.1/callback' } };
    return (await signIn(issuer, native)).tokens.refresh_token as string;
  };
  async function figure(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }
  const tokensIssued = () => figure('signet_tokens_issued_total{kind="access",grant_type="client_credentials"}');

  test('the lines of the start, and the first password, are told once; the database has one administrator', async () => {
    expect(server.said.out.match(/Signet is running, for the first time/g)).toHaveLength(1);
    expect(server.said.out.match(/one-time password/g)).toHaveLength(1);
    expect((await store.accounts.list()).filter(({ email }) => email === 'admin@localhost')).toHaveLength(1);
    expect(workersOf(server)).toHaveLength(2);
    expect(new Set(logLines(server).map(({ worker }) => worker))).toEqual(new Set([1, 2]));
  });

  test('connections go to both in turns', async () => {
    // Nobody has asked it anything yet, so no connection closes meanwhile.
    const before = workersOf(server).map(socketsOf);
    const clients = connections(20);
    for (const client of clients) expect((await asService(client)).status).toBe(200);
    const more = workersOf(server).map((pid, index) => socketsOf(pid) - before[index]!);
    for (const its of more) expect(its).toBeGreaterThanOrEqual(9);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('the metrics are the sum, whichever worker answered, and no worker’s alone', async () => {
    const before = await tokensIssued();
    const clients = connections(8);
    await Promise.all(clients.map((client) => asService(client)));
    expect(await tokensIssued()).toBe(before + 8);
    expect(await tokensIssued()).toBe(before + 8);
    expect(await figure('signet_workers')).toBe(2);
    expect(await figure('signet_build_info')).toBe(1);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('a refresh raced at both has one successor, and each is given it', async () => {
    const token = await freshRefreshToken();
    const answers = await atTheSameMoment(
      Array(20).fill(issuer.replace('localhost', '127.0.0.1')),
      (_url, dispatcher) => refresh(token, dispatcher as Client),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1);
    expect(await rotationsOf(store.db, token)).toBe(1);
  });

  test('what is revoked at one is in the status list of both within a second, and refreshed by neither', async () => {
    const clients = connections(6);
    const bits = () => Promise.all(clients.map((client) => statusBit(token, client)));
    const { access_token: token, refresh_token: handle } = (await refresh(await freshRefreshToken())).body;
    expect(await bits()).toEqual(Array(6).fill(0));
    await clients[0]!.request({
      path: endpoints.revocation.path,
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `token=${handle}&client_id=device`,
    });
    await vi.waitFor(async () => expect(await bits()).toEqual(Array(6).fill(1)), { timeout: 1_500, interval: 50 });
    const refused = await Promise.all(clients.map((client) => refresh(handle, client)));
    expect(refused.map(({ body }) => body.error)).toEqual(Array(6).fill('invalid_grant'));
    await Promise.all(clients.map((client) => client.close()));
  });

  test('an application that is disabled elsewhere is refused by both within a second', async () => {
    const clients = connections(6);
    await store.clients.setDisabled('service', true, 'test');
    await vi.waitFor(
      async () => {
        const answers = await Promise.all(clients.map((client) => asService(client)));
        expect(answers.map(({ body }) => body.error)).toEqual(Array(6).fill('invalid_client'));
      },
      { timeout: 1_500, interval: 50 },
    );
    await store.clients.setDisabled('service', false, 'test');
    await vi.waitFor(async () => expect((await asService()).status).toBe(200), { timeout: 1_500, interval: 50 });
    await Promise.all(clients.map((client) => client.close()));
  });

  test('one that is killed under load is started anew; every refresh that was answered holds, and the other serves on', async () => {
    const issued = await tokensIssued();
    const before = workersOf(server);
    const stopping = new AbortController();
    const broken = new Set<Client>();
    const chains = await Promise.all(
      Array.from({ length: 6 }, async () => ({ newest: await freshRefreshToken(), client: new Client(issuer) })),
    );
    let answered = 0;
    const load = chains.map(async (chain) => {
      while (!stopping.signal.aborted) {
        // Whoever had no answer asks again, with the token that it has.
        const answer = await refresh(chain.newest, chain.client).catch(() => undefined);
        if (answer) expect([answer.status, answer.body.error]).toEqual([200, undefined]);
        if (answer) chain.newest = answer.body.refresh_token;
        if (answer) answered += 1;
        await pause(5);
      }
    });
    await vi.waitFor(() => expect(answered).toBeGreaterThan(4 * chains.length), { timeout: 20_000, interval: 10 });
    for (const { client } of chains) client.on('disconnect', () => broken.add(client));
    process.kill(before[0]!, 'SIGKILL');
    await vi.waitFor(async () => expect(await figure('signet_workers')).toBe(2 - 1), { timeout: 5_000, interval: 10 });
    await vi.waitFor(
      () => expect(logLines(server)).toContainEqual(expect.objectContaining({ event: 'worker.restarted', worker: 1 })),
      {
        timeout: 20_000,
        interval: 50,
      },
    );
    stopping.abort();
    await Promise.all(load);

    // Only its own connections: those of the other one noticed nothing.
    expect(broken.size).toBeGreaterThan(0);
    expect(broken.size).toBeLessThan(6);
    for (const { newest } of chains) expect((await refresh(newest)).status).toBe(200);
    const after = workersOf(server);
    expect(after).toHaveLength(2);
    expect(before.filter((pid) => after.includes(pid))).toEqual([before[1]]);
    expect(logLines(server)).toContainEqual(
      expect.objectContaining({ event: 'worker.died', worker: 1, signal: 'SIGKILL' }),
    );
    expect(await figure('signet_worker_restarts_total')).toBe(1);
    expect(await tokensIssued()).toBe(issued);
    await Promise.all(chains.map(({ client }) => client.destroy()));
  });

  test('a port that is taken is told once, by a server that then is gone', async () => {
    const second = serve(directory, { SIGNET_METRICS_LISTEN_PORT: String(await freePort()) });
    expect(await second.ended).toMatchObject({ code: 1 });
    expect(second.said.out).toBe('');
    const told = second.said.err.split('\n').filter((line) => !line.startsWith('{'));
    expect(told).toEqual([
      `error: port ${port} on 127.0.0.1 is in use by another process`,
      expect.stringMatching(/^hint: Set listen.port/),
      '',
    ]);
  });

  test('SIGTERM: not ready at once, whoever asks is answered until nobody listens, and the end is clean', async () => {
    const asked = connections(6).map((client) => ({ client, seen: [] as string[] }));
    const load = asked.map(async ({ client, seen }) => {
      while (seen.at(-1) !== 'ECONNREFUSED') {
        const what = await asService(client).then(
          ({ status }) => String(status),
          ({ cause }) => String(cause?.code ?? cause),
        );
        seen.push(what);
      }
      await client.destroy();
    });
    await vi.waitFor(
      () => {
        for (const { seen } of asked) expect(seen.filter((what) => what === '200').length).toBeGreaterThan(3);
      },
      { timeout: 20_000, interval: 10 },
    );
    const workers = workersOf(server);
    server.child.kill('SIGTERM');
    await vi.waitFor(
      async () => {
        const answers = await Promise.all(
          [1, 2, 3, 4].map(() => fetch(`${issuer}/health/ready`, { headers: { connection: 'close' } })),
        );
        expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
      },
      { timeout: 800, interval: 20 },
    );
    expect(await server.ended).toEqual({ code: 0, signal: null });
    await Promise.all(load);
    // Answers, then nobody. A connection that comes as the last listener closes may be reset, once, before that: the
    // kernel had it, and nobody took it.
    for (const { seen } of asked) expect(seen.join(' ')).toMatch(/^(200 )+(ECONNRESET )?ECONNREFUSED$/);
    expect(server.said.err.match(/stopping/g)).toHaveLength(1);
    for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    const { rows } = await store.db.query('select id from server_runs');
    // Of the one that was killed, and of nobody who stopped.
    expect(rows.length).toBeLessThanOrEqual(1);
  });
});

describe('a start of two workers', () => {
  const start = async (env: Record<string, string> = {}) => {
    const directory = await mkdtemp(join(tmpdir(), 'signet-workers-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const listens = { SIGNET_LISTEN_PORT: String(await freePort()), SIGNET_PASSWORDS_BCRYPT_COST: '4' };
    return serve(directory, { SIGNET_WORKERS: '2', ...listens, ...env });
  };
  /** Of the processes that are started, the one of this number. */
  const endsAtOnce = (number: number) => {
    const script = `import cluster from 'node:cluster'; if (cluster.worker?.id === ${number}) process.exit(7);`;
    return `--import=data:text/javascript,${encodeURIComponent(script)}`;
  };

  test('fails with the first one, and says how that ended', async () => {
    const server = await start({ NODE_OPTIONS: endsAtOnce(1) });
    expect(await server.ended).toMatchObject({ code: 1 });
    expect(server.said.out).toBe('');
    expect(server.said.err).toMatch(/^error: worker 1 ended with exit code 7 while it started\nhint: /m);
  });

  test('fails with the other one, and the password that was made by then is told', async () => {
    const server = await start({ NODE_OPTIONS: endsAtOnce(2) });
    expect(await server.ended).toMatchObject({ code: 1 });
    expect(server.said.out.match(/one-time password/g)).toHaveLength(1);
    expect(server.said.err).toContain('error: worker 2 ended with exit code 7 while it started\n');
  });

  test('fails with what a worker met, in its own words', async () => {
    const server = await start({ SIGNET_DATABASE_URL: 'postgres://signet@127.0.0.1:1/postgres' });
    expect(await server.ended).toMatchObject({ code: 1 });
    expect(server.said.out).toBe('');
    expect(server.said.err.match(/^error: .*ECONNREFUSED.*\nhint: .*host and port/gm)).toHaveLength(1);
  });

  test('gives each a thread pool that follows the cores, unless an operator set its size', async () => {
    const threadsOf = (pid: number) =>
      readdirSync(`/proc/${pid}/task`).filter(
        (id) => readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim() === 'libuv-worker',
      ).length;
    for (const [env, size] of [
      [{}, availableParallelism() + 4],
      [{ UV_THREADPOOL_SIZE: '3' }, 3],
    ] as const) {
      const server = await start(env);
      await vi.waitFor(() => expect(server.said.out).toContain('Ctrl-C'), { timeout: 30_000, interval: 50 });
      expect(workersOf(server).map(threadsOf)).toEqual([size, size]);
      server.child.kill('SIGTERM');
      expect(await server.ended).toMatchObject({ code: 0 });
    }
  });

  test('has no more connections than one process may have, and idles when all are taken', async () => {
    const server = await start({ SIGNET_LISTEN_MAX_CONNECTIONS: '10' });
    await vi.waitFor(() => expect(server.said.out).toContain('Ctrl-C'), { timeout: 30_000, interval: 50 });
    const port = Number(/listening +http:.*:(\d+)/.exec(server.said.out)![1]);
    const sockets = Array.from({ length: 30 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
    const opened = () => sockets.filter((socket) => !socket.resume().closed).length;
    // Each has room for five; which of them a burst goes to, is nobody's promise.
    await vi.waitFor(() => expect(opened()).toBeLessThanOrEqual(10), { timeout: 5_000, interval: 20 });
    const cpu = () => Number(readFileSync(`/proc/${server.child.pid}/stat`, 'utf8').split(' ')[13]); // hundredths of a second
    const before = cpu();
    await pause(500);
    expect(cpu() - before).toBeLessThan(15);
    expect(opened()).toBeLessThanOrEqual(10);
    expect(opened()).toBeGreaterThanOrEqual(5);
    for (const socket of sockets) socket.destroy();
    server.child.kill('SIGTERM');
    expect(await server.ended).toMatchObject({ code: 0 });
  });

  test('is not for a person: a worker by itself says who starts it', async () => {
    const { out, err } = await new Promise<{ out: string; err: string }>((resolve) => {
      execFile(process.execPath, [signet, 'worker'], (_error, out, err) => resolve({ out, err }));
    });
    expect([out, err]).toEqual(['', expect.stringContaining('error: a worker is started by "signet serve"')]);
  });
});
