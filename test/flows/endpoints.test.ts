// Every endpoint of the table (web/endpoints.ts) by every method there is.

import type { IncomingHttpHeaders } from 'node:http';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endpoints, endpointsOf, isForPrograms } from '../../src/web/endpoints.ts';
import { type AdminServer, startAdministration } from '../support/admin.ts';
import { freePort } from '../support/ports.ts';
import { signIn } from '../support/user-agent.ts';

let server: AdminServer;
beforeAll(async () => {
  const metrics = { listen: { port: await freePort(), host: '127.0.0.1' } };
  server = await startAdministration({
    values: {
      metrics,
      entra: {
        tenant: '11111111-2222-3333-4444-555555555555',
        clientId: '6a2b4c1e-0d3f-4a5b-8c7d-9e0f1a2b3c4d',
        clientSecret: 'a-secret-of-this-application',
      },
    },
  });
});
afterAll(() => server.close());

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];
const segment: Record<string, string> = { ':uid': 'somebody', ':number': '1', '*': 'nothing.css' };
const addressOf = (path: string) => path.replace(/:\w+|\*/g, (name) => segment[name]!);

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** With any method: fetch refuses TRACE. */
function ask(method: string, path: string, headers: Record<string, string> = {}, base = server.url): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(base);
    const sent = httpRequest({ hostname, port, path, method, headers: { Accept: 'application/json', ...headers } });
    sent.once('error', reject);
    sent.once('response', async (response) => {
      const body = (await response.toArray()).join('');
      resolve({ status: response.statusCode!, headers: response.headers, body });
    });
    sent.end();
  });
}

describe.each(endpointsOf({ entra: true }))('$path', ({ path, methods: answered }) => {
  test('answers the methods of its standard, and says 405 with Allow to the others', async () => {
    for (const method of methods) {
      const answer = await ask(method, addressOf(path));
      const isAnswered = (answered as readonly string[]).includes(method);
      if (isAnswered) expect([405, 500, 501], `${method} ${answer.body}`).not.toContain(answer.status);
      else {
        expect([answer.status, answer.headers.allow], method).toEqual([405, answered.join(', ')]);
        if (method !== 'HEAD') expect(JSON.parse(answer.body), method).toMatchObject({ error: 'invalid_request' });
      }
    }
  });

  test('shows a person who comes by the wrong method a page, where people come at all', async () => {
    const answer = await ask('DELETE', addressOf(path), { Accept: 'text/html' });
    const type = isForPrograms(addressOf(path)) ? 'application/json' : 'text/html';
    expect([answer.status, answer.headers['content-type']]).toEqual([405, `${type}; charset=utf-8`]);
    expect(answer.body).not.toContain('    at ');
  });
});

const shared = endpointsOf({ entra: true }).filter((endpoint) => endpoint.methods.includes('OPTIONS'));
describe.each(shared)('$path', ({ path, methods: answered }) => {
  test('may be asked by pages of other origins', async () => {
    const [wanted] = answered.filter((method) => method !== 'OPTIONS');
    const asked = { Origin: 'https://app.example.com', 'Access-Control-Request-Method': wanted! };
    const preflight = await ask('OPTIONS', addressOf(path), asked);
    expect([preflight.status, preflight.headers['access-control-allow-origin']]).toEqual([
      204,
      expect.stringMatching(/^(\*|https:\/\/app\.example\.com)$/),
    ]);
    expect(preflight.headers['access-control-allow-methods']).toContain(wanted);
    const plain = await ask('OPTIONS', addressOf(path));
    expect([plain.status, plain.headers.allow]).toEqual([204, answered.join(', ')]);
  });
});

test('HEAD is answered as GET is, without the body', async () => {
  for (const { path, methods: answered } of Object.values(endpoints)) {
    if (!(answered as readonly string[]).includes('HEAD')) continue;
    const [head, get] = [await ask('HEAD', addressOf(path)), await ask('GET', addressOf(path))];
    expect([head.status, head.body], path).toEqual([get.status, '']);
    if (get.status === 200) expect(head.headers['content-type'], path).toBe(get.headers['content-type']);
  }
});

test('every URL that discovery announces is an endpoint of the table', async () => {
  const metadata = JSON.parse((await ask('GET', endpoints.openid_configuration.path)).body) as Record<string, unknown>;
  const announced = Object.entries(metadata).filter(([name]) => /_endpoint$|_uri$/.test(name));
  expect(announced.length).toBeGreaterThan(7);
  const paths = new Set<string>(Object.values(endpoints).map(({ path }) => path));
  for (const [name, url] of announced) expect(paths, name).toContain(String(url).replace(server.issuer, ''));
});

test('an endpoint has one spelling: what goes by the path cannot be gone around', async () => {
  for (const path of [
    '/AUTH',
    '/auth/',
    '/Token',
    '/token/',
    '/JWKS',
    '/jwks/',
    '/me/',
    '/ſession/end',
    '/session/end/',
    '/.well-known/openid-configuration/',
    '/session/END/confirm',
    '/%61uth',
    '/auth/somebody/',
    '//token',
  ]) {
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const answer = await ask(method, path.replace('ſ', encodeURIComponent('ſ')));
      expect([answer.status, JSON.parse(answer.body)], `${method} ${path}`).toMatchObject([
        404,
        { error: 'not_found' },
      ]);
    }
  }
});

test('the admin API goes by its own table, for those who may know it', async () => {
  const token = await server.serviceToken('operator');
  const asOperator = { Authorization: `Bearer ${token}` };
  for (const [path, allowed] of [
    ['keys', 'HEAD, GET'],
    ['keys/rotate', 'POST'],
    ['grants/x/revoke', 'POST'],
  ] as const) {
    for (const method of methods.filter((one) => !allowed.includes(one))) {
      const answer = await ask(method, `/admin/api/v1/${path}`, asOperator);
      expect([answer.status, answer.headers.allow], `${method} ${path}`).toEqual([405, allowed]);
      expect((await ask(method, `/admin/api/v1/${path}`)).status).toBe(401);
    }
  }
});

test("a program that says it likes pages better, as Java's own client does, reads why it was refused (RFC 6749 §5.2)", async () => {
  const Accept = 'text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2';
  const form = (fields: Record<string, string>) => ({ method: 'POST', body: new URLSearchParams(fields) });
  const requests: Array<[string, RequestInit, number, string]> = [
    ['/token', form({ grant_type: 'refresh_token', client_id: 'spa', refresh_token: 'x' }), 400, 'invalid_grant'],
    [
      '/token',
      form({ grant_type: 'client_credentials', client_id: 'service', client_secret: 'x' }),
      401,
      'invalid_client',
    ],
    ['/token', form({ padding: 'x'.repeat(60_000) }), 413, 'invalid_request'],
    ['/token?x=%00', form({}), 400, 'invalid_request'],
    ['/token/introspection', form({ token: 'x' }), 401, 'invalid_client'],
    ['/token/revocation', form({ token: 'x' }), 401, 'invalid_client'],
    ['/me', {}, 401, 'invalid_token'],
    ['/me', { headers: { Authorization: 'Bearer x' } }, 401, 'invalid_token'],
    ['/status-lists/77', {}, 404, 'not_found'],
  ];
  for (const [path, init, status, error] of requests) {
    const answer = await fetch(server.issuer + path, { ...init, headers: { ...init.headers, Accept } });
    expect([answer.status, answer.headers.get('content-type')], path).toEqual([
      status,
      'application/json; charset=utf-8',
    ]);
    expect(await answer.json(), path).toMatchObject({ error });
  }
});

test('userinfo answers a token in a form as one in the header (OIDC Core §5.3.1)', async () => {
  const { tokens } = await signIn(server.issuer);
  const url = server.issuer + endpoints.userinfo.path;
  const headers = { Authorization: `Bearer ${tokens.access_token}`, Origin: 'https://app.example.com' };
  const form = new URLSearchParams({ access_token: tokens.access_token });
  for (const options of [{ headers }, { headers, method: 'POST' }, { body: form, method: 'POST' }]) {
    const answer = await fetch(url, options);
    expect([answer.status, await answer.json()]).toMatchObject([200, { email: 'ada@example.com' }]);
  }
});

test('the port of the metrics answers GET and HEAD', async () => {
  for (const method of methods.filter((one) => one !== 'GET' && one !== 'HEAD')) {
    const answer = await ask(method, '/metrics', {}, server.metricsUrl);
    expect([answer.status, answer.headers.allow], method).toEqual([405, 'GET, HEAD']);
  }
});

test('nothing of all this is an error of ours', () => {
  expect(server.logged()).not.toContain('"level":"error"');
});
