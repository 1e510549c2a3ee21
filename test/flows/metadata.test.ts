import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/database/open.ts';
import { engines, postgres } from '../support/engines.ts';
import { ordersApi, spaOrigin, startSignet, type TestServer } from '../support/signet.ts';
import { asClient, authorizationRequest, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

const discoveryPaths = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

describe('what the issuer publishes', () => {
  test('discovery says the same at both well-known paths (OpenID Connect Discovery §4, RFC 8414 §3)', async () => {
    const texts = await Promise.all(discoveryPaths.map(async (path) => (await fetch(server.issuer + path)).json()));
    expect(texts[0]).toEqual(texts[1]);
    const golden = JSON.stringify(texts[0], null, 2).replaceAll(server.issuer, 'https://issuer.example');
    await expect(`${golden}\n`).toMatchFileSnapshot('discovery.golden.json');
  });

  test('the JWKS holds public halves, each with kid, alg and use, and nothing more', async () => {
    const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: Array<Record<string, string>> };
    expect(keys.length).toBeGreaterThan(0);
    for (const key of keys) {
      expect(Object.keys(key).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
      expect(key).toMatchObject({ kty: 'RSA', alg: 'RS256', use: 'sig', e: 'AQAB' });
    }
  });

  test.each(['/jwks', ...discoveryPaths])('%s may be cached, and says in one line whether it changed', async (path) => {
    const first = await fetch(server.issuer + path);
    expect(first.headers.get('cache-control')).toBe('public, max-age=300');
    const type = path === '/jwks' ? 'application/jwk-set+json' : 'application/json';
    expect(first.headers.get('content-type')).toBe(`${type}; charset=utf-8`);
    const etag = first.headers.get('etag')!;
    expect(etag).toMatch(/^"[\w-]+"$/);

    const conditional = { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' };
    const second = await fetch(server.issuer + path, { headers: conditional });
    expect([second.status, await second.text()]).toEqual([304, '']);
    expect(second.headers.get('etag')).toBe(etag);
    expect(second.headers.get('cache-control')).toBe('public, max-age=300');
    expect((await fetch(server.issuer + path, { headers: { 'If-None-Match': '"other"' } })).status).toBe(200);
    expect((await fetch(server.issuer + path, { method: 'HEAD' })).status).toBe(200);
  });

  test('an address where there is nothing says so, to a person and to a program', async () => {
    const person = await fetch(`${server.issuer}/nothing`, { headers: { Accept: 'text/html' } });
    expect([person.status, person.headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8']);
    const program = await fetch(`${server.issuer}/nothing`, { headers: { Accept: 'application/json' } });
    expect([program.status, await program.json()]).toMatchObject([404, { error: 'not_found' }]);
  });
});

describe('pages of other origins (CORS)', () => {
  const fromOrigin = (origin: string) => ({ headers: { Origin: origin } });
  const foreign = 'https://attacker.example';

  test.each(['/jwks', ...discoveryPaths])('may all read %s', async (path) => {
    const answer = await fetch(server.issuer + path, fromOrigin(foreign));
    expect(answer.headers.get('access-control-allow-origin')).toMatch(/^(\*|https:\/\/attacker\.example)$/);
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test('get tokens and userinfo only where an application declares their origin', async () => {
    const { tokens } = await signIn(server.issuer);
    const refresh = (origin: string) =>
      tokenRequest(
        server.issuer,
        { grant_type: 'refresh_token', refresh_token: tokens.refresh_token },
        { headers: { Origin: origin } },
      );
    const similar = ['http://app.example.com', `${spaOrigin}:8443`, `${spaOrigin}.attacker.example`];
    for (const origin of [foreign, 'null', ...similar]) {
      const refused = await refresh(origin);
      expect([refused.status, refused.headers.get('access-control-allow-origin')], origin).toEqual([400, null]);
    }
    const good = await refresh(spaOrigin);
    expect([good.status, good.headers.get('access-control-allow-origin')]).toEqual([200, spaOrigin]);

    const userinfo = (origin: string) =>
      fetch(`${server.issuer}/me`, { headers: { Origin: origin, Authorization: `Bearer ${tokens.access_token}` } });
    expect((await userinfo(foreign)).headers.get('access-control-allow-origin')).toBeNull();
    expect((await userinfo(spaOrigin)).headers.get('access-control-allow-origin')).toBe(spaOrigin);
  });

  test('cannot use the origin of one application with another one', async () => {
    const { tokens } = await signIn(server.issuer, { clientId: 'web', parameters: { resource: ordersApi } });
    const refused = await tokenRequest(
      server.issuer,
      { grant_type: 'refresh_token', refresh_token: tokens.refresh_token },
      { ...asClient('web'), headers: { Origin: spaOrigin } },
    );
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([400, null]);
  });

  test('never read the pages of a sign-in, and are never allowed cookies', async () => {
    const { url } = authorizationRequest(server.issuer);
    for (const path of [url, `${server.issuer}/session/end`, `${server.issuer}/`]) {
      const answer = await fetch(path, { ...fromOrigin(spaOrigin), redirect: 'manual' });
      expect(answer.headers.get('access-control-allow-origin'), path).toBeNull();
      expect(answer.headers.get('access-control-allow-credentials'), path).toBeNull();
    }
  });
});

describe('a request that says it came to another host', () => {
  const spoofs: Array<[string, Record<string, string>]> = [
    ['Host', { Host: 'attacker.example' }],
    ['Host with a port', { Host: 'attacker.example:8443' }],
    ['X-Forwarded-Host', { 'X-Forwarded-Host': 'attacker.example' }],
    ['X-Forwarded-Proto', { 'X-Forwarded-Proto': 'https' }],
    ['Forwarded', { Forwarded: 'host=attacker.example;proto=https' }],
    ['X-Original-URL', { 'X-Original-URL': '/attacker' }],
    ['X-Forwarded-Prefix', { 'X-Forwarded-Prefix': '/attacker' }],
  ];

  test.each(spoofs)('%s changes no link, no issuer, no cookie', async (_name, headers) => {
    const plain = await raw('/.well-known/openid-configuration');
    const spoofed = await raw('/.well-known/openid-configuration', headers);
    expect([spoofed.status, spoofed.body]).toEqual([200, plain.body]);

    const target = authorizationRequest(server.issuer).url.slice(server.issuer.length);
    const start = await raw(target, headers);
    expect(start.headers.location).toMatch(/^\/sign-in\/[\w-]+$/);
    expect(start.headers['set-cookie']!.join()).not.toMatch(/domain|secure|attacker/i);

    const { agent } = await signIn(server.issuer);
    const cookie = [...agent.cookies].map(([key, value]) => `${key}=${value}`).join('; ');
    const back = await raw(target, { ...headers, Cookie: cookie });
    expect(new URL(back.headers.location!).searchParams.get('iss')).toBe(server.issuer);
    const signOut = await raw('/session/end', { ...headers, Cookie: cookie });
    expect(signOut.body).toContain(`action="${server.issuer}/session/end/confirm"`);
  });

  test('in the request line itself (RFC 9112 §3.2.2) is refused', async () => {
    for (const target of ['http://attacker.example/jwks', `${server.issuer}/jwks`, 'attacker.example:443', '*']) {
      const answer = await raw(target);
      expect(answer.status, target).toBe(400);
      expect(answer.headers.location, target).toBeUndefined();
      expect(answer.body, target).not.toContain('attacker');
    }
  });

  test('with two slashes at the start leads nowhere', async () => {
    const answer = await raw('//attacker.example/jwks');
    expect([answer.status, answer.headers.location]).toEqual([404, undefined]);
  });
});

describe.skipIf(!engines.includes(postgres))('while the database is away', () => {
  test('discovery and JWKS are answered from memory, and declared services get their tokens', async () => {
    const url = await postgres.freshUrl();
    const orphan = await startSignet({ database: url });
    const agent = new UserAgent(orphan.issuer);
    const published = () =>
      Promise.all(['/jwks', ...discoveryPaths].map(async (path) => (await fetch(orphan.issuer + path)).text()));
    const before = await published();

    const admin = await openDatabase(new URL('/postgres', url).href);
    await admin.query(`drop database ${new URL(url).pathname.slice(1)} with (force)`);
    await admin.close();

    expect(await published()).toEqual(before);
    const ask = (clientId: string) =>
      tokenRequest(orphan.issuer, { grant_type: 'client_credentials' }, asClient(clientId));
    expect(await ask('service')).toMatchObject({ status: 200 });
    expect(await ask('nobody')).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } });
    const page = await agent.visit(authorizationRequest(orphan.issuer).url);
    expect(page.status).toBe(503);
    expect(page.body).not.toContain('postgres');
    expect((await fetch(`${orphan.issuer}/health/live`)).status).toBe(200);
    expect((await fetch(`${orphan.issuer}/health/ready`)).status).toBe(503);
    await orphan.close();
  });
});

interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** A request with any target and any headers, which fetch would not send. */
function raw(target: string, headers: Record<string, string> = {}): Promise<RawAnswer> {
  const { port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const accepting = { Accept: 'text/html', ...headers };
    const request = httpRequest({ host: '127.0.0.1', port, path: target, headers: accepting });
    request.once('error', reject);
    request.once('response', async (response) => {
      let body = '';
      for await (const chunk of response) body += String(chunk);
      resolve({ status: response.statusCode!, headers: response.headers, body });
    });
    request.end();
  });
}
