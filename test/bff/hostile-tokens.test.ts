// The hostile tokens, as the session of a web application: sealed as the application itself would have sealed them,
// which is the worst case, where its key is in wrong hands. None opens a page, none reaches an upstream, none is
// answered with 5xx, and none makes anybody ask anybody but the issuer.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bff, createBff } from '../../src/bff/index.ts';
import { createCookieSeal, readCookieKeys } from '../../src/bff/seal.ts';
import { newSessionId } from '../../src/bff/session.ts';
import { createVerifier } from '../../src/verifier/index.ts';
import { type HostileTokens, hostileTokens } from '../support/hostile-tokens.ts';
import { secret } from '../support/signet.ts';
import { forgeOf } from '../verifier/forge.ts';
import { audience, startTestIssuer, type TestIssuer } from '../verifier/issuer.ts';
import { type Answer, get } from '../verifier/services.ts';
import { startTrap, type Trap } from '../verifier/trap.ts';
import { cookieOf } from './browser.ts';
import { applications, hosts, cookieKey as newCookieKey } from './world.ts';

const cookieKey = newCookieKey();
const servers: Server[] = [];

let issuer: TestIssuer;
let trap: Trap;
let table: HostileTokens;
let upstream: { url: string; asked: string[] };

/** Ports to which this process opened connections. */
const connected = new Set<number>();
const noteSocket = (message: unknown) => {
  const { socket } = message as { socket: Socket };
  socket.once('connect', () => connected.add(socket.remotePort!));
};

beforeAll(async () => {
  subscribe('net.client.socket', noteSocket);
  issuer = await startTestIssuer();
  issuer.clock.now = Date.now();
  trap = await startTrap();
  table = hostileTokens(forgeOf(issuer, trap.url));
  upstream = { url: '', asked: [] };
  upstream.url = await listen((request, response) => {
    upstream.asked.push(request.url!);
    response.end('{}');
  });
});
afterAll(async () => {
  unsubscribe('net.client.socket', noteSocket);
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  trap.close();
  await issuer.close();
});

async function listen(answer: RequestListener): Promise<string> {
  // So large that no token of the table is kept out by anything but its verifier.
  const server = createServer({ maxHeaderSize: 4 * 1024 * 1024 }, answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// In one cookie, whatever its size: browsers keep no such, but this is no browser.
function cookiesWith(url: string, accessToken: unknown): string {
  const seal = createCookieSeal(readCookieKeys([cookieKey]), JSON.stringify(['bff', url]), 'session');
  const id = newSessionId();
  const session = { accessToken, expiresAt: Date.now() + 600_000, user: { sub: 'person-1' } };
  const name = cookieOf(url);
  return `${name}=${id}; ${name}-s-${id.slice(0, 8)}-0=1.${seal.seal(JSON.stringify(session), `${name} ${id}`)}`;
}

describe.each(hosts)('a web application on %s', (host) => {
  let bff: Bff;
  let url: string;
  beforeAll(async () => {
    let handle: RequestListener = () => {};
    url = await listen((request, response) => handle(request, response));
    bff = createBff({
      issuer: issuer.issuer,
      clientId: 'bff',
      clientSecret: secret,
      baseUrl: url,
      cookieKeys: [cookieKey],
      // Every key that nobody knows is asked for, so that none is refused because another was asked for just now.
      verifier: createVerifier({ issuer: issuer.issuer, audience, cooldownSeconds: 0 }),
    });
    handle = await applications[host](bff, upstream.url);
  });
  afterAll(() => bff.close());

  const ask = (path: string, accessToken: unknown): Promise<Answer> =>
    get(url + path, { cookie: cookiesWith(url, accessToken), 'sec-fetch-site': 'same-origin', 'x-signet-csrf': '1' });

  test('opens a page and its API with what the hostile tokens are made from', async () => {
    upstream.asked.length = 0;
    for (const make of table.genuine) {
      expect(await ask('/me', make())).toMatchObject({ status: 200 });
      expect(await ask('/api/orders', make())).toMatchObject({ status: 200 });
    }
    expect(upstream.asked).toEqual(table.genuine.map(() => '/orders'));
  });

  const paths = [
    ['opens no page', '/me'],
    ['asks no upstream', '/api/orders'],
  ] as const;
  test.each(paths)('%s with any of them', async (_does, path) => {
    upstream.asked.length = 0;
    const before = issuer.requests.length;
    const known = new Set(connected);
    expect(known.size).toBeGreaterThan(0); // by the test before: so that this list is known to be kept
    const wrong: string[] = [];
    for (const [name, , make] of [...table.offline, ...table.unknownKeys]) {
      const { status, body } = await ask(path, make());
      if (status !== 401) wrong.push(`${name}: ${status} ${JSON.stringify(body)}`);
    }
    expect(wrong).toEqual([]);
    expect(upstream.asked).toEqual([]);
    expect([...connected].filter((port) => !known.has(port))).toEqual([]);
    expect(issuer.requests.slice(before).map((request) => request.path)).toEqual(table.unknownKeys.map(() => '/jwks'));
    expect(trap.asked).toBe(0);
  });
});
