import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { afterAll, describe, expect, test } from 'vitest';
import {
  addressPrefix,
  clientAddress,
  pageCsp,
  readForm,
  requestId,
  requireSameOrigin,
  securityHeaders,
  sendPage,
} from '../../src/web/guard.ts';
import { send, serve } from './serve.ts';

const closers: Array<() => Promise<void>> = [];
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

async function running(...stack: Parameters<typeof serve>): Promise<string> {
  const { url, close } = await serve(...stack);
  closers.push(close);
  return url;
}

describe('the headers of every answer', () => {
  test('are these, for an issuer on https', async () => {
    const url = await running(securityHeaders({ issuer: 'https://id.example.com' }), (ctx) => {
      ctx.body = {};
    });
    const { headers } = await fetch(url);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('permissions-policy')).toContain('camera=()');
    expect(headers.get('strict-transport-security')).toBe('max-age=31536000');
  });

  test('do not promise https where there is none', async () => {
    const url = await running(securityHeaders({ issuer: 'http://localhost:3000' }), (ctx) => {
      ctx.body = {};
    });
    expect((await fetch(url)).headers.get('strict-transport-security')).toBeNull();
  });

  test('leave alone what the popup of an application and a cross-origin fetch need', async () => {
    const url = await running(securityHeaders({ issuer: 'https://id.example.com' }), (ctx) => {
      ctx.body = {};
    });
    const { headers } = await fetch(url);
    expect(headers.get('cross-origin-opener-policy')).toBeNull();
    expect(headers.get('cross-origin-resource-policy')).toBeNull();
  });
});

describe('a page of ours', () => {
  test('is stored by nobody, framed by nobody, and allows no script', async () => {
    const formAction = ['https://app.example.com/cb?x=1'];
    const url = await running((ctx) => sendPage(ctx, '<h1>Hello</h1>', { status: 403, formAction }));
    const answer = await fetch(url);
    expect(answer.status).toBe(403);
    expect(await answer.text()).toBe('<h1>Hello</h1>');
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('referrer-policy')).toBe('same-origin');
    expect(answer.headers.get('content-security-policy')).toBe(
      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https:; " +
        "frame-ancestors 'none'; base-uri 'none'",
    );
  });

  test.each([
    ['nowhere', [], "form-action 'self'"],
    ['a web application', ['https://app.example.com/cb?a=b#c'], "form-action 'self' https:"],
    ['a port', ['http://localhost:5173/cb'], "form-action 'self' http://localhost:5173"],
    ['one origin twice', ['http://a.example/1', 'http://a.example/2'], "form-action 'self' http://a.example"],
    ['a name beyond ASCII', ['http://bücher.example/'], "form-action 'self' http://xn--bcher-kva.example"],
    ['a private-use scheme', ['com.example.app:/cb'], "form-action 'self' com.example.app:"],
    ['an IPv6 literal, which CSP cannot spell', ['http://[::1]:5173/cb'], undefined],
    ['something that would end the directive', ['https://a.example;script-src *'], undefined],
  ])('lets its form lead to %s', (_name, formAction, expected) => {
    expect(
      pageCsp({ formAction })
        .split('; ')
        .find((directive) => directive.startsWith('form-action')),
    ).toBe(expected);
    expect(pageCsp({ formAction })).not.toContain('script-src');
  });
});

describe('a form of ours, posted', () => {
  const issuer = 'https://id.example.com';
  test.each([
    ['from our page', { 'sec-fetch-site': 'same-origin', origin: issuer }, 200],
    ['from our page, its origin withheld', { 'sec-fetch-site': 'same-origin', origin: 'null' }, 200],
    ['from our page in a browser without Sec-Fetch-Site', { origin: issuer }, 200],
    ['from another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, 403],
    ['from another site that claims our origin', { 'sec-fetch-site': 'cross-site', origin: issuer }, 403],
    ['from a sibling', { 'sec-fetch-site': 'same-site', origin: 'https://www.example.com' }, 403],
    ['from a bookmark or a tool of the browser', { 'sec-fetch-site': 'none' }, 403],
    ['with a value nobody knows', { 'sec-fetch-site': 'Same-Origin' }, 403],
    ['with another origin only', { origin: 'https://evil.example' }, 403],
    ['with our host on another port', { origin: 'https://id.example.com:8443' }, 403],
    ['with our host on http', { origin: 'http://id.example.com' }, 403],
    ['with our host as a prefix', { origin: 'https://id.example.com.evil.example' }, 403],
    ['with a null origin only', { origin: 'null' }, 403],
    ['with neither header', {}, 403],
    ['with a Host header that matches its origin', { origin: 'https://evil.example', host: 'evil.example' }, 403],
  ] as Array<[string, Record<string, string>, number]>)('%s', async (_name, headers, status) => {
    const url = await running(requireSameOrigin({ issuer: `${issuer}/path` }), (ctx) => {
      ctx.body = {};
    });
    expect((await send(url, { method: 'POST', headers })).status).toBe(status);
  });

  test('is not what GET is held against', async () => {
    const url = await running(requireSameOrigin({ issuer }), (ctx) => {
      ctx.body = {};
    });
    expect((await fetch(url)).status).toBe(200);
  });
});

describe('reading a form', () => {
  const reader = () =>
    running(async (ctx) => {
      ctx.body = [...(await readForm(ctx, { maxBytes: 64 }))];
    });
  const form = 'application/x-www-form-urlencoded';

  test.each([
    [
      'two fields',
      'email=ada%40example.com&password=a+b',
      [
        ['email', 'ada@example.com'],
        ['password', 'a b'],
      ],
    ],
    [
      'names that objects keep for themselves',
      '__proto__=1&toString=2',
      [
        ['__proto__', '1'],
        ['toString', '2'],
      ],
    ],
    ['characters beyond ASCII', 'name=%C3%A9%F0%9F%94%91', [['name', 'é🔑']]],
    ['a field without a value', 'cancel', [['cancel', '']]],
    ['nothing', '', []],
    ['exactly as much as is read', `a=${'x'.repeat(62)}`, [['a', 'x'.repeat(62)]]],
  ])('%s', async (_name, body, fields) => {
    const { status, text } = await send(await reader(), { method: 'POST', body, headers: { 'content-type': form } });
    expect([status, JSON.parse(text)]).toEqual([200, fields]);
  });

  test.each([
    ['JSON', '{}', { 'content-type': 'application/json' }, 415, 'unsupported_form'],
    ['multipart', 'a=1', { 'content-type': 'multipart/form-data; boundary=x' }, 415, 'unsupported_form'],
    ['plain text, which a cross-site form may send', 'a=1', { 'content-type': 'text/plain' }, 415, 'unsupported_form'],
    ['no type', 'a=1', {}, 415, 'unsupported_form'],
    ['another charset', 'a=1', { 'content-type': `${form}; charset=utf-16` }, 415, 'unsupported_form'],
    ['a compressed body', 'a=1', { 'content-type': form, 'content-encoding': 'gzip' }, 415, 'unsupported_form'],
    ['a byte too many', `a=${'x'.repeat(63)}`, { 'content-type': form }, 413, 'form_too_large'],
    ['a field twice', 'a=1&a=1', { 'content-type': form }, 400, 'duplicate_field'],
    ['a field twice, spelled differently', 'a=1&%61=2', { 'content-type': form }, 400, 'duplicate_field'],
    ['bytes that are not UTF-8', Buffer.from([0x61, 0x3d, 0xff]), { 'content-type': form }, 400, 'malformed_form'],
  ] as Array<[string, string | Buffer, Record<string, string>, number, string]>)('refuses %s', async (...row) => {
    const [, body, headers, status, code] = row;
    const answer = await send(await reader(), { method: 'POST', body, headers });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([status, { code }]);
  });

  test('stops at the limit when no length was announced', async () => {
    const url = await reader();
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { 'content-type': form, 'transfer-encoding': 'chunked' };
      const sending = request(url, { method: 'POST', headers }, resolve);
      sending.on('error', reject);
      sending.write('a=');
      sending.write('x'.repeat(100)); // and never ended: the answer must not wait for the rest
    });
    expect(answer.statusCode).toBe(413);
    expect(answer.headers.connection).toBe('close');
    answer.destroy();
  });
});

describe('the address a request counts for', () => {
  const proxies = ['10.0.0.0/8', '192.0.2.7', '2001:db8:1::/48'];
  test.each([
    ['nobody in between', '203.0.113.9', undefined, '203.0.113.9'],
    ['a stranger who claims another address', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['a trusted proxy', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['a client that prepends lies', '10.1.2.3', '1.1.1.1, 127.0.0.1, 203.0.113.9', '203.0.113.9'],
    ['a chain of trusted proxies', '10.1.2.3', '203.0.113.9, 192.0.2.7,10.9.9.9', '203.0.113.9'],
    ['a proxy of somebody else in the chain', '10.1.2.3', '1.1.1.1, 192.0.2.8', '192.0.2.8'],
    ['a request that began inside', '10.1.2.3', '10.5.5.5', '10.5.5.5'],
    ['a trusted proxy that says nothing', '10.1.2.3', undefined, '10.1.2.3'],
    ['a trusted proxy that says nonsense', '10.1.2.3', '203.0.113.9, <script>', '10.1.2.3'],
    ['an empty element', '10.1.2.3', '203.0.113.9,', '10.1.2.3'],
    ['IPv4 on a dual-stack socket', '::ffff:10.1.2.3', '::ffff:203.0.113.9', '203.0.113.9'],
    ['the same in hexadecimal', '::ffff:0a01:0203', '203.0.113.9', '203.0.113.9'],
    ['IPv6', '2001:db8:1::5', '2001:DB8:9:0:0:0:0:1', '2001:db8:9::1'],
    ['ports, as some proxies add', '10.1.2.3', '203.0.113.9:4711', '203.0.113.9'],
    ['IPv6 in brackets', '10.1.2.3', '[2001:db8:9::1]:4711', '2001:db8:9::1'],
    ['a zone', 'fe80::1%eth0', undefined, 'fe80::1'],
    ['a socket that is gone', undefined, undefined, 'unknown'],
  ])('%s', (_name, peer, forwarded, expected) => {
    const req = { socket: { remoteAddress: peer }, headers: { ...(forwarded && { 'x-forwarded-for': forwarded }) } };
    expect(clientAddress(req as IncomingMessage, proxies)).toBe(expected);
  });

  test('is the peer when no proxy is trusted, whatever is claimed', () => {
    const req = { socket: { remoteAddress: '10.1.2.3' }, headers: { 'x-forwarded-for': '203.0.113.9' } };
    expect(clientAddress(req as unknown as IncomingMessage, [])).toBe('10.1.2.3');
  });

  test.each(['10.0.0.0/33', 'localhost', '', '10.0.0.0/x'])('a proxy written as %j is refused', (entry) => {
    const req = { socket: { remoteAddress: '10.1.2.3' }, headers: {} };
    const refusal = expect.objectContaining({ code: 'invalid_proxy' });
    expect(() => clientAddress(req as IncomingMessage, [entry])).toThrow(refusal);
  });

  test.each([
    ['203.0.113.9', '203.0.113.9'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['unknown', 'unknown'],
  ])('%s is counted by %s', (address, prefix) => {
    expect(addressPrefix(address)).toBe(prefix);
  });
});

describe('the name of a request', () => {
  test('is new each time, is sent back, and is never what the client sent', async () => {
    const url = await running(requestId(), (ctx) => {
      ctx.body = { seen: ctx.state.requestId };
    });
    const ask = async () => {
      const answer = await fetch(url, { headers: { 'x-request-id': 'chosen-by-the-client' } });
      expect(await answer.json()).toEqual({ seen: answer.headers.get('x-request-id') });
      return answer.headers.get('x-request-id');
    };
    const [one, other] = [await ask(), await ask()];
    expect(one).toMatch(/^[0-9a-f]{16}$/);
    expect(one).not.toBe(other);
  });
});
