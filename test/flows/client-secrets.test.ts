// Wrong client secrets, wherever an application authenticates: who sends many is slowed, nobody is locked out, and an
// application that is busy, behind one address, is not taken for one who guesses.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secret, startSignet, type TestServer } from '../support/signet.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({ values: { proxy: { trusted: ['127.0.0.1'] } } });
});
afterAll(() => server.close());

const endpoints = ['/token', '/token/introspection', '/token/revocation'];
const wrong = 'not the secret of this application, and yet long';

let addresses = 0;
/** Nobody has asked from there yet. */
const freshAddress = () => `203.0.113.${(addresses += 1)}`;

interface Asking {
  clientId?: string;
  sent: string;
  from: string;
  way?: 'header' | 'form';
}

function ask(path: string, { clientId = 'service', sent, from, way = 'header' }: Asking): Promise<Response> {
  const inForm: Record<string, string> = way === 'form' ? { client_id: clientId, client_secret: sent } : {};
  return fetch(server.url + path, {
    method: 'POST',
    headers: {
      'X-Forwarded-For': from,
      Accept: 'application/json',
      ...(way === 'header'
        ? { Authorization: `Basic ${Buffer.from(`${clientId}:${sent.replaceAll(' ', '+')}`).toString('base64')}` }
        : {}),
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', token: 'unknown', ...inForm }),
  });
}

/** Statuses of so many, one after the other. */
async function inARow(count: number, path: string, asking: Asking): Promise<number[]> {
  const statuses: number[] = [];
  for (let time = 0; time < count; time += 1) {
    const answer = await ask(path, asking);
    statuses.push(answer.status);
    await answer.arrayBuffer();
  }
  return statuses;
}

/** Ten are free, and one more for every six seconds that a machine takes for them. Also after that some more come. */
async function untilSlowed(send: (time: number) => Promise<Response>): Promise<void> {
  const began = performance.now();
  const next = async (time: number) => {
    const answer = await send(time);
    await answer.arrayBuffer();
    return answer.status;
  };
  let free = 0;
  for (let status = 0; status !== 429; free += status === 401 ? 1 : 0) {
    status = await next(free);
    expect([401, 429]).toContain(status);
  }
  expect(free).toBeGreaterThanOrEqual(10);
  expect(free).toBeLessThanOrEqual(11 + (performance.now() - began) / 6_000);
  // Of ten at once four are looked at: for half a minute none is free now.
  expect(await Promise.all(Array.from({ length: 10 }, (_, more) => next(free + more)))).toEqual(Array(10).fill(429));
}

describe.each(endpoints)('wrong client secrets at %s', (path) => {
  test.each(['header', 'form'] as const)(
    'sent in the %s: ten are free, then 429 says when to come back',
    async (way) => {
      const asking = { sent: wrong, from: freshAddress(), way };
      await untilSlowed(() => ask(path, asking));
      const answer = await ask(path, asking);
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '1']);
      expect(await answer.json()).toEqual({
        error: 'invalid_client',
        error_description: 'too many wrong client secrets came from this address; correct the secret and try again',
      });
    },
  );

  test('the right one is let in at once, from there and from elsewhere', async () => {
    const from = freshAddress();
    await untilSlowed(() => ask(path, { sent: wrong, from }));
    expect(await inARow(3, path, { sent: secret, from })).toEqual([200, 200, 200]);
    expect(await inARow(1, path, { sent: wrong, from })).toEqual([429]);
    expect(await inARow(3, path, { sent: secret, from: freshAddress() })).toEqual([200, 200, 200]);
  });

  test('the right one is let in while wrong ones keep coming, where it came before', async () => {
    const from = freshAddress();
    await inARow(1, path, { sent: secret, from });
    const began = performance.now();
    const flood = Promise.all(Array.from({ length: 60 }, () => inARow(1, path, { sent: wrong, from })));
    expect(await inARow(10, path, { sent: secret, from })).toEqual(Array(10).fill(200));
    const free = (await flood).flat().filter((status) => status === 401).length;
    expect(free).toBeLessThanOrEqual(11 + (performance.now() - began) / 6_000);
  });

  test('other applications behind the same address are not held up', async () => {
    const from = freshAddress();
    await untilSlowed(() => ask(path, { sent: wrong, from }));
    expect(await inARow(1, path, { clientId: 'web', sent: wrong, from })).toEqual([401]);
    // It has no client_credentials: what counts is that it was let in.
    expect(await inARow(1, path, { clientId: 'web', sent: secret, from })).toEqual([path === '/token' ? 400 : 200]);
  });

  test('names of applications are not tried any faster', async () => {
    const from = freshAddress();
    await untilSlowed((time) => ask(path, { clientId: `invented-${time}`, sent: wrong, from }));
  });
});

test('what is counted at one endpoint counts at the others, and of IPv6 a whole /48 is one', async () => {
  await untilSlowed((time) => ask(endpoints[time % 3]!, { sent: wrong, from: `2001:db8:5:${time}::1` }));
  for (const path of endpoints) {
    expect(await inARow(1, path, { sent: wrong, from: '2001:db8:5:ffff::1' })).toEqual([429]);
    expect(await inARow(1, path, { sent: wrong, from: '2001:db8:6::1' })).toEqual([401]);
  }
});

test('one busy application behind one address: tokens, JWKS and introspection for every sign-in', async () => {
  const from = freshAddress();
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, at) => {
      const guess = at % 5 === 0 ? ask('/token', { clientId: 'web', sent: wrong, from }) : undefined;
      const jwks = fetch(`${server.url}/jwks`, { headers: { 'X-Forwarded-For': from } });
      const token = await ask('/token', { sent: secret, from });
      const introspection = await ask('/token/introspection', { sent: secret, from });
      await (await guess)?.arrayBuffer();
      return [token.status, introspection.status, (await jwks).status];
    }),
  );
  expect(answers).toEqual(Array(100).fill([200, 200, 200]));
});
