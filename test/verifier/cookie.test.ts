import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestIssuer, type TestIssuer } from '../../src/testing/index.ts';
import { createVerifier, type Verifier } from '../../src/verifier/index.ts';
import * as forKoa from '../../src/verifier/koa.ts';
import { services } from './services.ts';

const options = { cookie: '__Secure-access-token' };

const audience = 'https://orders.example.com';

interface Answer {
  status?: number;
  challenge?: string;
  error?: string;
}

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await createTestIssuer({ audience });
});
afterAll(() => issuer.close());

describe.each(Object.entries(services))('a %s service that takes tokens from a cookie', (_name, createService) => {
  let verifier: Verifier;
  let server: Server;

  beforeAll(async () => {
    verifier = createVerifier({ issuer: issuer.issuer, audience });
    server = createServer(await createService(verifier, options));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    verifier.close();
    server.closeAllConnections();
    server.close();
  });

  const ask = (headers: Record<string, string | string[]>, method = 'GET') =>
    new Promise<Answer>((resolve, reject) => {
      httpRequest({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', method, headers }, (response) => {
        let text = '';
        response
          .on('data', (chunk) => {
            text += chunk;
          })
          .on('end', () => {
            const { error } = JSON.parse(text) as { error?: string };
            resolve({ status: response.statusCode, challenge: response.headers['www-authenticate'], error });
          });
      })
        .on('error', reject)
        .end();
    });

  const good = () => ({ cookie: `theme=dark; __Secure-access-token=${issuer.sign()}; a=b` });
  const marked = { 'x-signet-csrf': '1' };

  test.each([
    ['a script of the same origin that reads', 'GET', { 'sec-fetch-site': 'same-origin' }, 200],
    ['a script of the same origin that writes', 'POST', { 'sec-fetch-site': 'same-origin', ...marked }, 200],
    ['a script of the same origin that writes without the header', 'POST', { 'sec-fetch-site': 'same-origin' }, 403],
    ['a script of the same site', 'GET', { 'sec-fetch-site': 'same-site', ...marked }, 200],
    ['a script of the same site that writes', 'DELETE', { 'sec-fetch-site': 'same-site', ...marked }, 200],
    ['a script of the same site without the header', 'GET', { 'sec-fetch-site': 'same-site' }, 403],
    ['another site, even with the header', 'GET', { 'sec-fetch-site': 'cross-site', ...marked }, 403],
    ['a link', 'GET', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, 403],
    ['who does not say, with the header', 'POST', marked, 200],
    ['who does not say', 'GET', {}, 403],
  ])('answers %s (%s)', async (_who, method, headers, status) => {
    const answer = await ask({ ...good(), ...headers }, method);
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer).toEqual({ status, challenge: undefined, error: 'cross_site_request' });
  });

  test('needs no header of a bearer token, which wins over the cookie', async () => {
    const authorization = `Bearer ${issuer.sign()}`;
    expect((await ask({ authorization, 'sec-fetch-site': 'cross-site' }, 'POST')).status).toBe(200);
    expect((await ask({ authorization, cookie: '__Secure-access-token=bad' })).status).toBe(200);
    expect((await ask({ ...good(), ...marked, authorization: 'Bearer bad' })).status).toBe(401);
  });

  test('refuses a cookie that is bad, absent, or there twice', async () => {
    const bad = { cookie: `__Secure-access-token=${issuer.forge('expired')}`, ...marked };
    expect(await ask(bad)).toMatchObject({ status: 401, error: 'invalid_token' });
    expect(await ask({ cookie: 'access-token=a', ...marked })).toMatchObject({ status: 401, error: 'missing_token' });
    expect(await ask(marked)).toMatchObject({ status: 401, error: 'missing_token' });
    const { cookie } = good();
    for (const twice of [`${cookie}; ${cookie}`, [cookie, '__Secure-access-token=b']]) {
      expect(await ask({ cookie: twice, ...marked })).toMatchObject({ status: 400, error: 'invalid_request' });
    }
  });
});

test('without the option a cookie is no token', async () => {
  const verifier = createVerifier({ issuer: issuer.issuer, audience });
  const app = new Koa();
  app.use(forKoa.requireToken(verifier));
  const server = createServer(app.callback());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const headers = { cookie: `__Secure-access-token=${issuer.sign()}`, 'x-signet-csrf': '1' };
  expect((await fetch(url, { headers })).status).toBe(401);
  server.close();
  verifier.close();
});
