import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { AppError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { createCounts } from '../../src/metrics/counts.ts';
import { expose } from '../../src/metrics/exposition.ts';
import { type GaugeParts, gauges } from '../../src/metrics/gauges.ts';
import { problemsOf } from '../config/problems.ts';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { noteSecret, secretsIn } from '../support/secrets.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { asClient, askUserinfo, authorizationRequest, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';
import { send } from '../web/serve.ts';

/** Each sample by its name and labels, as they stand there. Throws for whatever is not the format. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const described = new Set<string>();
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (comment) {
      expect(described.has(`${comment[1]} ${comment[2]}`), line).toBe(false);
      if (comment[1] === 'TYPE') expect(comment[3]).toBe(comment[2]!.endsWith('_total') ? 'counter' : 'gauge');
      described.add(`${comment[1]} ${comment[2]}`);
      continue;
    }
    const sample = /^(([a-z_]+)(?:\{(?:[a-z_]+="[^"\\\n]*",?)+\})?) (-?\d+(?:\.\d+)?(?:e-?\d+)?)$/.exec(line);
    expect(sample, line).not.toBeNull();
    expect(described.has(`HELP ${sample![2]}`) && described.has(`TYPE ${sample![2]}`), line).toBe(true);
    expect(samples.has(sample![1]!), line).toBe(false);
    samples.set(sample![1]!, Number(sample![3]));
  }
  return samples;
}

const metricsOn = { metrics: { listen: { port: 0 } } };

async function scrape({ metricsUrl }: Pick<TestServer, 'metricsUrl'>) {
  const { status, headers, text } = await send(metricsUrl!, { path: '/metrics' });
  expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  return { text, samples: parse(text) };
}

describe('where metrics are', () => {
  test('nowhere, unless a port is configured; then at 127.0.0.1, unless another address is', () => {
    const at = (values: Record<string, unknown>, env = {}) => loadConfig({ env, values }).metrics;
    expect(at({})).toBeUndefined();
    expect(at({ metrics: { listen: { host: '0.0.0.0' } } })).toBeUndefined();
    expect(at({}, { SIGNET_METRICS_LISTEN_PORT: '9464' })).toEqual({ listen: { host: '127.0.0.1', port: 9464 } });
    const elsewhere = { listen: { host: '10.0.0.1', port: 9464 } };
    expect(at({ metrics: elsewhere })).toEqual(elsewhere);
  });

  test('not on the port of everything else', () => {
    expect(problemsOf({ env: {}, values: { listen: { port: 3000 }, metrics: { listen: { port: 3000 } } } })).toEqual([
      expect.stringContaining('metrics.listen.port: is listen.port'),
    ]);
  });

  test('a port that is taken ends the start, and the password of the first administrator is not used up', async () => {
    const occupant = createServer();
    await new Promise<void>((resolve) => occupant.listen(0, '127.0.0.1', resolve));
    const { port } = occupant.address() as { port: number };
    const directory = mkdtempSync(join(tmpdir(), 'signet-metrics-'));
    await expect(startSignet({ directory, values: { metrics: { listen: { port } } } })).rejects.toMatchObject({
      code: 'listen_failed',
      message: expect.stringContaining(String(port)),
      hint: expect.stringContaining('SIGNET_METRICS_LISTEN_PORT'),
    });
    await new Promise((resolve) => occupant.close(resolve));
    const next = await startSignet({ directory });
    expect(next.firstAdministrator?.oneTimePassword).toEqual(expect.any(String));
    await next.close();
    rmSync(directory, { recursive: true });
  });
});

describe('what a server did and how it is', () => {
  let server: TestServer;
  let plain: TestServer;
  beforeAll(async () => {
    [server, plain] = await Promise.all([startSignet({ values: metricsOn }), startSignet()]);
  });
  afterAll(() => Promise.all([server.close(), plain.close()]));

  test('is at /metrics of the port of its own, by GET and HEAD; nothing else is there', async () => {
    const ask = (path: string, method = 'GET') => send(server.metricsUrl!, { path, method });
    for (const path of ['/', '/metrics/', '/metricsx', '/jwks', '/health/ready', '/admin/api/v1/keys', '//metrics']) {
      expect((await ask(path)).status, path).toBe(404);
    }
    expect((await ask('/metrics?x=1')).status).toBe(200);
    const head = await ask('/metrics', 'HEAD');
    expect([head.status, head.text, Number(head.headers['content-length']) > 1000]).toEqual([200, '', true]);
    const post = await ask('/metrics', 'POST');
    expect([post.status, post.headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  test('is not where people and applications are, whether metrics are on or off', async () => {
    for (const { url } of [server, plain]) expect((await send(url, { path: '/metrics' })).status).toBe(404);
    expect(plain.metricsUrl).toBeUndefined();
    expect(server.metricsUrl).not.toBe(server.url);
    expect(new URL(server.metricsUrl!).hostname).toBe('127.0.0.1');
  });

  test('counts sign-ins, tokens and refusals', async () => {
    const { issuer } = server;
    const before = (await scrape(server)).samples;
    const { tokens } = await signIn(issuer);
    await tokenRequest(issuer, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token }, asClient('spa'));
    for (let times = 0; times < 3; times += 1) {
      await tokenRequest(issuer, { grant_type: 'client_credentials' }, asClient('service'));
    }
    await tokenRequest(issuer, { grant_type: 'client_credentials' }, { clientId: 'service', secret: 'not-this-one' });
    await tokenRequest(issuer, { grant_type: 'password', username: person.email, password: person.password });
    await askUserinfo(issuer, 'not.a.token');
    const agent = new UserAgent(issuer);
    const page = await agent.visit(authorizationRequest(issuer).url);
    await agent.submit(page, { email: person.email, password: 'not the password' });
    await agent.visit(authorizationRequest(issuer, { prompt: 'none' }).url);

    const { samples, text } = await scrape(server);
    const grown = [...samples]
      .filter(([name]) => name.includes('_total{'))
      .map(([name, value]) => [name, value - (before.get(name) ?? 0)])
      .filter(([, by]) => by !== 0);
    expect(Object.fromEntries(grown)).toEqual({
      'signet_sign_ins_total{method="password",outcome="succeeded"}': 1,
      'signet_sign_ins_total{method="password",outcome="wrong_password"}': 1,
      'signet_tokens_issued_total{kind="access",grant_type="authorization_code"}': 1,
      'signet_tokens_issued_total{kind="id",grant_type="authorization_code"}': 1,
      'signet_tokens_issued_total{kind="refresh",grant_type="authorization_code"}': 1,
      'signet_tokens_issued_total{kind="access",grant_type="refresh_token"}': 1,
      'signet_tokens_issued_total{kind="id",grant_type="refresh_token"}': 1,
      'signet_tokens_issued_total{kind="refresh",grant_type="refresh_token"}': 1,
      'signet_tokens_issued_total{kind="access",grant_type="client_credentials"}': 3,
      'signet_refusals_total{request="token",error="invalid_client"}': 1,
      'signet_refusals_total{request="token",error="unsupported_grant_type"}': 1,
      'signet_refusals_total{request="userinfo",error="invalid_token"}': 1,
      'signet_refusals_total{request="authorization",error="login_required"}': 1,
    });
    // Nobody's name, address or token, and no application's name either.
    expect(secretsIn(text)).toEqual([]);
    const addresses = [person.email, 'example.com', '127.0.0.1', '::1'];
    for (const personal of [...addresses, 'ada', server.accountId, 'spa', 'service']) {
      expect(text.toLowerCase(), personal).not.toContain(personal.toLowerCase());
    }
  });

  test('tells keys by state, with the seconds until their next step', async () => {
    const { samples } = await scrape(server);
    const states = ['prepared', 'active', 'retired', 'destroyed', 'revoked'];
    expect(states.map((state) => samples.get(`signet_signing_keys{state="${state}"}`))).toEqual([1, 1, 0, 0, 0]);
    const { keys } = await server.store.keys.status();
    const kid = keys.find(({ state }) => state === 'active')!.kid;
    const left = samples.get(`signet_signing_key_next_step_seconds{kid="${kid}",state="active",becomes="retired"}`)!;
    expect(left).toBeGreaterThan(89 * 86_400);
    expect(left).toBeLessThanOrEqual(90 * 86_400);
    expect(samples.get('signet_key_rotation_ok')).toBe(1);
    expect(Math.abs(samples.get('signet_clock_offset_seconds')!)).toBeLessThan(60);
    expect(samples.get('signet_sweep_lag_seconds')).toBeGreaterThan(0);
    expect(samples.get('signet_sweep_lag_seconds')).toBeLessThan(60);
    expect(samples.get('signet_database_bytes')).toBeGreaterThan(50_000);
    expect(samples.get('signet_database_bytes')).toBeLessThan(50_000_000);
  });

  test('tells the build, since when, what it uses, and whether the database answers', async () => {
    const { samples } = await scrape(server);
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    const build = `signet_build_info{version="${version}",node="${process.versions.node}",database="sqlite"}`;
    expect([samples.get(build), samples.get('signet_database_up')]).toEqual([1, 1]);
    const started = samples.get('process_start_time_seconds')!;
    expect(started).toBeLessThanOrEqual(Date.now() / 1000);
    expect(Math.abs(started - (Date.now() / 1000 - process.uptime()))).toBeLessThan(60);
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
    expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0);
  });
});

describe('E26 where Entra is configured', () => {
  let world: EntraWorld;
  beforeAll(async () => {
    const secretExpiresAt = new Date(Date.now() + 20 * 86_400_000).toISOString().slice(0, 10);
    world = await startEntraWorld({ entra: { secretExpiresAt }, values: metricsOn });
  });
  afterAll(() => world.close());

  test('E26 entra_credential_expires_seconds is how long the credential is good for', async () => {
    const left = (await scrape(world.server)).samples.get('entra_credential_expires_seconds{credential="primary"}')!;
    expect(left).toBeGreaterThan(18 * 86_400);
    expect(left).toBeLessThanOrEqual(20 * 86_400);
  });

  test('E26 of one that has expired it is less than 0, and of a second one it is there as well', async () => {
    const { certificate, key } = await world.sim.app.newCertificate({ expired: true });
    const directory = mkdtempSync(join(tmpdir(), 'signet-metrics-'));
    writeFileSync(`${directory}/both.pem`, `${key}\n${certificate}`);
    const secondary = { clientSecret: world.sim.app.secret, secretExpiresAt: '2020-01-01' };
    const expired = await startEntraWorld({
      sim: world.sim,
      values: metricsOn,
      entra: { clientSecret: undefined, certificateFile: `${directory}/both.pem`, secondary },
    });
    await expect.poll(async () => (await scrape(expired.server)).samples.get('entra_state{state="down"}')).toBe(1);
    const { samples } = await scrape(expired.server);
    for (const which of ['primary', 'secondary']) {
      expect(samples.get(`entra_credential_expires_seconds{credential="${which}"}`), which).toBeLessThan(0);
    }
    await expired.close();
    rmSync(directory, { recursive: true });
  });

  test('sign-ins are counted by how they ended, and that the breaker is open is seen', async () => {
    await world.signIn('alice');
    const arrive = async () => {
      const { agent, page } = await world.arrive();
      return { agent, left: await agent.visit(buttonOn(page)) };
    };
    const { agent, left } = await arrive();
    await agent.visit(
      `${world.server.issuer}/sign-in/entra/callback?${new URLSearchParams({
        error: 'access_denied',
        error_subcode: 'cancel',
        state: new URL(left.url).searchParams.get('state')!,
      })}`,
    );
    const forged = await arrive();
    world.sim.nextIdToken({ sign: 'rogue' });
    await world.passMicrosoft(forged.agent, forged.left.url, 'alice');
    const { samples, text } = await scrape(world.server);
    expect(
      ['succeeded', 'declined', 'forged'].map((outcome) =>
        samples.get(`signet_sign_ins_total{method="entra",outcome="${outcome}"}`),
      ),
    ).toEqual([1, 1, 1]);
    expect(samples.get('entra_circuit_breaker_open')).toBe(0);
    for (const personal of [world.sim.user('alice').mail!, world.sim.user('alice').oid, world.sim.app.home.id]) {
      expect(text).not.toContain(personal);
    }

    const waiting = await Promise.all(Array.from({ length: 5 }, arrive));
    const lift = world.sim.fault('token', { reset: 'before-read' });
    for (const { agent: browser, left: page } of waiting) await world.passMicrosoft(browser, page.url, 'alice');
    expect((await scrape(world.server)).samples.get('entra_circuit_breaker_open')).toBe(1);
    lift();
  });
});

describe('figures', () => {
  const parts: GaugeParts = {
    version: '1.2.3',
    database: { engine: 'postgres', takesWrites: async () => true },
    keys: async () => ({ keys: [] }),
    rotation: () => ({ ok: true, clockOffset: 1500 }),
    sweepLag: () => 90_000,
    databaseBytes: async () => 8192,
    log: createLog('silent'),
  };

  test('are there while the database is not, but for those that are in it', async () => {
    const away = async () => {
      throw new AppError('database_unavailable', 503, 'away');
    };
    const samples = parse(
      expose(
        await gauges({
          ...parts,
          database: { engine: 'postgres', takesWrites: async () => false },
          keys: away,
          databaseBytes: away,
          rotation: () => ({ ok: false, clockOffset: 0 }),
        }),
      ),
    );
    expect([samples.get('signet_database_up'), samples.get('signet_key_rotation_ok')]).toEqual([0, 0]);
    expect([...samples.keys()].filter((name) => /^signet_(signing|database_bytes)/.test(name))).toEqual([]);
    expect(parse(expose(await gauges(parts))).get('signet_clock_offset_seconds')).toBe(1.5);
    expect(parse(expose(await gauges(parts))).get('signet_sweep_lag_seconds')).toBe(90);
  });

  test('keep what a request brought along out of labels, and are no more than a scrape can carry', () => {
    const counts = createCounts();
    const audit = counts.counting({ record: () => undefined } as never);
    noteSecret('password', 'a-secret-in-an-error-code');
    for (const error of ['a-secret-in-an-error-code', 'Ada <ada@example.com>', 'x"} 1\nforged 1', '', undefined, 7]) {
      audit.record({ event: 'token.refused', detail: { error } });
    }
    for (let at = 0; at < 1000; at += 1) {
      audit.record({ event: 'authorization.refused', detail: { error: `made_up_${at}` } });
    }
    const text = expose(counts.metrics());
    expect(parse(text).get('signet_refusals_total{request="token",error="other"}')).toBe(6);
    expect(secretsIn(text)).toEqual([]);
    expect(text.split('\n').length).toBeLessThan(250);
  });

  test('have their labels escaped, and numbers as Prometheus writes them', () => {
    const labels = { a: 'quote " backslash \\ line \n' };
    expect(
      expose([
        {
          name: 'x',
          type: 'gauge',
          help: 'two\nlines \\',
          samples: [{ value: Number.NaN, labels }, { value: Infinity }, { value: 1e21 }],
        },
        { name: 'nothing', type: 'gauge', help: 'to tell', samples: [] },
      ]),
    ).toBe(
      [
        '# HELP x two\\nlines \\\\',
        '# TYPE x gauge',
        'x{a="quote \\" backslash \\\\ line \\n"} NaN',
        'x +Inf',
        'x 1e+21',
        '',
      ].join('\n'),
    );
  });

  test('are those that docs/metrics.md names, all of them', async () => {
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names]) => [...names!.matchAll(/`([a-z_]+)`/g)]);
    const entra = () => ({ state: 'ok' as const, isHeldBack: false, expiries: [] });
    const all = [...(await gauges({ ...parts, entra })), ...createCounts().metrics()];
    const ofSupervisor = ['signet_workers', 'signet_worker_restarts_total']; // test/faults/workers.test.ts asks for them
    expect(rows.map(([, name]) => name).sort()).toEqual([...all.map(({ name }) => name), ...ofSupervisor].sort());
  });
});
