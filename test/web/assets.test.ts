import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAssets } from '../../src/web/assets.ts';
import { send, serve } from './serve.ts';

const branding = { name: 'Acme', color: '#1f5eff' };
const { middleware, urls } = createAssets(branding);
const folder = mkdtempSync(join(tmpdir(), 'signet-assets-'));
let server: Awaited<ReturnType<typeof serve>>;

beforeAll(async () => {
  server = await serve(middleware, (ctx) => {
    ctx.body = 'not an asset';
  });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

function logo(name: string, content: string | Buffer): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

describe('an asset', () => {
  test.each([
    ['stylesheet', 'text/css; charset=utf-8'],
    ['brand', 'text/css; charset=utf-8'],
    ['icon', 'image/svg+xml'],
    ['goOn', 'text/javascript; charset=utf-8'],
  ] as const)('is kept by browsers for good (%s)', async (name, contentType) => {
    const answer = await fetch(server.url + urls[name]);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe(contentType);
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('content-security-policy')).toContain('sandbox');
    expect((await answer.text()).length).toBeGreaterThan(20);
  });

  test('is not sent again to who has it', async () => {
    const path = urls.stylesheet;
    const first = await send(server.url, { path });
    const again = await send(server.url, { path, headers: { 'if-none-match': first.headers.etag ?? '' } });
    expect([again.status, again.text]).toEqual([304, '']);
    expect(again.headers.etag).toBe(first.headers.etag);
  });

  test('is described without its body by HEAD', async () => {
    const answer = await fetch(server.url + urls.stylesheet, { method: 'HEAD' });
    expect([answer.status, await answer.text()]).toEqual([200, '']);
    expect(Number(answer.headers.get('content-length'))).toBeGreaterThan(100);
  });

  test('has another address once its content is another', () => {
    const other = createAssets({ ...branding, color: '#0a7a52' }).urls;
    expect(other.brand).not.toBe(urls.brand);
    expect(other.stylesheet).toBe(urls.stylesheet);
  });
});

describe('anything else under /assets/', () => {
  test.each([
    '/assets/',
    '/assets/signet.css',
    '/assets/signet.0000000000000000.css',
    '/assets/../package.json',
    '/assets/%2e%2e/package.json',
    '/assets//etc/passwd',
  ])('is not found, and not remembered (%s)', async (path) => {
    const answer = await send(server.url, { path });
    expect([answer.status, answer.headers['cache-control']]).toEqual([404, 'no-store']);
  });

  test('cannot be written to', async () => {
    const answer = await fetch(server.url + urls.stylesheet, { method: 'POST' });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('does not stand in the way of other paths', async () => {
    expect(await (await fetch(`${server.url}/assetsX`)).text()).toBe('not an asset');
  });
});

describe("a logo of one's own", () => {
  const drawing = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>';

  test('is served, and is the icon as well', async () => {
    const own = createAssets({ ...branding, logoFile: logo('own.svg', drawing) });
    expect(own.urls.logo).toMatch(/^\/assets\/logo\.[0-9a-f]{16}\.svg$/);
    expect(own.urls.icon).toBe(own.urls.logo);
  });

  test('cannot run its scripts when it is opened by itself', async () => {
    const own = createAssets({ ...branding, logoFile: logo('own.svg', drawing) });
    const other = await serve(own.middleware);
    try {
      const answer = await fetch(other.url + own.urls.logo);
      expect(answer.headers.get('content-type')).toBe('image/svg+xml');
      expect(answer.headers.get('content-security-policy')).toBe(
        "default-src 'none'; style-src 'unsafe-inline'; sandbox",
      );
    } finally {
      await other.close();
    }
  });

  test.each([
    ['of a kind that browsers might guess about', () => logo('logo.gif', 'GIF89a'), 'unsupported_logo'],
    ['that is not there', () => join(folder, 'missing.png'), 'unreadable_logo'],
  ])('%s stops the start', (_name, file, code) => {
    expect(() => createAssets({ ...branding, logoFile: file() })).toThrow(expect.objectContaining({ code }));
  });
});
