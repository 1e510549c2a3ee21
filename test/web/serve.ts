// A Koa application on a free port, whose errors are answered as JSON with their code, and a client for it that sends
// exactly what it is told: fetch adds Sec-Fetch-Mode and Cache-Control and tidies paths.

import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Middleware } from 'koa';
import Koa from 'koa';
import { isAppError } from '../../src/errors.ts';

export async function serve(...stack: Middleware[]): Promise<{ url: string; close: () => Promise<void> }> {
  const app = new Koa();
  app.use(async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      if (!isAppError(error)) throw error;
      ctx.status = error.status;
      ctx.body = { code: error.code };
    }
  });
  for (const middleware of stack) app.use(middleware);
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

interface Question {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

export function send(
  url: string,
  { method = 'GET', path = '/', headers = {}, body = '' }: Question = {},
): Promise<Answer> {
  const length = method === 'POST' ? { 'content-length': Buffer.byteLength(body) } : {};
  return new Promise((resolve, reject) => {
    const sending = request(url, { method, path, headers: { ...length, ...headers } }, async (answer) => {
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: (await answer.toArray()).join('') });
    });
    sending.on('error', reject);
    sending.end(body);
  });
}
