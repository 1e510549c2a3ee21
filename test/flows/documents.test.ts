// The documents that are the same for everybody are answered from memory, in front of everything else (web/front.ts). What
// nobody asks plainly goes the long way, and a query makes a request of that kind: nobody can tell the two apart.

import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { startSignet, type TestServer } from '../support/signet.ts';
import { asClient, tokenRequest } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({ values: { proxy: { trusted: ['127.0.0.1', '::1'] } } });
  await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
  await vi.waitFor(async () => expect((await ask('/status-lists/1')).status).toBe(200));
});
afterAll(() => server.close());

interface Answer {
  status: number | undefined;
  /** In the order in which they came, but for the time and the name of the request. */
  headers: Record<string, string>;
  requestId: string | undefined;
  body: Buffer;
}

function ask(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(server.url + path, { method, headers }, async (incoming) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const { date, 'x-request-id': requestId, ...rest } = incoming.headersDistinct;
      expect(date).toHaveLength(1);
      expect(requestId).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/)]);
      const flat = Object.entries(rest).map(([name, values]) => [name, values!.join(' AND ')] as const);
      resolve({
        status: incoming.statusCode,
        headers: Object.fromEntries(flat.sort()),
        requestId: requestId![0],
        body: Buffer.concat(chunks),
      });
    });
    outgoing.once('error', reject).end();
  });
}

const documents = [
  '/jwks',
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
  '/status-lists',
  '/status-lists/1',
];

describe.each(documents)('%s', (path) => {
  const variants: Array<Record<string, string>> = [
    {},
    { Origin: 'https://app.example.com' },
    { Origin: 'null' },
    { Origin: '' },
    { Accept: '*/*' },
    { Accept: 'application/json, text/html;q=0.5' },
    { Accept: 'application/statuslist+jwt' },
    { Accept: 'text/html' },
    { Accept: '' },
    ...[
      'gzip',
      'gzip, deflate',
      'gzip, deflate, br, zstd',
      'br,gzip',
      'br, deflate',
      'identity',
      'identity, gzip',
      'gzip;q=0',
      'gzip;q=0.1, identity',
      '*',
      '*;q=0',
      'GZIP',
      'x-gzip',
      '',
    ].map((encoding) => ({ 'Accept-Encoding': encoding })),
    { 'Cache-Control': 'no-cache', 'If-Modified-Since': 'Tue, 01 Dec 2026 04:07:16 GMT' },
    { Range: 'bytes=0-10' },
    { Connection: 'close' },
    { Host: 'attacker.example', 'X-Forwarded-Host': 'attacker.example', 'X-Forwarded-Proto': 'https' },
  ];

  test('is the same answer from memory as the long way, header by header, however it is asked', async () => {
    const { headers } = await ask(path);
    const etag = headers.etag ?? '"none"';
    const conditions = [
      undefined,
      etag,
      etag.replace(/^W\//, ''),
      `W/${etag.replace(/^W\//, '')}`,
      `"other", ${etag}`,
      '"other"',
      '*',
      ' * ',
      '"*"',
      `*, "other"`,
      '',
      ',',
      `${etag}x`,
    ];
    for (const method of ['GET', 'HEAD']) {
      for (const variant of variants) {
        for (const condition of variant.Origin || variant['Accept-Encoding'] || variant === variants[0]
          ? conditions
          : [undefined, etag]) {
          const asking = { ...variant, ...(condition !== undefined && { 'If-None-Match': condition }) };
          const [fast, slow] = [await ask(path, asking, method), await ask(`${path}?x`, asking, method)];
          const { requestId: one, ...answer } = fast;
          const { requestId: other, ...expected } = slow;
          expect(answer, `${method} ${JSON.stringify(asking)}`).toEqual(expected);
          expect(one).not.toBe(other);
        }
      }
    }
  });

  test('is told by nobody but its tag to have changed: a star is 304 where there is something (RFC 9110 §13.1.2)', async () => {
    const { headers } = await ask(path);
    const expected = headers.etag === undefined ? 200 : 304;
    for (const method of ['GET', 'HEAD']) {
      expect((await ask(path, { 'If-None-Match': '*' }, method)).status).toBe(expected);
      expect((await ask(`${path}?x`, { 'If-None-Match': '*' }, method)).status).toBe(expected);
    }
  });

  test('is answered to a list of tags as long as a request may be, at once', async () => {
    const { headers, body } = await ask(path);
    const before = performance.now();
    const commas = await ask(path, { 'If-None-Match': ','.repeat(30_000) });
    const known = await ask(path, { 'If-None-Match': `${'W/"x",'.repeat(5_000)}${headers.etag}` });
    expect(performance.now() - before).toBeLessThan(2_000);
    expect([commas.status, commas.body]).toEqual([200, body]);
    expect(known.status).toBe(headers.etag === undefined ? 200 : 304);
  });

  test('has a name of its own for each request on one connection, and answers in their order', async () => {
    const { headers } = await ask(path);
    const host = 'Host: id.example.com\r\n';
    const text = await exchange(
      `GET ${path} HTTP/1.1\r\n${host}\r\n` +
        `GET ${path}?x HTTP/1.1\r\n${host}If-None-Match: ${headers.etag ?? '"none"'}\r\n\r\n` +
        `HEAD ${path} HTTP/1.1\r\n${host}\r\n` +
        `GET /nothing HTTP/1.1\r\n${host}\r\n` +
        `GET ${path} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
    );
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));
    expect(statuses).toEqual([200, headers.etag === undefined ? 200 : 304, 200, 404, 200]);
    expect(new Set(text.match(/X-Request-Id: \w+/g)).size).toBe(5);
  });

  test('is the same to HTTP/1.0 without a host, and refused by an address of the absolute form', async () => {
    const { body, headers } = await ask(path);
    const old = await exchange(`GET ${path} HTTP/1.0\r\n\r\n`);
    expect(old).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(old).toContain(`Content-Length: ${body.length}\r\n`);
    expect(old).toContain('Connection: close\r\n');
    expect(old.slice(old.indexOf('\r\n\r\n') + 4)).toBe(body.toString('latin1'));
    expect(old).toContain(`Cache-Control: ${headers['cache-control']}\r\n`);
    for (const target of [`http://attacker.example${path}`, `//attacker.example${path}`, `${path}/`, `${path}%00`]) {
      const refused = await exchange(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect(refused, target).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
  });
});

async function exchange(text: string): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (data: string) => (answer += data));
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

test('a status list in gzip is the one without', async () => {
  const [plain, zipped] = [await ask('/status-lists/1'), await ask('/status-lists/1', { 'Accept-Encoding': 'gzip' })];
  expect(zipped.headers['content-encoding']).toBe('gzip');
  expect(gunzipSync(zipped.body)).toEqual(plain.body);
});

test('a fetch of the JWKS is counted for whoever made it, by either way, and a look at its headers is not', async () => {
  await ask('/jwks');
  const { headers } = await ask('/jwks');
  const from = { 'User-Agent': 'counted/1', 'X-Forwarded-For': '192.0.2.7' };
  await ask('/jwks', from);
  await ask('/jwks', { ...from, 'If-None-Match': headers.etag! });
  await ask('/jwks?x', from);
  await ask('/jwks', from, 'HEAD');
  await ask('/.well-known/openid-configuration', from);
  const counted = async () => {
    const { rows } = await server.store.db.query(
      "select name, address, fetches from jwks_consumers where name = 'counted/1'",
    );
    return rows;
  };
  await vi.waitFor(
    async () => expect(await counted()).toEqual([{ name: 'counted/1', address: '192.0.2.7', fetches: 3 }]),
    // They are written every ten seconds.
    { timeout: 30_000 },
  );
}, 40_000);

test('a key that is new is in the JWKS at once, and the tag of the old one does not count any more', async () => {
  const own = await startSignet();
  onTestFinished(() => own.close());
  const read = async (headers: Record<string, string> = {}) => fetch(`${own.issuer}/jwks`, { headers });
  const tag = (await read()).headers.get('etag')!;
  expect((await read({ 'If-None-Match': tag })).status).toBe(304);
  const [prepared] = (await own.store.keys.status()).keys.filter(({ state }) => state === 'prepared');
  await own.store.keys.revoke(prepared!.kid, 'a test', { actor: 'test' });
  await vi.waitFor(
    async () => {
      const answer = await read({ 'If-None-Match': tag });
      expect(answer.status).toBe(200);
      expect(await answer.text()).not.toContain(prepared!.kid);
    },
    { timeout: 15_000, interval: 50 },
  );
});
