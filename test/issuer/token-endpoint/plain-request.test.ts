import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secret, startSignet, type TestServer } from '../../support/signet.ts';
import { asClient, tokenRequest } from '../../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
  // The first right secret from an address takes the long way (web/secret-throttle.ts).
  await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
});
afterAll(() => server.close());

const head = (length: number, more = '') =>
  `POST /token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ${btoa(`service:${secret}`)}\r\n` +
  `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${length}\r\n${more}\r\n`;
const good = 'grant_type=client_credentials&scope=orders%3Aread';
const bad = 'grant_type=client_credentials&scope=nothing%3Aread';

/** Sends the parts with a pause after each, and answers what came until the last status was there. */
async function send(parts: readonly string[], answers = 1): Promise<number[]> {
  const socket = connect(Number(new URL(server.issuer).port), '127.0.0.1').setNoDelay(true);
  let text = '';
  const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
  const done = new Promise<void>((resolve, reject) => {
    socket.on('data', (data) => {
      text += data;
      if (statuses().length >= answers) resolve();
    });
    socket.on('close', () => resolve());
    socket.on('error', reject);
  });
  for (const part of parts) {
    await new Promise<void>((resolve) => socket.write(part, () => resolve()));
    // What was sent has been read when somebody who came after it is answered.
    await fetch(`${server.issuer}/health/live`);
  }
  await done;
  socket.destroy();
  return statuses();
}

describe('a token request whose body comes in parts', () => {
  test.each([
    ['one byte first', [good.slice(0, 1), good.slice(1)]],
    ['three parts', [good.slice(0, 10), good.slice(10, 20), good.slice(20)]],
    ['the last byte late', [good.slice(0, -1), good.slice(-1)]],
  ])('is granted: %s', async (_name, parts) => {
    expect(await send([head(good.length), ...parts])).toEqual([200]);
  });

  test('is refused by oidc-provider, which reads all of it as well', async () => {
    expect(await send([head(bad.length), bad.slice(0, 7), bad.slice(7)])).toEqual([400]);
  });

  test('and never whole, holds nobody up, and is dropped with its connection', async () => {
    const socket = connect(Number(new URL(server.issuer).port), '127.0.0.1');
    await new Promise<void>((resolve) => socket.write(head(good.length) + good.slice(0, 20), () => resolve()));
    const other = await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    expect(other.status).toBe(200);
    socket.destroy();
    expect((await fetch(`${server.issuer}/health/live`)).status).toBe(200);
    expect(server.logged()).not.toContain('request.failed');
  });
});

describe('several token requests on one connection', () => {
  test('are answered one after the other, whichever way each takes', async () => {
    const requests = [good, bad, good, bad, good].map((body) => head(body.length) + body);
    expect(await send([requests.join('')], 5)).toEqual([200, 400, 200, 400, 200]);
  });

  test('leave the connection open', async () => {
    expect(await send([head(good.length) + good, head(good.length) + good], 2)).toEqual([200, 200]);
  });
});
