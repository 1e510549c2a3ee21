import { createClient } from '@redis/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSigner } from '../../src/keys/signer.ts';
import { createLog } from '../../src/log.ts';
import { createStatusIndexes } from '../../src/status-list/indexes.ts';
import { createStatusListPublisher } from '../../src/status-list/lists.ts';
import { grantKey, openRedisDenylist, type RedisDenylist } from '../../src/status-list/redis-denylist.ts';
import { createRevokedStatuses, type RevokedStatus } from '../../src/status-list/revoked.ts';
import { sqlite } from '../support/engines.ts';
import { testKeys } from '../support/keys.ts';
import { noRedis, type RedisServer, startRedis } from '../support/redis.ts';

const hourMs = 3_600_000;

describe.skipIf(noRedis)('the denylist in Redis', () => {
  let redis: RedisServer;
  let denylist: RedisDenylist;
  let lines: string[];
  let table: RevokedStatus[];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  beforeEach(() => {
    lines = [];
    table = [];
    denylist = openRedisDenylist({
      url: redis.url,
      everything: async () => table,
      log: createLog('info', (line) => lines.push(line)),
    });
  });
  afterEach(() => denylist.close());

  function revoked(grantId: string, expiresAt = Date.now() + hourMs): RevokedStatus {
    const row = { grantId, expiresAt, index: { list: 1, idx: table.length } };
    table.push(row);
    return row;
  }

  const clientOf = ({ url }: RedisServer) => createClient({ url });

  async function ask<T>(question: (client: ReturnType<typeof clientOf>) => Promise<T>): Promise<T> {
    const client = clientOf(redis);
    client.on('error', () => {});
    await client.connect();
    return question(client).finally(() => client.destroy());
  }

  const has = (grantId: string) => ask(async (client) => (await client.exists(grantKey(grantId))) === 1);
  const logged = (event: string) => lines.filter((line) => line.includes(`"${event}"`)).length;
  const soon = { timeout: 10_000, interval: 20 };

  test('has a key for each grant that ended, which goes when its last token has expired', async () => {
    const row = revoked('a');
    const tellAndLook = async () => {
      denylist.add([row]);
      await denylist.delivered();
      return has('a');
    };
    await expect.poll(tellAndLook, soon).toBe(true);
    const left = await ask((client) => client.pTTL('signet:revoked:grant:a'));
    expect(left).toBeGreaterThan(hourMs - 60_000);
    expect(left).toBeLessThanOrEqual(hourMs);
    expect(await has('b')).toBe(false);
  });

  test('has what was revoked before this process began', async () => {
    revoked('earlier');
    await expect.poll(() => has('earlier'), soon).toBe(true);
  });

  test('is told of a thing once, though it is looked at again and again', async () => {
    const row = revoked('once');
    await expect.poll(() => has('once'), soon).toBe(true);
    const commands = () =>
      ask(async (client) => Number(/cmdstat_set:calls=(\d+)/.exec(await client.info('commandstats'))?.[1]));
    const before = await commands();
    for (let n = 0; n < 5; n += 1) {
      denylist.add([row]);
      await denylist.delivered();
    }
    expect(await commands()).toBe(before);
  });

  test('that lost its memory while it was connected has all of it again when everything was read anew', async () => {
    const db = await sqlite.freshDatabase();
    let now = Date.now();
    const revokedStatuses = createRevokedStatuses(db, { clockSkew: 60, now: () => now });
    const indexes = createStatusIndexes(db, { longestHolderLife: 1 });
    const lists = createStatusListPublisher({
      issuer: 'https://id.example.com',
      indexes,
      revoked: revokedStatuses,
      ttl: 15,
      log: createLog('silent'),
      now: () => now,
    });
    lists.onRead(denylist.add);
    const { publicJwk, pkcs8 } = testKeys[0]!;
    const active = createSigner(publicJwk, pkcs8);
    await lists.useKeys({ active, published: [active.publicJwk], newestPreparedAt: 0, version: active.kid });
    const lookBack = async (aheadMs: number) => {
      now += aheadMs;
      await lists.refresh();
      await denylist.delivered();
    };

    const index = await indexes.allocate();
    await db.transaction((tx) => revokedStatuses.revoke(tx, [{ grantId: 'flushed', index }]));
    await expect.poll(() => lookBack(0).then(() => has('flushed')), soon).toBe(true);
    await ask((client) => client.flushAll());
    await lookBack(5_000);
    expect(await has('flushed')).toBe(false); // it is not written again at every look
    await lookBack(300_000);
    expect(await has('flushed')).toBe(true);
    await db.close();
  });

  test('away, keeps nobody waiting, and gets what it missed when it is back, with nothing in its memory', async () => {
    revoked('before');
    await expect.poll(() => has('before'), soon).toBe(true);
    await redis.stop();
    await expect.poll(() => logged('denylist.away'), soon).toBe(1);
    const began = performance.now();
    for (let n = 0; n < 1_000; n += 1) denylist.add([revoked(`missed ${n}`)]);
    await denylist.delivered();
    expect(performance.now() - began).toBeLessThan(1_000);
    await redis.start();
    await expect.poll(() => has('missed 999'), soon).toBe(true);
    expect(await has('before')).toBe(true);
    expect([logged('denylist.away'), logged('denylist.back')]).toEqual([1, 1]);
  });

  test('that answers nobody is given up after seconds, and told when it answers again', async () => {
    revoked('fluid');
    await expect.poll(() => has('fluid'), soon).toBe(true);
    redis.freeze();
    try {
      denylist.add([revoked('frozen')]);
      await denylist.delivered();
      expect(logged('denylist.not_written')).toBe(1);
      redis.thaw();
      await expect.poll(() => has('frozen'), soon).toBe(true);
    } finally {
      redis.thaw();
    }
  });

  test('that was never there stops neither the start nor the end', async () => {
    const nowhere = openRedisDenylist({
      url: 'redis://127.0.0.1:1',
      everything: async () => [],
      log: createLog('silent'),
    });
    nowhere.add([revoked('unheard')]);
    await nowhere.delivered();
    await nowhere.close();
  });
});
