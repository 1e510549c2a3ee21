// Strangers who open connections and do not use them as one does: over raw sockets, against small limits.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createLog } from '../../src/log.ts';
import { createLimitedServer } from '../../src/web/connections.ts';
import { freePort } from '../support/ports.ts';
import { startSignet, type TestServer } from '../support/signet.ts';

const host = '127.0.0.1';

interface Opened {
  socket: Socket;
  got(): string;
  ended: Promise<unknown>;
}

/** A connection, with what it was sent so far; `ended` resolves when the other side closed it. */
async function open(port: number, localAddress = host): Promise<Opened> {
  const socket = connect({ port, host, localAddress });
  onTestFinished(() => {
    socket.destroy();
  });
  let got = '';
  socket.on('data', (data) => {
    got += data.toString('latin1');
  });
  socket.on('error', () => undefined); // a reset is an end as well
  const ended = new Promise((resolve) => {
    socket.once('close', resolve);
  });
  await Promise.race([once(socket, 'connect'), ended]);
  return { socket, got: () => got, ended };
}

describe('a server that gives a request one second', () => {
  let server: TestServer;
  let port: number;
  beforeAll(async () => {
    port = await freePort();
    server = await startSignet({ values: { listen: { port, host, requestTimeout: '1s', maxConnections: 30 } } });
  });
  afterAll(() => server.close());

  const half =
    'POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n' +
    'Content-Length: 100\r\n\r\ngrant';

  test('closes a connection whose request does not arrive whole, whatever of it did', async () => {
    const halves = {
      'nothing at all': '',
      'half a line': 'GET /jw',
      'half of its headers': 'GET /jwks HTTP/1.1\r\nHost: x\r\nX-A: ',
      'half a body at the token endpoint': half,
      'half a body at an endpoint of ours': half.replace('/token', '/token/introspection'),
      'half a body at an endpoint of the provider’s': half.replace('/token', '/auth'),
      'half a form of a page': half.replace('/token', '/sign-in/x'),
      'half of a chunked body': 'POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ngra',
    };
    const closed = await Promise.all(
      Object.entries(halves).map(async ([what, sent]) => {
        const { socket, ended, got } = await open(port);
        socket.write(sent);
        await ended;
        return [what, got().startsWith('HTTP/1.1 2')];
      }),
    );
    expect(closed).toEqual(Object.keys(halves).map((what) => [what, false]));
  });

  test('closes one that drips a byte now and then, so that it never is idle', async () => {
    const { socket, ended } = await open(port);
    socket.write(half);
    const drip = setInterval(() => socket.write('x'), 100);
    await ended;
    clearInterval(drip);
  });

  test('closes one that asks and does not read', async () => {
    const { socket, ended } = await open(port);
    socket.pause();
    socket.write('GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3_000));
    // Not reading, it hears of its end by writing alone.
    const listening = setInterval(() => socket.write('G'), 250);
    await ended;
    clearInterval(listening);
  });

  test('answers the next one while others wait, and closes what is beyond the bound', async () => {
    const held = await Promise.all(Array.from({ length: 29 }, () => open(port)));
    const answer = await open(port);
    answer.socket.end('GET /jwks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await answer.ended;
    expect(answer.got()).toMatch(/^HTTP\/1\.1 200 /);
    const beyond = await Promise.all(Array.from({ length: 40 }, () => open(port)));
    const ask = 'GET /jwks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    for (const { socket } of beyond) if (socket.writable) socket.write(ask);
    await Promise.all(beyond.map(({ ended }) => ended));
    expect(beyond.filter(({ got }) => got().startsWith('HTTP/1.1 200')).length).toBeLessThan(30);
    await Promise.all(held.map(({ ended }) => ended));
    expect((await fetch(`${server.issuer}/jwks`)).status).toBe(200);
    expect(server.logged().match(/http\.connections_dropped/g)).toHaveLength(1);
  });
});

// Of a server with two workers, each has half of what is allowed.
test.each([
  [1, 10],
  [2, 5],
])(
  'of %i workers, one address has no more connections than its share; a proxy, who brings many people, has',
  async (workers, share) => {
    const lines: string[] = [];
    const server = createLimitedServer(
      (_req, res) => {
        res.end('here');
      },
      {
        limits: { requestTimeout: 30, maxConnections: 100, maxConnectionsPerAddress: 10 },
        workers,
        isProxy: (address) => address === '127.0.0.9',
        log: createLog('debug', (line) => lines.push(line)),
      },
    );
    const port = await freePort();
    await new Promise<void>((resolve) => {
      server.listen(port, host, resolve);
    });
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });

    const answered = async (localAddress: string, count: number) => {
      const all = await Promise.all(Array.from({ length: count }, () => open(port, localAddress)));
      for (const { socket } of all) socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      const heard = ({ socket, ended }: Opened) => Promise.race([once(socket, 'data').catch(() => undefined), ended]);
      await Promise.all(all.map(heard));
      return { all, count: all.filter(({ got }) => got().includes('here')).length };
    };
    const first = await answered('127.0.0.2', 15);
    expect(first.count).toBe(share);
    expect((await answered('127.0.0.3', share)).count).toBe(share);
    expect((await answered('127.0.0.9', 30)).count).toBe(30);
    // What was closed counts no more.
    for (const { socket } of first.all) socket.destroy();
    await expect.poll(async () => (await answered('127.0.0.2', 1)).count).toBe(1);
    expect(lines.map((line) => JSON.parse(line).event)).toEqual(['http.connections_dropped']);
  },
);
