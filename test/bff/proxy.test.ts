import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createProxyUpstream } from '../../src/bff/proxy.ts';
import { Browser, json } from './browser.ts';
import { type App, hosts, startWorld, type World } from './world.ts';

let world: World;
let app: App;
let browser: Browser;
beforeAll(async () => {
  world = await startWorld();
  app = await world.start();
  browser = new Browser();
  await browser.signIn(`${app.url}/bff/sign-in`);
});
afterAll(() => world.close());

const usual = () => world.upstream.answer;
let answerUsually: ReturnType<typeof usual>;
beforeAll(() => {
  answerUsually = usual();
});
afterEach(() => {
  world.upstream.answer = answerUsually;
});

const cookie = () => [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');

/** Writes `lines` as they are and reads until the connection ends or is idle. */
async function raw(lines: string[], body = ''): Promise<string> {
  const { port, hostname } = new URL(app.listening);
  const socket = connect(Number(port), hostname);
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  socket.setTimeout(300, () => socket.destroy());
  let text = '';
  socket
    .on('data', (chunk) => {
      text += chunk;
    })
    .on('error', () => {});
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

const own = () => [
  `Host: ${new URL(app.url).host}`,
  `Cookie: ${cookie()}`,
  'X-Signet-CSRF: 1',
  'Sec-Fetch-Site: same-origin',
];

describe('what reaches the upstream', () => {
  test('is the request without what is between browser and application', async () => {
    await raw(
      [
        'POST /api/orders HTTP/1.1',
        ...own(),
        'Authorization: Bearer stolen',
        'Connection: close, X-Secret, Content-Length, Authorization',
        'X-Secret: hop',
        'Keep-Alive: timeout=5',
        'Proxy-Authorization: Basic abc',
        'Proxy-Connection: keep-alive',
        'TE: trailers',
        'Trailer: X-Sum',
        'Upgrade: websocket',
        'Expect: 100-continue',
        'X-Forwarded-For: 10.0.0.1',
        'X-Forwarded-Host: other.example',
        'Forwarded: for=10.0.0.1',
        'X-Real-IP: 10.0.0.1',
        'Origin: https://shop.example.com',
        'Content-Type: text/plain',
        'Content-Length: 2',
        'X-Api-Version: 3',
        'Accept: application/json',
        'If-None-Match: "a"',
      ],
      'hi',
    );
    const { headers, body, method, url } = world.upstream.received.at(-1)!;
    expect({ body, method, url }).toEqual({ body: 'hi', method: 'POST', url: '/orders' });
    expect(Object.keys(headers).sort()).toEqual([
      'accept',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'if-none-match',
      'x-api-version',
    ]);
    expect(headers.connection).toBe('keep-alive');
    expect(headers.host).toBe(new URL(world.upstream.url).host);
    expect(headers.authorization).toMatch(/^Bearer ey/);
  });

  // Gateways, platforms and servers write these; who else can make an API believe them is whom they say.
  test.each([
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-HTTP-Method-Override',
    'X-HTTP-Method',
    'X-Method-Override',
    'Remote-User',
    'X-Remote-User',
    'Remote-Groups',
    'X-Forwarded-User',
    'X-Forwarded-Email',
    'X-Auth-Request-User',
    'X-WEBAUTH-USER',
    'Proxy',
    'X-Client-IP',
    'True-Client-IP',
    'CF-Connecting-IP',
    'Fastly-Client-IP',
    'X-Cluster-Client-IP',
    'X-Azure-ClientIP',
    'X-Ms-Client-Principal',
    'X-Ms-Client-Principal-Id',
    'X-Ms-Token-Aad-Id-Token',
    'X-Amzn-Oidc-Data',
    'X-Amzn-Oidc-Identity',
    'X-Goog-Authenticated-User-Email',
    'X-Goog-Iap-Jwt-Assertion',
    'Cf-Access-Jwt-Assertion',
    'Tailscale-User-Login',
    'X-SSL-Client-Verify',
    'Client-Cert',
    'X-User-Id',
    'X-Tenant',
    'X-Envoy-Original-Path',
    'X-Envoy-Internal',
    'X-Kubernetes-User',
    'Impersonate-User',
    'X-Original-Host',
    'X-Host',
    'X_Forwarded_For',
    'X_Forwarded-Proto',
    'Remote_User',
    'CONTENT_TYPE',
    'Baggage',
    'Referer',
    'Sec-CH-UA',
  ])('is no %s, whatever the browser sends', async (name) => {
    await raw(['GET /api/orders HTTP/1.1', ...own(), 'Connection: close', `${name}: somebody`, 'X-Api-Version: 3']);
    const { headers } = world.upstream.received.at(-1)!;
    expect(Object.keys(headers).sort()).toEqual(['authorization', 'connection', 'host', 'x-api-version']);
  });

  test.each(hosts)('is no request but of the methods of an API (%s)', async (host) => {
    const other = host === 'node:http' ? app : await world.start(host, { cookieKeys: app.options.cookieKeys });
    const visitor = host === 'node:http' ? browser : new Browser();
    if (host !== 'node:http') await visitor.signIn(`${other.url}/bff/sign-in`);
    const before = world.upstream.received.length;
    for (const method of ['TRACE', 'LINK', 'PROPFIND', 'PURGE', 'M-SEARCH']) {
      const { status, headers } = await visitor.call(`${other.url}/api/orders`, { method });
      expect({ method, status, allow: headers.allow }).toEqual({
        method,
        status: 405,
        allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY',
      });
    }
    expect(world.upstream.received.length).toBe(before);
  });

  const methods = ['DELETE', 'GET', 'OPTIONS', 'POST', 'PATCH'];
  test.each(methods)('a body of %s is framed, and never read as the next request', async (method) => {
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
    for (const framing of ['Transfer-Encoding: chunked', `Content-Length: ${smuggled.length}`]) {
      const before = world.upstream.received.length;
      const body = framing.startsWith('T') ? `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n` : smuggled;
      const answer = await raw([`${method} /api/orders HTTP/1.1`, ...own(), 'Connection: close', framing], body);
      expect(answer).toMatch(/^HTTP\/1\.1 200/);
      await browser.call(`${app.url}/api/after`); // over the same connection, where something could be left over
      const urls = world.upstream.received.slice(before).map(({ url }) => url);
      expect(urls).toEqual(['/orders', '/after']);
      expect(world.upstream.received.at(-2)!.body).toBe(smuggled);
    }
  });

  test('is nothing of a request whose framing is ambiguous', async () => {
    const before = world.upstream.received.length;
    for (const framing of [
      ['Content-Length: 4', 'Transfer-Encoding: chunked'],
      ['Content-Length: 4', 'Content-Length: 5'],
      ['Content-Length: +4'],
      ['Transfer-Encoding: chunked, identity'],
      ['Transfer-Encoding : chunked'],
      ['X: a\nTransfer-Encoding: chunked'],
    ]) {
      const body = '0\r\n\r\nGET /api/smuggled HTTP/1.1\r\n\r\n';
      const answer = await raw(['POST /api/orders HTTP/1.1', ...own(), ...framing], body);
      expect(answer, framing.join()).toMatch(/^(?:HTTP\/1\.1 400|$)/);
    }
    expect(world.upstream.received.length).toBe(before);
  });

  test('a large body passes through as it comes', async () => {
    const body = 'x'.repeat(3_000_000);
    expect((await browser.call(`${app.url}/api/upload`, { method: 'PUT', body })).status).toBe(200);
    expect(world.upstream.received.at(-1)!.body.length).toBe(body.length);
  });
});

describe('a proxy behind a body parser', () => {
  test('says so, and sends no request without its body', async () => {
    const orders = app.bff.proxyTo({ from: '/api', to: world.upstream.url });
    const server = createServer((req, res) => {
      req.on('data', () => {}).on('end', () => void orders(req, res));
    });
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    const before = world.upstream.received.length;
    const misled = new Browser();
    for (const [name, value] of browser.cookies) misled.cookies.set(name, value);
    misled.routes.set(app.url, `http://localhost:${(server.address() as AddressInfo).port}`);
    const answer = await misled.call(`${app.url}/api/orders`, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(500);
    expect(json(answer).error).toBe('body_consumed');
    expect(world.upstream.received.length).toBe(before);
    server.close();
  });
});

describe('where requests go', () => {
  const upstream = createProxyUpstream({ from: '/api', to: 'https://orders.example.com/v1/' });
  const addressOf = (url: string) => upstream.addressOf({ url } as never);

  test.each([
    ['/api', '/v1/'],
    ['/api/', '/v1/'],
    ['/api/orders', '/v1/orders'],
    ['/api?a', '/v1/?a'],
    ['/api/orders?a=b&c=%2F', '/v1/orders?a=b&c=%2F'],
    ['/api/./orders', '/v1/orders'],
    ['/api/a/../orders', '/v1/orders'],
    ['/x/../api/orders', '/v1/orders'],
    ['/api/a:b@c', '/v1/a:b@c'],
    ['/api/http://other.example', '/v1/http://other.example'],
  ])('%s goes to %s', (url, address) => {
    expect(addressOf(url)).toBe(address);
  });

  test.each([
    '/',
    '/apis',
    '/API/orders',
    '/apiorders',
    '/%61pi/orders',
    '*',
    'other.example:443',
    'http://other.example/api/orders',
    'https://orders.example.com/api/',
    '//other.example/api/',
    '/api/../admin',
    '/api/%2e%2e/admin',
    '/api/.%2E/admin',
    '/api/a/../../admin',
    '/api\\..\\admin',
  ])('%s is not for the upstream', (url) => {
    expect(addressOf(url)).toBeUndefined();
  });

  test.each([
    '/api/a%20b',
    '/api/100%25',
    '/api/50%2525',
    '/api/caf%C3%A9',
    '/api/%E3%83%86%E3%82%B9%E3%83%88',
    '/api/%F0%9F%92%A1',
    '/api/caf%E9',
    '/api/a%3Fb',
    '/api/a%23b',
    '/api/a%3Bb',
    '/api/a;v=1/b',
    '/api/a..b',
    '/api/..a',
    '/api/a..',
    '/api/.well-known',
    '/api/a%2Eb',
    '/api/%7Euser',
    '/api/a%26b%3Dc',
    '/api/a%252520b',
    '/api/a//b',
    '/api/(1)',
    "/api/it's",
    '/api/a?b=%2F..%2F&c=%00',
  ])('%s goes on as it is', (url) => {
    expect(addressOf(url)).toBe(url.replace('/api', '/v1'));
  });

  // Each is another path, host or way up to some reader: to one that decodes twice, cuts off parameters (servlet
  // containers), takes backslashes for slashes, ends at NUL, or drops control characters, dots and spaces.
  test.each([
    '/api//other.example',
    '/api/..%2fadmin',
    '/api/..%5cadmin',
    '/api/%2F%2Fother.example',
    '/api/a%00b',
    '/api/..;/admin',
    '/api/..;x=1/admin',
    '/api/a/..;/..;/admin',
    '/api/%2e%2e;/admin',
    '/api/%2E.;/admin',
    '/api/.;/admin',
    '/api/..%3b/admin',
    '/api/%2e%2e%3B/admin',
    '/api/..;',
    '/api/a/..;?b',
    '/api/;/other.example',
    '/api/;x=1',
    '/api/%252e%252e/admin',
    '/api/%252e%252e%252fadmin',
    '/api/..%252fadmin',
    '/api/a%255cb',
    '/api/a%2500b',
    '/api/a%250ab',
    '/api/%25252e%25252e/admin',
    '/api/%2525252525252e/a',
    '/api/%252e%252e%253b/admin',
    '/api/.%252e;/admin',
    '/api/..%20/admin',
    '/api/.../admin',
    '/api/%20../admin',
    '/api/..%09/admin',
    '/api/..%0d%0a/admin',
    '/api/a%0d%0aX: y',
    '/api/a%7fb',
    '/api/a%1fb',
    '/api/%c0%ae%c0%ae/admin',
    '/api/..%c0%afadmin',
    '/api/..%e0%80%afadmin',
    '/api/%f0%80%80%ae/a',
    '/api/%25c0%25ae/a',
    '/api/%',
    '/api/100%',
    '/api/%u002e%u002e/admin',
    '/api/%2/a',
    '/api/a/%5C%5C',
    '/api/x%5c..%5cadmin',
  ])('%s is refused', (url) => {
    expect(() => addressOf(url)).toThrow(expect.objectContaining({ code: 'bad_address', status: 400 }));
  });

  test('an address that is refused reaches no upstream', async () => {
    const before = world.upstream.received.length;
    for (const path of ['/api/..;/admin', '/api/%2e%2e;/admin', '/api/%252e%252e/admin', '/api/a%00b']) {
      const answer = await raw([`GET ${path} HTTP/1.1`, ...own(), 'Connection: close']);
      expect(answer, path).toMatch(/^HTTP\/1\.1 400 .*"error":"bad_address"/s);
    }
    expect(world.upstream.received.length).toBe(before);
  });

  test('a request line that names another host goes nowhere', async () => {
    const before = world.upstream.received.length;
    for (const target of [
      'http://other.example/api/orders',
      '//other.example/api/orders',
      'http://localhost:1/api/../orders',
    ]) {
      expect(await raw([`GET ${target} HTTP/1.1`, ...own(), 'Connection: close'])).not.toContain('order"');
    }
    expect(world.upstream.received.length).toBe(before);
  });

  test.each([
    ['http to another host', { to: 'http://orders.example.com' }],
    ['no address', { to: '/orders' }],
    ['a query', { to: 'https://orders.example.com/?a' }],
    ['a password', { to: 'https://a:b@orders.example.com' }],
    ['all paths', { from: '/' }],
    ['a slash at the end', { from: '/api/' }],
    ['dots', { from: '/../api*' }],
  ])('%s in the options is refused at start', (_what, wrong) => {
    expect(() => app.bff.proxyTo({ from: '/api', to: 'https://orders.example.com', ...wrong })).toThrow(TypeError);
  });
});

describe('what comes back from the upstream', () => {
  const answered = async (headers: Record<string, string | string[]>, status = 200, body: string | Buffer = '{}') => {
    world.upstream.answer = (_request, response) =>
      response.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers }).end(body);
    return browser.call(`${app.url}/api/orders`);
  };

  test('sets no cookie, permits no other origin, and keeps its own connection to itself', async () => {
    const before = [...browser.cookies];
    const { headers } = await answered({
      'Set-Cookie': ['bff=stolen; Path=/', 'a=b'],
      'Access-Control-Allow-Origin': 'https://other.example',
      'Access-Control-Allow-Credentials': 'true',
      Connection: 'keep-alive, X-Internal',
      'X-Internal': 'a',
      'Proxy-Authenticate': 'Basic',
      'Clear-Site-Data': '"cookies"',
      'X-Page': '2',
    });
    expect([...browser.cookies]).toEqual(before);
    for (const name of [
      'set-cookie',
      'access-control-allow-origin',
      'access-control-allow-credentials',
      'x-internal',
      'proxy-authenticate',
      'clear-site-data',
    ]) {
      expect(headers).not.toHaveProperty(name);
    }
    expect(headers['x-page']).toBe('2');
  });

  // What counts for the whole origin, or steers what stands before us, is not an upstream's to say.
  test.each([
    'Service-Worker-Allowed',
    'Speculation-Rules',
    'Alt-Svc',
    'Strict-Transport-Security',
    'NEL',
    'Report-To',
    'Reporting-Endpoints',
    'Accept-CH',
    'Origin-Agent-Cluster',
    'X-Accel-Redirect',
    'X-Accel-Expires',
    'X-Sendfile',
    'Surrogate-Control',
    'CDN-Cache-Control',
    'Cloudflare-CDN-Cache-Control',
    'Set-Login',
    'Refresh',
  ])('has no %s', async (name) => {
    const { headers } = await answered({ [name]: '/', 'X-Page': '2' });
    expect(headers).not.toHaveProperty(name.toLowerCase());
    expect(headers['x-page']).toBe('2');
  });

  test.each([
    ['Basic realm="x"', undefined],
    ['Negotiate', undefined],
    ['Bearer error="invalid_token"', 'Bearer error="invalid_token"'],
  ])('asks nobody for a password (%s)', async (challenge, kept) => {
    expect((await answered({ 'WWW-Authenticate': challenge }, 401)).headers['www-authenticate']).toBe(kept);
  });

  test.each([
    [undefined, 'private, no-store'],
    ['max-age=60', 'private, max-age=60'],
    ['public, max-age=60, s-maxage=600', 'private, max-age=60'],
    ['private', 'private'],
    ['no-cache', 'private, no-cache'],
  ])('is kept by no shared cache (%s)', async (said, kept) => {
    const { headers } = await answered({ ...(said === undefined ? {} : { 'Cache-Control': said }), Vary: 'Accept' });
    expect(headers['cache-control']).toBe(kept);
    expect(headers.vary).toBe('Accept, Cookie');
  });

  test('runs no script on the application’s origin, unless the caller trusts it', async () => {
    const page = { 'Content-Type': 'text/html', 'X-Content-Type-Options': 'other' };
    expect((await answered(page)).headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': 'sandbox',
      'content-type': 'text/html',
    });
    const { headers } = await answered({ ...page, 'Content-Security-Policy': "default-src 'none'" });
    expect(headers['content-security-policy']).toBe("default-src 'none', sandbox");

    const trusting = createProxyUpstream({ from: '/api', to: world.upstream.url, trustedContent: true });
    const server = createServer((req, res) => void trusting.forward(req, res, '/orders', 'token'));
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    const trusted = await fetch(`http://localhost:${(server.address() as AddressInfo).port}/`);
    server.close();
    expect(trusted.headers.get('content-security-policy')).toBe("default-src 'none'");
  });

  test('is its status and body, whatever they are', async () => {
    for (const status of [201, 204, 302, 304, 401, 404, 500]) {
      const answer = await answered({ Location: '/elsewhere' }, status, '');
      expect(answer).toMatchObject({ status, headers: { location: '/elsewhere' } });
    }
    const packed = gzipSync('order');
    const { headers } = await answered({ 'Content-Encoding': 'gzip' }, 200, packed);
    expect(headers).toMatchObject({ 'content-encoding': 'gzip', 'content-length': String(packed.length) });
  });

  test('arrives as it is written', async () => {
    const written: (() => void)[] = [];
    world.upstream.answer = (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('data: 1\n\n');
      written.push(() => response.end('data: 2\n\n'));
    };
    const answer = await fetch(`${app.listening}/api/events`, { headers: { cookie: cookie(), 'x-signet-csrf': '1' } });
    const reader = answer.body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('data: 1\n\n');
    written[0]!();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('data: 2\n\n');
  });

  test('carries the renewed session along', async () => {
    const old = [...browser.cookies.values()];
    app.clock.ahead = 29.8 * 60_000;
    const { headers } = await answered({ 'Cache-Control': 'public, max-age=600' });
    app.clock.ahead = 0;
    expect(headers['set-cookie']).toHaveLength(1);
    expect(headers['cache-control']).toBe('no-store');
    expect([...browser.cookies.values()]).not.toEqual(old);
  });
});

describe('an upstream that fails', () => {
  test('is answered 502, and reported without a secret', async () => {
    world.upstream.answer = (request) => request.socket.destroy();
    const answer = await browser.call(`${app.url}/api/orders`, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(502);
    const description = 'the service behind this address cannot be reached';
    expect(json(answer)).toEqual({ error: 'upstream_unavailable', error_description: description });
    expect(app.errors.at(-1)).toMatchObject({ code: 'upstream_unavailable', detail: 'ECONNRESET' });
  });

  test('breaks the answer off where it had begun, so that half of it is not taken for all', async () => {
    world.upstream.answer = (request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/plain' });
      response.write('half');
      setTimeout(() => request.socket.destroy(), 20);
    };
    await expect(browser.call(`${app.url}/api/orders`)).rejects.toThrow(/aborted|hang up/);
  });

  test('is answered 504 when it is silent too long', async () => {
    world.upstream.answer = () => {};
    const impatient = createProxyUpstream({ from: '/api', to: world.upstream.url, timeoutSeconds: 0.05 });
    const codes: string[] = [];
    const server = createServer((req, res) => {
      impatient.forward(req, res, '/orders', 'token').catch((error) => {
        codes.push(error.code);
        res.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    await fetch(`http://localhost:${(server.address() as AddressInfo).port}/`);
    server.close();
    expect(codes).toEqual(['upstream_timeout']);
  });

  test('is left alone when the person goes away', async () => {
    const gone = new Promise<void>((resolve) => {
      world.upstream.answer = (request, response) => {
        request.socket.once('close', () => resolve());
        response.writeHead(200).write('a');
      };
    });
    const leaving = new AbortController();
    const headers = { cookie: cookie(), 'x-signet-csrf': '1' };
    const answer = await fetch(`${app.listening}/api/slow`, { headers, signal: leaving.signal });
    expect(answer.status).toBe(200);
    leaving.abort();
    await gone;
  });
});
