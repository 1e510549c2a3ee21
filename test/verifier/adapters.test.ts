import type { IncomingMessage, RequestListener, Server } from 'node:http';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import Koa from 'koa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestIssuer, type TestIssuer } from '../../src/testing/index.ts';
import * as forExpress from '../../src/verifier/express.ts';
import * as forFastify from '../../src/verifier/fastify.ts';
import { createVerifier, type Verifier } from '../../src/verifier/index.ts';
import * as forKoa from '../../src/verifier/koa.ts';

// The same small service three times: `/` needs a token, `/write` a scope, `/admin` a role; `/forgotten` asks for a
// scope without asking for a token.
const services: Record<string, (verifier: Verifier) => Promise<RequestListener>> = {
  async Koa(verifier) {
    const { requireRole, requireScope, requireToken } = forKoa;
    const app = new Koa();
    const on =
      (path: string, middleware: Koa.Middleware): Koa.Middleware =>
      (ctx, next) =>
        ctx.path === path ? middleware(ctx, next) : next();
    app.use(on('/forgotten', requireScope('orders:read')));
    app.use(requireToken(verifier));
    app.use(on('/write', requireScope('orders:read', 'orders:delete')));
    app.use(on('/admin', requireRole('admin')));
    app.use((ctx) => {
      ctx.body = { sub: ctx.state.token?.sub };
    });
    return app.callback();
  },
  async Express(verifier) {
    const { requireRole, requireScope, requireToken } = forExpress;
    const app = express();
    app.get('/forgotten', requireScope('orders:read'));
    app.use(requireToken(verifier));
    app.get('/write', requireScope('orders:read', 'orders:delete'));
    app.get('/admin', requireRole('admin'));
    app.use((req, res) => {
      res.json({ sub: req.token?.sub });
    });
    return app;
  },
  async Fastify(verifier) {
    const { requireRole, requireScope, requireToken } = forFastify;
    let handle: RequestListener = () => {};
    const app = fastify({ serverFactory: (handler) => createServer((handle = handler)) });
    const answer = async (request: { token?: { sub: string } }) => ({ sub: request.token?.sub });
    app.get('/', { onRequest: requireToken(verifier) }, answer);
    app.get('/write', { onRequest: [requireToken(verifier), requireScope('orders:read', 'orders:delete')] }, answer);
    app.get('/admin', { onRequest: requireToken(verifier), preHandler: requireRole('admin') }, answer);
    app.get('/forgotten', { onRequest: requireScope('orders:read') }, answer);
    await app.ready();
    return handle;
  },
};

const audience = 'https://orders.example.com';
const claims = { sub: 'person-1', scope: 'orders:read orders:write', roles: ['clerk'] };

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await createTestIssuer({ audience, claims });
});
afterAll(() => issuer.close());

describe.each(Object.entries(services))('a %s service', (_name, createService) => {
  let verifier: Verifier;
  let server: Server;
  let url: string;

  beforeAll(async () => {
    verifier = createVerifier({ issuer: issuer.issuer, audience });
    server = createServer(await createService(verifier));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    verifier.close();
    server.closeAllConnections();
    server.close();
  });

  const get = async (path: string, authorization?: string, base = url) => {
    const response = await fetch(base + path, authorization === undefined ? {} : { headers: { authorization } });
    const challenge = response.headers.get('www-authenticate');
    const retryAfter = response.headers.get('retry-after');
    return { status: response.status, challenge, retryAfter, body: (await response.json()) as unknown };
  };

  test('hands the token to its handlers', async () => {
    const answer = { status: 200, body: { sub: 'person-1' }, challenge: null };
    expect(await get('/', `bearer ${issuer.sign()}`)).toMatchObject(answer);
  });

  test('asks for a token where there is none, and gives no error code for that', async () => {
    for (const authorization of [undefined, 'Basic abc']) {
      expect(await get('/', authorization)).toMatchObject({
        status: 401,
        challenge: 'Bearer realm="api"',
        body: { error: 'missing_token', error_description: 'a bearer token is required' },
      });
    }
  });

  test('refuses a token that is not good, saying why', async () => {
    expect(await get('/', `Bearer ${issuer.forge('expired')}`)).toMatchObject({
      status: 401,
      challenge: 'Bearer error="invalid_token", error_description="the token has expired"',
      body: { error: 'invalid_token', error_description: 'the token has expired' },
    });
  });

  test('calls a header it cannot read a bad request, a repeated one too', async () => {
    expect(await get('/', 'Bearer a b')).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    const twice = await new Promise<number | undefined>((resolve, reject) => {
      const headers = ['Host', 'localhost', 'Authorization', `Bearer ${issuer.sign()}`, 'authorization', 'Bearer x'];
      const answered = (response: IncomingMessage) => resolve(response.resume().statusCode);
      httpRequest(url, { headers }, answered).on('error', reject).end();
    });
    expect(twice).toBe(400);
  });

  test('answers 403 where scope or role is missing, naming the scopes', async () => {
    const little = `Bearer ${issuer.sign()}`;
    const enough = `Bearer ${issuer.sign({ scope: 'orders:delete orders:read', roles: ['admin'] })}`;
    const refusal = { status: 403, body: { error: 'insufficient_scope' } };
    const { challenge } = await get('/write', little);
    expect(challenge).toMatch(/^Bearer error="insufficient_scope", .*, scope="orders:read orders:delete"$/);
    expect(await get('/write', little)).toMatchObject(refusal);
    expect(await get('/write', enough)).toMatchObject({ status: 200 });
    expect(await get('/admin', little)).toMatchObject(refusal);
    expect(await get('/admin', enough)).toMatchObject({ status: 200 });
  });

  test('stays closed where requireToken was forgotten', async () => {
    const { status, body } = await get('/forgotten', `Bearer ${issuer.sign()}`);
    expect(status).toBe(500);
    expect(body).toEqual({
      error: 'server_error',
      error_description: 'requireToken must run before requireScope and requireRole',
    });
  });

  test('answers 503 with Retry-After while nobody can tell', async () => {
    const away = await createTestIssuer({ audience });
    await away.close();
    const cut = createVerifier({ issuer: away.issuer, audience });
    const other = createServer(await createService(cut)).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const base = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    expect(await get('/', `Bearer ${away.sign()}`, base)).toEqual({
      status: 503,
      challenge: null,
      retryAfter: '5',
      body: {
        error: 'temporarily_unavailable',
        error_description: 'the keys of the issuer are not available at the moment',
      },
    });
    cut.close();
    other.closeAllConnections();
    other.close();
  });
});

test('a scope or role that could never match is refused when the route is made', () => {
  for (const { requireScope, requireRole } of [forKoa, forExpress, forFastify]) {
    expect(() => requireScope()).toThrow(TypeError);
    expect(() => requireScope('orders:read orders:write')).toThrow(TypeError);
    expect(() => requireRole()).toThrow(TypeError);
    expect(() => requireRole('')).toThrow(TypeError);
  }
});
