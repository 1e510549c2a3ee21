// An issuer, an upstream that writes down what reaches it, and the same small web application on each of four hosts.

import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import Koa from 'koa';
import * as onExpress from '../../src/bff/express.ts';
import * as onFastify from '../../src/bff/fastify.ts';
import { type Bff, type BffError, type BffOptions, createBff } from '../../src/bff/index.ts';
import * as onKoa from '../../src/bff/koa.ts';
import { requireScope as requireScopeExpress } from '../../src/verifier/express.ts';
import { requireScope as requireScopeFastify } from '../../src/verifier/fastify.ts';
import { type AccessToken, createVerifier } from '../../src/verifier/index.ts';
import { requireScope as requireScopeKoa } from '../../src/verifier/koa.ts';
import { freePort } from '../support/ports.ts';
import { ordersApi, secret, startSignet, type TestServer } from '../support/signet.ts';
import { type Gateway, startGateway } from './gateway.ts';

export const hosts = ['node:http', 'Koa', 'Express', 'Fastify'] as const;
export type Host = (typeof hosts)[number];

interface Received {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export interface World {
  signet: TestServer;
  /** In front of the issuer. */
  gateway: Gateway;
  upstream: { url: string; received: Received[]; answer: RequestListener };
  /** Starts the application; of several with the same `like`, each is a process of the one application. */
  start(host?: Host, options?: Partial<BffOptions>, like?: App): Promise<App>;
  close(): Promise<void>;
}

export interface App {
  bff: Bff;
  /** Where browsers go. */
  url: string;
  /** Where this process listens. */
  listening: string;
  options: BffOptions;
  errors: BffError[];
  /** Milliseconds by which its clock is ahead. */
  clock: { ahead: number };
}

export const cookieKey = () => randomBytes(32).toString('base64');

export async function startWorld({ ports: count = 8, roles = [] as string[], values = {} } = {}): Promise<World> {
  const ports = await Promise.all(Array.from({ length: count }, freePort));
  const urls = ports.map((port) => `http://localhost:${port}`);
  const gateway = await startGateway();
  const signet = await startSignet({
    values: {
      issuer: gateway.url,
      applications: [
        {
          clientId: 'bff',
          name: 'Shop',
          type: 'web',
          secret,
          firstParty: true,
          redirectUris: urls.map((url) => `${url}/bff/callback`),
          postLogoutRedirectUris: urls.map((url) => `${url}/`),
          access: { [ordersApi]: ['orders:read', 'orders:write'] },
        },
      ],
      ...values,
    },
  });
  gateway.issuer = `http://127.0.0.1:${signet.config.listen.port}`;
  if (roles.length > 0) await signet.store.accounts.setRoles(signet.accountId, roles, 'test');

  const received: Received[] = [];
  const upstream: World['upstream'] = {
    url: '',
    received,
    answer: (_request, response) => response.setHeader('content-type', 'application/json').end('["order"]'),
  };
  const behind = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        const { method = '', url = '', headers } = request;
        received.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
        upstream.answer(request, response);
      });
  });
  upstream.url = await listen(behind, 0);
  const servers: Server[] = [behind];
  const bffs: Bff[] = [];

  return {
    signet,
    gateway,
    upstream,
    async start(host = 'node:http', changes = {}, like) {
      const url = like?.url ?? urls.shift()!;
      const errors: BffError[] = [];
      const clock = { ahead: 0 };
      const now = () => Date.now() + clock.ahead;
      // By a clock that a test sets ahead, and the issuer's is not, every status list would be over: so, without lists.
      const verifier = createVerifier({
        issuer: signet.issuer,
        audience: changes.resource ?? ordersApi,
        revocation: 'none',
        now,
      });
      const options: BffOptions = {
        issuer: signet.issuer,
        clientId: 'bff',
        clientSecret: secret,
        baseUrl: url,
        cookieKeys: [cookieKey()],
        scope: 'openid profile email roles orders:read',
        resource: ordersApi,
        ...like?.options,
        onError: (error) => errors.push(error),
        now,
        ...changes,
      };
      const bff = createBff({ verifier, ...options });
      bffs.push(bff);
      const server = createServer(await applications[host](bff, upstream.url));
      servers.push(server);
      const listening = await listen(server, like ? 0 : Number(new URL(url).port));
      return { bff, url, listening, options, errors, clock };
    },
    async close() {
      for (const bff of bffs) bff.close();
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
      gateway.close();
      await signet.close();
    },
  };
}

/** What the application's pages tell the upstream beside what every API understands. */
const passHeaders = ['X-Api-Version'];

// The application: `/me` and `/write` need a session, `/write` a scope it does not have; `/fails` throws behind the
// guard; `/` is for everybody; `/api` is the upstream's.
export const applications: Record<Host, (bff: Bff, upstream: string) => Promise<RequestListener>> = {
  async 'node:http'(bff, upstream) {
    const orders = bff.proxyTo({ from: '/api', to: upstream, passHeaders });
    return async (req: IncomingMessage & { token?: AccessToken }, res) => {
      if ((await bff.handle(req, res)) || (await orders(req, res))) return;
      if (!/^\/(?:me|write|fails)\b/.test(req.url!)) return void res.end('home');
      if (!(await bff.protect(req, res))) return;
      if (req.url === '/fails') return void res.writeHead(500, { 'Set-Cookie': 'other=1' }).end('failed');
      const mayWrite = req.token!.scopes.includes('orders:write');
      if (req.url === '/write') return void res.writeHead(mayWrite ? 200 : 403).end('{}');
      res.writeHead(200, ['Content-Type', 'application/json', 'Cache-Control', 'public, max-age=600']);
      res.end(JSON.stringify({ sub: req.token!.sub }));
    };
  },

  async Koa(bff, upstream) {
    const app = new Koa();
    app.silent = true;
    app.use(onKoa.bffRoutes(bff));
    app.use(onKoa.proxyTo(bff, { from: '/api', to: upstream, passHeaders }));
    app.use(async (ctx, next) => {
      if (/^\/(?:me|write|fails)\b/.test(ctx.path)) return next();
      ctx.body = 'home';
    });
    app.use(onKoa.protect(bff));
    app.use((ctx, next) => (ctx.path === '/write' ? requireScopeKoa('orders:write')(ctx, next) : next()));
    app.use((ctx) => {
      if (ctx.path === '/fails') throw new Error('failed');
      ctx.body = { sub: ctx.state.token!.sub };
    });
    return app.callback();
  },

  async Express(bff, upstream) {
    const app = express();
    app.use(onExpress.bffRoutes(bff));
    app.use(onExpress.proxyTo(bff, { from: '/api', to: upstream, passHeaders }));
    app.get('/fails', onExpress.protect(bff), (_req, res) => {
      res.set('Set-Cookie', 'other=1').status(500).send('failed');
    });
    app.use('/me', onExpress.protect(bff), (req, res) => {
      res.json({ sub: req.token!.sub });
    });
    app.get('/write', onExpress.protect(bff), requireScopeExpress('orders:write'), (_req, res) => {
      res.json({});
    });
    app.use((_req, res) => {
      res.send('home');
    });
    return app;
  },

  async Fastify(bff, upstream) {
    let handle: RequestListener = () => {};
    const app = fastify({ serverFactory: (handler) => createServer((handle = handler as RequestListener)) });
    app.addHook('onRequest', onFastify.bffRoutes(bff));
    app.addHook('onRequest', onFastify.proxyTo(bff, { from: '/api', to: upstream, passHeaders }));
    app.get('/me', { onRequest: onFastify.protect(bff) }, async (request) => ({ sub: request.token!.sub }));
    const write = { onRequest: [onFastify.protect(bff), requireScopeFastify('orders:write')] };
    app.get('/write', write, async () => ({}));
    app.get('/fails', { onRequest: onFastify.protect(bff) }, async () => {
      throw new Error('failed');
    });
    app.get('/', async () => 'home');
    await app.ready();
    return handle;
  },
};

async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
  return `http://localhost:${(server.address() as AddressInfo).port}`;
}
