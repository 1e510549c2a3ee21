import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { afterAll, describe, expect, test } from 'vitest';
import { readForm, requireSameOrigin } from '../../src/web/body.ts';
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
