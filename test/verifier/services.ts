// The same small service on each framework that has an adapter: it answers who has a good token.

import { createServer, request as httpRequest, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import Koa from 'koa';
import * as forExpress from '../../src/verifier/express.ts';
import * as forFastify from '../../src/verifier/fastify.ts';
import type { Verifier } from '../../src/verifier/index.ts';
import * as forKoa from '../../src/verifier/koa.ts';
import type { TokenOptions } from '../../src/verifier/request.ts';

export const services: Record<string, (verifier: Verifier, options?: TokenOptions) => Promise<RequestListener>> = {
  async Koa(verifier, options) {
    const app = new Koa();
    app.use(forKoa.requireToken(verifier, options));
    app.use((ctx) => {
      ctx.body = { sub: ctx.state.token?.sub };
    });
    return app.callback();
  },
  async Express(verifier, options) {
    const app = express();
    app.use(forExpress.requireToken(verifier, options));
    app.use((req, res) => {
      res.json({ sub: req.token?.sub });
    });
    return app;
  },
  async Fastify(verifier, options) {
    let handle: RequestListener = () => {};
    const app = fastify({ serverFactory: (handler) => createServer((handle = handler as RequestListener)) });
    const onRequest = forFastify.requireToken(verifier, options);
    app.all('/', { onRequest }, async (request) => ({ sub: request.token?.sub }));
    await app.ready();
    return handle;
  },
};

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: unknown;
}

export interface Service {
  url: string;
  get(path: string, headers: Record<string, string>): Promise<Answer>;
  close(): void;
}

export async function startService(framework: string, verifier: Verifier, options?: TokenOptions): Promise<Service> {
  const server = createServer(await services[framework]!(verifier, options));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    get: (path, headers) => get(url + path, headers),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Not fetch: it would not send every header that an attacker can. */
export function get(url: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpRequest(url, { headers }, (response) => {
      let text = '';
      response
        .on('data', (chunk) => {
          text += chunk;
        })
        .on('end', () =>
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            body: text.startsWith('{') ? JSON.parse(text) : text,
          }),
        );
    })
      .on('error', reject)
      .end();
  });
}
