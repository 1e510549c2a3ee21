import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync, inflateSync } from 'node:zlib';
import { compactVerify, importJWK } from 'jose';
import Koa from 'koa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import type { SigningKeys } from '../../src/keys/keyring.ts';
import { createSigner } from '../../src/keys/signer.ts';
import { createLog } from '../../src/log.ts';
import { createStatusIndexes, type StatusHolder, type StatusIndexes } from '../../src/status-list/indexes.ts';
import {
  createStatusListPublisher,
  type StatusListPublisher,
  subscribeToRevocations,
} from '../../src/status-list/lists.ts';
import { createRevokedStatuses, type RevokedStatuses } from '../../src/status-list/revoked.ts';
import { statusListRoutes } from '../../src/status-list/routes.ts';
import { engines, sqlite } from '../support/engines.ts';
import { testKeys } from '../support/keys.ts';

const issuer = 'https://id.example.com';
const ttl = 15;
const hourMs = 3_600_000;
const [first, second] = testKeys.map(({ publicJwk, pkcs8 }) => createSigner(publicJwk, pkcs8));
const keysOf = (active = first!): SigningKeys => ({
  active,
  published: [active.publicJwk],
  newestPreparedAt: 0,
  version: active.kid,
});

interface Replica {
  indexes: StatusIndexes;
  revoked: RevokedStatuses;
  lists: StatusListPublisher;
}

describe.each(engines)('status lists, on $name', ({ freshDatabase }) => {
  let db: Database;
  let now: number;
  let broken: boolean;
  let lines: string[];
  let here: Replica;
  beforeEach(async () => {
    const opened = await freshDatabase();
    broken = false;
    lines = [];
    now = Date.now();
    db = {
      ...opened,
      query: (sql, values) => (broken ? Promise.reject(new Error('the database is gone')) : opened.query(sql, values)),
    };
    here = await replica();
  });
  afterEach(() => db.close());

  async function replica({ clockOffMs = 0 } = {}): Promise<Replica> {
    const own = () => now + clockOffMs;
    const revoked = createRevokedStatuses(db, { clockSkew: 60, now: own });
    const indexes = createStatusIndexes(db, { longestHolderLife: 1, began: () => lists.refresh(), now: own });
    const lists: StatusListPublisher = createStatusListPublisher({
      issuer,
      indexes,
      revoked,
      ttl,
      log: createLog('info', (line) => lines.push(line)),
      now: own,
      sharedNow: () => now,
    });
    await lists.useKeys(keysOf());
    return { indexes, revoked, lists };
  }

  async function grant(): Promise<StatusHolder> {
    const index = await here.indexes.allocate();
    return { grantId: `grant ${index.list}-${index.idx}`, index };
  }

  const revoke = (...holders: StatusHolder[]) => db.transaction((tx) => here.revoked.revoke(tx, holders));

  /** What a stranger makes of the list: signature, claims, and the bit. */
  async function read({ lists }: Replica, { index }: StatusHolder, signer = first!) {
    const signed = (await lists.find(index.list))!;
    const key = await importJWK({ ...signer.publicJwk }, 'RS256');
    const { payload, protectedHeader } = await compactVerify(signed.token, key);
    const claims = JSON.parse(Buffer.from(payload).toString());
    const bytes = inflateSync(Buffer.from(claims.status_list.lst, 'base64url'));
    return { header: protectedHeader, claims, bit: (bytes[index.idx >> 3]! >> (index.idx & 7)) & 1, signed };
  }

  const bitOf = async (at: Replica, holder: StatusHolder) => (await read(at, holder)).bit;

  test('have the header and the claims of the specification', async () => {
    const holder = await grant();
    const { header, claims } = await read(here, holder);
    expect(header).toEqual({ alg: 'RS256', typ: 'statuslist+jwt', kid: first!.kid });
    const iat = Math.floor(now / 1000);
    expect(claims).toEqual({
      iss: issuer,
      sub: `${issuer}/status-lists/${holder.index.list}`,
      iat: iat - 5,
      exp: iat + 3600,
      ttl,
      status_list: { bits: 1, lst: expect.any(String), aggregation_uri: `${issuer}/status-lists` },
    });
    expect(here.lists.uriOf(holder.index.list)).toBe(claims.sub);
  });

  test('bear the time that replicas share: a newer one does not look older where the clock is slow', async () => {
    const fast = await replica({ clockOffMs: 60_000 });
    const slow = await replica({ clockOffMs: -60_000 });
    const holder = await grant();
    await fast.lists.refresh();
    const before = await read(fast, holder);
    now += 1_000;
    await revoke(holder);
    await slow.lists.refresh();
    const after = await read(slow, holder);
    expect([before.bit, after.bit]).toEqual([0, 1]);
    expect(after.claims.iat).toBeGreaterThanOrEqual(before.claims.iat + 1);
  });

  test('show what was revoked and nothing else, and two replicas agree', async () => {
    const [gone, stays, alsoGone] = [await grant(), await grant(), await grant()];
    const there = await replica();
    expect(await Promise.all([gone, stays].map((holder) => bitOf(there, holder)))).toEqual([0, 0]);
    await revoke(gone, alsoGone);
    await Promise.all([here.lists.refresh(), there.lists.refresh()]);
    for (const at of [here, there]) {
      expect(await Promise.all([gone, stays, alsoGone].map((holder) => bitOf(at, holder)))).toEqual([1, 0, 1]);
      expect([gone, stays].map(({ index }) => at.lists.isRevoked(index))).toEqual([true, false]);
    }
    const restarted = await replica();
    expect((await read(restarted, gone)).claims.status_list).toEqual((await read(here, gone)).claims.status_list);
  });

  test('follow an announcement of another process without waiting for their turn', async () => {
    const holder = await grant();
    const there = await replica();
    const stop = await subscribeToRevocations(db, there.lists, 3_600);
    await revoke(holder);
    await here.revoked.announce();
    await expect.poll(() => there.lists.isRevoked(holder.index), { timeout: 5_000, interval: 20 }).toBe(true);
    await stop();
  });

  test('find a transaction that committed long after it began, and a clock that is behind', async () => {
    const holder = await grant();
    const slow = createRevokedStatuses(db, { clockSkew: 60, now: () => now - 120_000 });
    await here.lists.refresh();
    await db.transaction((tx) => slow.revoke(tx, [holder]));
    await here.lists.refresh();
    expect(await bitOf(here, holder)).toBe(1);
  });

  test("forget a bit once no token can bear it: an hour and the clocks' difference later", async () => {
    const holder = await grant();
    await revoke(holder);
    await here.lists.refresh();
    now += hourMs + 59_000;
    await here.lists.refresh();
    expect(await bitOf(here, holder)).toBe(1);
    expect(await here.revoked.sweep(now, 500)).toBe(0);
    now += 2_000;
    await here.lists.refresh();
    expect(await here.revoked.sweep(now, 500)).toBe(1);
    now += 300_000;
    await here.lists.refresh();
    expect(await bitOf(here, holder)).toBe(0);
  });

  test('stay the same, to the byte, while nothing happens, and are signed anew long before they expire', async () => {
    const holder = await grant();
    const { token, expiresAt } = (await here.lists.find(holder.index.list))!;
    now += 1_440_000;
    await here.lists.refresh();
    expect((await here.lists.find(holder.index.list))!.token).toBe(token);
    now += 480_000;
    await here.lists.refresh();
    expect((await here.lists.find(holder.index.list))!.expiresAt).toBe(expiresAt + 1920);
  });

  test('are signed by the new key as soon as it signs', async () => {
    const holder = await grant();
    await here.lists.useKeys(keysOf(second!));
    expect((await read(here, holder, second!)).header.kid).toBe(second!.kid);
  });

  test('go on as they were while the database is away, say how old they are, and end', async () => {
    const holder = await grant();
    const { iat } = (await read(here, holder)).claims;
    broken = true;
    now += 3_590_000;
    await here.lists.refresh();
    await here.lists.useKeys(keysOf(second!));
    expect((await read(here, holder)).claims.iat).toBe(iat);
    expect(lines.filter((line) => line.includes('status_lists.failed'))).toHaveLength(1);
    now += 11_000;
    expect(await here.lists.find(holder.index.list)).toBeUndefined();
    expect(here.lists.has(holder.index.list)).toBe(true);
    broken = false;
    await here.lists.refresh();
    expect((await read(here, holder, second!)).bit).toBe(0);
  });

  test('of ten thousand revocations in one transaction have every bit', async () => {
    const holders = await Promise.all(Array.from({ length: 10_000 }, grant));
    await revoke(...holders);
    await here.lists.refresh();
    const [{ index }] = holders as [StatusHolder];
    const { claims } = await read(here, holders[0]!);
    const bytes = inflateSync(Buffer.from(claims.status_list.lst, 'base64url'));
    let set = 0;
    for (const byte of bytes) for (let bit = 0; bit < 8; bit += 1) set += (byte >> bit) & 1;
    expect(set).toBe(holders.filter((holder) => holder.index.list === index.list).length);
  });
});

describe('a status list over HTTP', () => {
  let db: Database;
  let lists: StatusListPublisher;
  let holder: StatusHolder;
  let url: string;
  let stop: () => Promise<unknown>;
  let queries = 0;
  beforeEach(async () => {
    const opened = await sqlite.freshDatabase();
    db = {
      ...opened,
      query: (sql, values) => {
        queries += 1;
        return opened.query(sql, values);
      },
    };
    const indexes = createStatusIndexes(db, { longestHolderLife: 1, began: () => lists.refresh() });
    lists = createStatusListPublisher({
      issuer,
      indexes,
      revoked: createRevokedStatuses(db, { clockSkew: 60 }),
      ttl,
      log: createLog('silent'),
    });
    await lists.useKeys(keysOf());
    holder = { grantId: 'g', index: await indexes.allocate() };
    const app = new Koa();
    app.use(statusListRoutes(lists, ttl));
    const server = createServer(app.callback());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/status-lists`;
    stop = () => new Promise((resolve) => server.close(resolve));
  });
  afterEach(async () => {
    await stop();
    await db.close();
  });

  test('is public, cacheable for its ttl, readable from every origin, and asks the database nothing', async () => {
    const { token } = (await lists.find(holder.index.list))!;
    queries = 0;
    const answer = await fetch(`${url}/${holder.index.list}`, { headers: { Origin: 'https://anybody.example' } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/statuslist+jwt');
    expect(answer.headers.get('cache-control')).toBe(`public, max-age=${ttl}`);
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(await answer.text()).toBe(token);
    expect(queries).toBe(0);
  });

  test("is answered 304 to whoever has it, with fetch's own headers, and 200 once it has changed", async () => {
    const address = `${url}/${holder.index.list}`;
    const etag = (await fetch(address)).headers.get('etag')!;
    const again = () => fetch(address, { headers: { 'If-None-Match': etag } });
    expect((await again()).status).toBe(304);
    const revoked = createRevokedStatuses(db, { clockSkew: 60 });
    await db.transaction((tx) => revoked.revoke(tx, [holder]));
    await lists.refresh();
    expect((await again()).status).toBe(200);
  });

  test('travels compressed to whoever can read that, and plain to others', async () => {
    const ask = async (encoding: string) => {
      const { request } = await import('node:http');
      return new Promise<{ encoding: string | undefined; body: Buffer }>((resolve) => {
        request(`${url}/${holder.index.list}`, { headers: { 'Accept-Encoding': encoding } }, (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          const encoding = answer.headers['content-encoding'];
          answer.on('end', () => resolve({ encoding, body: Buffer.concat(chunks) }));
        }).end();
      });
    };
    const { token } = (await lists.find(holder.index.list))!;
    const compressed = await ask('gzip');
    expect([compressed.encoding, gunzipSync(compressed.body).toString()]).toEqual(['gzip', token]);
    const plain = await ask('identity');
    expect([plain.encoding, plain.body.toString()]).toEqual([undefined, token]);
  });

  test('is listed with the others', async () => {
    expect(await (await fetch(url)).json()).toEqual({ status_lists: [`${issuer}/status-lists/${holder.index.list}`] });
  });

  test.each([
    ['a list that there is not', 'GET', '/999', {}, 404],
    ['what is no number', 'GET', '/one', {}, 404],
    ['a number with a zero before it', 'GET', '/01', {}, 404],
    ['a time gone by (§8.4)', 'GET', '/1?time=1686925000', {}, 501],
    ['the CBOR form', 'GET', '/1', { Accept: 'application/statuslist+cwt' }, 406],
    ['a preflight', 'OPTIONS', '/1', { Origin: 'https://a.example' }, 204],
    ['the head alone', 'HEAD', '/1', {}, 200],
  ])('answers who asks for %s', async (_what, method, path, headers, status) => {
    expect((await fetch(url + path, { method, headers: headers as Record<string, string> })).status).toBe(status);
  });

  test('asked for by numbers that are not there, does not ask the database each time', async () => {
    queries = 0;
    const began = performance.now();
    for (let n = 500; n < 550; n += 1) expect((await fetch(`${url}/${n}`)).status).toBe(404);
    // One a second at most, and a few of the server's own.
    expect(queries).toBeLessThan(10 + (performance.now() - began) / 1000);
  });
});
