import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createDocument } from '../../src/web/document.ts';
import { createFront } from '../../src/web/front.ts';

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const issuer = 'https://id.example.com';
const contentHeaders = { 'Content-Type': 'text/plain; charset=utf-8' };

function frontWith(document: ReturnType<typeof createDocument>): RequestListener {
  return createFront({
    trustedProxies: [],
    token: async () => undefined,
    documents: [({ url }) => (url === '/document' ? document : undefined)],
    everythingElse: (_req, res) => void res.writeHead(503).end('the long way'),
  });
}

describe('a document that the front sends', () => {
  test.each([
    ['short and of ASCII', 'short'],
    ['short, with letters of more bytes', 'schöne Grüße an Łukasz 🙂'],
    ['with letters of one byte that are two in UTF-8', 'é'.repeat(50)],
    ['long', 'x'.repeat(200_000)],
    ['long, with other letters', 'ß'.repeat(100_000)],
  ])('arrives as it was made: %s', async (_what, body) => {
    const document = createDocument({ issuer, body, etag: '"tag"', headers: {}, contentHeaders });
    const url = await serve(frontWith(document));
    const answer = await fetch(`${url}/document`);
    expect(answer.headers.get('content-length')).toBe(String(Buffer.byteLength(body)));
    expect(await answer.text()).toBe(body);
    const looked = await fetch(`${url}/document`, { method: 'HEAD' });
    expect(looked.headers.get('content-length')).toBe(String(Buffer.byteLength(body)));
    const known = await fetch(`${url}/document`, { headers: { 'If-None-Match': 'W/"tag"' } });
    expect([known.status, known.headers.get('content-type'), known.headers.get('strict-transport-security')]).toEqual([
      304,
      null,
      'max-age=31536000',
    ]);
  });

  test('closes the connection where it was asked to before, as a server does on its way out', async () => {
    const front = frontWith(createDocument({ issuer, body: 'short', etag: '"tag"', headers: {}, contentHeaders }));
    const url = await serve((req, res) => {
      res.setHeader('Connection', 'close');
      front(req, res);
    });
    for (const headers of [{}, { 'If-None-Match': '"tag"' }]) {
      const answer = await fetch(`${url}/document`, { headers: headers as Record<string, string> });
      expect([answer.headers.get('connection'), answer.headers.get('x-frame-options')]).toEqual(['close', 'DENY']);
      expect(await answer.text()).toBe(answer.status === 200 ? 'short' : '');
    }
  });

  test('goes the long way, which has an answer for failures, where it cannot be noted who was given it', async () => {
    const onServed = () => {
      throw new TypeError('of whatever kind');
    };
    const url = await serve(
      frontWith(createDocument({ issuer, body: 'short', headers: {}, contentHeaders, onServed })),
    );
    const answer = await fetch(`${url}/document`);
    expect([answer.status, await answer.text()]).toEqual([503, 'the long way']);
  });

  test('is sent for GET and HEAD alone', async () => {
    const url = await serve(frontWith(createDocument({ issuer, body: 'short', headers: {}, contentHeaders })));
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      expect((await fetch(`${url}/document`, { method })).status).toBe(503);
    }
  });
});
