import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { expect, onTestFinished, test } from 'vitest';
import { AppError } from '../../src/errors.ts';
import { answerErrors } from '../../src/issuer/pages.ts';
import { createLog } from '../../src/log.ts';
import { createPages } from '../../src/web/pages.ts';
import { requestId } from '../../src/web/request.ts';

async function answerTo(error: Error, accept: string) {
  const lines: string[] = [];
  const pages = createPages({ branding: { name: 'Signet', color: '#1f5eff' }, issuer: 'http://localhost' });
  const returnLinks = { whyLost: async () => ({ reason: 'expired' }), from: async () => undefined } as never;
  const app = new Koa();
  app.use(requestId());
  const audit = { record() {} }; // test/flows/references.test.ts reads the real one
  app.use(answerErrors({ pages, returnLinks, audit, log: createLog('debug', (line) => lines.push(line)) }));
  app.use(() => {
    throw error;
  });
  const server = createServer(app.callback());
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { Accept: accept } });
  const id = response.headers.get('x-request-id')!;
  return { status: response.status, id, body: await response.text(), log: lines.join('') };
}

test('too many people at once get a page that says to try again, and the operator a line', async () => {
  const { status, id, body, log } = await answerTo(new AppError('busy', 503, 'the queue is full'), 'text/html');
  expect(status).toBe(503);
  expect(body).toContain('Signing in is not possible right now');
  expect(body).toContain(id);
  expect(log).toContain('the queue is full');
});

test('what a person did wrong is said as it is, and is no fault of ours in the log', async () => {
  const error = new AppError('form_too_large', 413, 'This form is <too> large.');
  const { status, body, log } = await answerTo(error, 'text/html');
  expect([status, log]).toEqual([413, expect.not.stringContaining('"error"')]);
  expect(log).toContain('request.refused');
  expect(body).toContain('This form is &lt;too&gt; large.');
});

test('what nobody foresaw shows nothing of itself, to a person or to a program', async () => {
  for (const accept of ['text/html', 'application/json']) {
    const { status, id, body, log } = await answerTo(new TypeError('secret-42 is not a function'), accept);
    expect(status).toBe(500);
    expect(body).toContain(id);
    expect(body).not.toMatch(/secret-42|TypeError|\.ts:\d|node_modules/);
    expect(log).toContain('secret-42');
  }
});
