import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { createNetwork, type Network, parseRetryAfter } from '../../src/entra/network.ts';
import { createLog, silentLog } from '../../src/log.ts';
import { startRig } from './rig.ts';

const login = 'login.microsoftonline.com';
const post = {
  method: 'POST' as const,
  url: `https://${login}/common/oauth2/v2.0/token`,
  body: 'client_secret=very-secret-value&code=the-code',
};

let sim: EntraSim;
let dispatcher: Agent;
let network: Network;
beforeAll(async () => {
  sim = await startEntraSim();
});
afterAll(() => sim.close());
beforeEach(() => {
  sim.reset();
  dispatcher = new Agent({ connect: sim.connector() });
  network = createNetwork({ hosts: [login, 'graph.microsoft.com'], dispatcher, timeoutMs: 400, log: silentLog });
  return () => dispatcher.destroy();
});

const problem = (request: Parameters<Network['request']>[0] = post) =>
  network.request(request).then(
    ({ status }) => `answered ${status}`,
    (error) => error.problem,
  );

describe('E21 a request to Microsoft', () => {
  test('is answered with a JSON object, also of a refusal', async () => {
    sim.fault('token', { status: 400, body: { error: 'invalid_grant' } });
    expect(await network.request(post)).toMatchObject({ status: 400, document: { error: 'invalid_grant' } });
  });

  test.each([
    'http://login.microsoftonline.com/x',
    'https://attacker.example/x',
    'https://login.microsoftonline.us/x',
    'https://login.microsoftonline.com.attacker.example/x',
    'https://login.microsoftonline.com:8443/x',
    'https://user@login.microsoftonline.com/x',
    'https://login.microsoftonline.com@attacker.example/x',
    'not a URL',
  ])('does not leave for %s', async (url) => {
    expect(await problem({ method: 'GET', url })).toBe('not_allowed');
    expect(sim.requests()).toEqual([]);
  });

  test.each([301, 302, 303, 307, 308])('follows no redirect: of a %i, secret and code stay here', async (status) => {
    sim.fault('token', { status, redirectTo: 'https://attacker.example/take' });
    expect(await problem()).toBe('redirected');
    expect(sim.requests('attacker')).toEqual([]);
    sim.log.assertNeverCarried('very-secret-value', 'attacker.example');
  });

  test.each([
    ['hangs before the headers', { hang: 'before-headers' as const }],
    ['hangs after the headers', { hang: 'after-headers' as const }],
    ['drips byte by byte', { drip: { everyMs: 30 }, body: { error: 'x'.repeat(500) }, status: 400 }],
  ])('that %s ends at the deadline, which is one for headers and body', async (_name, fault) => {
    sim.fault('token', fault);
    const begun = Date.now();
    expect(await problem()).toBe('lost');
    expect(Date.now() - begun).toBeLessThan(10_000); // dripping, it would take fifteen seconds
    expect(sim.requests('token')).toHaveLength(1);
  });

  test('with more than a megabyte in its answer ends there', async () => {
    sim.fault('token', { status: 400, body: { error: 'invalid_grant', filler: 'x'.repeat(1_100_000) } });
    expect(await problem()).toBe('too_large');
  });

  test('whose answer is packed is not unpacked', async () => {
    sim.fault('token', { gzipBombMegabytes: 20 });
    const patient = createNetwork({ hosts: [login], dispatcher, timeoutMs: 10_000, log: silentLog });
    await expect(patient.request(post)).rejects.toMatchObject({ problem: 'encoded' });
    expect(sim.requests('token')[0]!.headers['accept-encoding']).toBe('identity');
  });

  test.each([
    ['a page', { body: '<html>proxy</html>' }],
    ['a page with a refusal’s status', { status: 403, body: '<html>blocked</html>' }],
    ['nothing', { body: '' }],
    ['null', { body: null }],
    ['a list', { body: [1] }],
  ])('that is answered with %s was not answered', async (_name, fault) => {
    sim.fault('token', fault);
    expect(await problem()).toBe('not_json');
  });

  test.each([
    [429, 'throttled'],
    [500, 'failing'],
    [502, 'failing'],
    [503, 'failing'],
    [599, 'failing'],
  ])(
    'that is answered with %i is an error, whatever the body says, and is not sent again',
    async (status, expected) => {
      sim.fault('token', { status, body: {}, retryAfter: 5 });
      await expect(network.request(post)).rejects.toMatchObject({ problem: expected, status, retryAfterSeconds: 5 });
      expect(sim.requests('token')).toHaveLength(1);
    },
  );

  test.each(['expired', 'wrong-host', 'unknown-ca'] as const)(
    'to a server whose certificate is wrong (%s) is not written',
    async (mode) => {
      await sim.tls(mode);
      expect(await problem()).toBe('unreachable');
      expect(sim.requests()).toEqual([]);
      await sim.tls('good');
    },
  );

  test('through a proxy asks the proxy for a tunnel, with its password, and nothing else of anybody', async () => {
    const tunnels: Array<{ target: string; authorization: string | undefined }> = [];
    const proxy = createServer();
    proxy.on('connect', (request, socket) => {
      tunnels.push({ target: request.url!, authorization: request.headers['proxy-authorization'] });
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const url = `http://user:pass-word@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const through = createNetwork({ hosts: [login], proxy: url, timeoutMs: 1000, log: silentLog });
    await expect(through.request(post)).rejects.toMatchObject({ name: 'UpstreamError' });
    expect(tunnels[0]).toEqual({ target: `${login}:443`, authorization: `Basic ${btoa('user:pass-word')}` });
    await through.close();
    proxy.close();
  });
});

describe('E22 a request that failed', () => {
  test('before it was written is sent once more', async () => {
    let dials = 0;
    const refuseFirst = new Agent({
      connect: (options, callback) => {
        dials += 1;
        if (dials === 1) callback(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), null);
        else sim.connector()(options, callback);
      },
    });
    const retrying = createNetwork({ hosts: [login], dispatcher: refuseFirst, timeoutMs: 1000, log: silentLog });
    sim.fault('token', { status: 400, body: { error: 'x' } });
    expect((await retrying.request(post)).status).toBe(400);
    expect(sim.requests('token')).toHaveLength(1);
    await refuseFirst.destroy();
  });

  test('twice before it was written is given up', async () => {
    await sim.stop();
    try {
      expect(await problem()).toBe('unreachable');
    } finally {
      await sim.restart();
    }
  });

  test.each(['after-read', 'after-handling'] as const)(
    'by a reset %s is never sent again: the code may be spent',
    async (reset) => {
      const rig = await startRig(sim);
      sim.signInAs('alice');
      sim.fault('token', { reset });
      await rig.signIn();
      expect(rig.failures).toMatchObject([{ failure: 'transient', facts: { reason: 'lost' } }]);
      expect(sim.requests('token')).toHaveLength(1);
      await rig.close();
    },
  );
});

describe('E39 the clock', () => {
  test('is compared with Microsoft’s at every answer, and a minute is told once', async () => {
    const lines: string[] = [];
    let offsetMs = 0;
    const watching = createNetwork({
      hosts: [login],
      dispatcher,
      timeoutMs: 1000,
      now: () => Date.now() + offsetMs,
      log: createLog('debug', (line) => lines.push(line)),
    });
    sim.fault('token', { status: 400, body: { error: 'x' } });
    await watching.request(post);
    expect(Math.abs(watching.clockAheadSeconds()!)).toBeLessThanOrEqual(2);
    for (offsetMs of [90_000, 91_000, -90_000]) await watching.request(post);
    expect(Math.abs(watching.clockAheadSeconds()! + 90)).toBeLessThanOrEqual(2);
    expect(lines.map((line) => JSON.parse(line).event)).toEqual(['entra.clock_off']);
  });
});

describe('Retry-After', () => {
  test.each([
    ['17', 17],
    ['0', 0],
    [' 5 ', 5],
    [undefined, undefined],
    ['soon', undefined],
    ['-1', undefined],
    ['1e9', undefined],
    ['Thu, 01 Jan 1970 00:01:00 GMT', 60],
    ['Thu, 01 Jan 1969 00:00:00 GMT', 0],
  ])('%s is %s seconds', (value, seconds) => {
    expect(parseRetryAfter(value, 0)).toBe(seconds);
  });
});
