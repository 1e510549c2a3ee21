import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { createStatusIndexes, type StatusIndex } from '../../src/status-list/indexes.ts';
import { indexAt, indexesPerList } from '../../src/status-list/permutation.ts';
import { engines } from '../support/engines.ts';

const day = 86_400;
const start = Date.parse('2030-01-01T00:00:00Z');

describe('the order in which indexes are handed out', () => {
  const seed = fc.string({ minLength: 1 });
  const number = fc.integer({ min: 0, max: indexesPerList - 1 });

  test('gives no two the same index, and none outside of the list', () => {
    fc.assert(
      fc.property(seed, number, number, (key, one, other) => {
        const indexes = [indexAt(one, key), indexAt(other, key)];
        expect(indexes.every((index) => Number.isInteger(index) && index >= 0 && index < indexesPerList)).toBe(true);
        expect(indexes[0] === indexes[1]).toBe(one === other);
      }),
    );
  });

  test('uses each index of a stretch once, and scatters it over the whole list', () => {
    const indexes = Array.from({ length: 20_000 }, (_, n) => indexAt(n, 'a seed'));
    expect(new Set(indexes).size).toBe(indexes.length);
    const sixteenths = new Array(16).fill(0);
    for (const index of indexes) sixteenths[index >> 16] += 1;
    for (const count of sixteenths) expect(count).toBeGreaterThan(1_000);
    // Whose grant came next is not whose index is next.
    const neighbours = indexes.filter((index, n) => n > 0 && Math.abs(index - indexes[n - 1]!) === 1).length;
    expect(neighbours).toBeLessThan(10);
  });

  test('is another one in every list', () => {
    const of = (seedOfList: string) => Array.from({ length: 10 }, (_, n) => indexAt(n, seedOfList)).join();
    expect(of('one')).not.toBe(of('another'));
  });
});

describe.each(engines)('indexes in status lists, on $name', ({ freshDatabase }) => {
  let db: Database;
  let now = start;
  let statements = 0;
  beforeAll(async () => {
    const opened = await freshDatabase();
    db = {
      ...opened,
      query: (sql, values) => {
        statements += 1;
        return opened.query(sql, values);
      },
    };
  });
  afterAll(() => db.close());

  const createOur = (began?: () => Promise<void>) =>
    createStatusIndexes(db, { longestHolderLife: 90 * day, now: () => now, ...(began && { began }) });
  const keyOf = ({ list, idx }: StatusIndex) => `${list}/${idx}`;

  test('are given once, whichever process gives them and however many ask at the same moment', async () => {
    const processes = [createOur(), createOur(), createOur()];
    const indexes = await Promise.all(Array.from({ length: 4_000 }, (_, n) => processes[n % 3]!.allocate()));
    expect(new Set(indexes.map(keyOf)).size).toBe(4_000);
  });

  test('cost a statement once in a thousand', async () => {
    const indexes = createOur();
    await indexes.allocate();
    statements = 0;
    for (let n = 0; n < 1_000; n += 1) await indexes.allocate();
    expect(statements).toBe(0);
  });

  test('of an application are the same in every process and after a restart, and then cost nothing', async () => {
    const [one, other] = [createOur(), createOur()];
    const holders = await Promise.all([one, other, one].map((indexes) => indexes.ofClient('service')));
    expect(new Set(holders.map(({ index }) => keyOf(index))).size).toBe(1);
    expect(new Set(holders.map(({ grantId }) => grantId)).size).toBe(1);
    const restarted = createOur();
    await restarted.load(['service', 'new']);
    statements = 0;
    expect(await restarted.ofClient('service')).toEqual(holders[0]);
    await restarted.ofClient('new');
    expect(statements).toBe(0);
  });

  test('of an application that were taken away are not given to it again', async () => {
    const [here, elsewhere] = [createOur(), createOur()];
    const before = await here.ofClient('renewed');
    await elsewhere.ofClient('renewed');
    expect(await db.transaction((tx) => here.releaseClients(tx, 'renewed'))).toEqual([before]);
    const after = await here.ofClient('renewed');
    expect(keyOf(after.index)).not.toBe(keyOf(before.index));
    // Another process still has the old one in memory, until it sees the bit.
    expect(await elsewhere.ofClient('renewed')).toEqual(before);
    elsewhere.invalidate((index) => keyOf(index) === keyOf(before.index));
    expect(await elsewhere.ofClient('renewed')).toEqual(after);
  });

  test('come from a new list when one is full, and it is known before its first index is', async () => {
    const begun: string[] = [];
    const indexes = createOur(async () => {
      begun.push((await createOur().lists()).join());
    });
    const { list } = await indexes.allocate();
    await db.query(`update status_lists set next = ${indexesPerList - 1024} where list = $1`, [list]);
    now += 2 * day * 1000; // the block in hand is too old to be used up
    const rest = await Promise.all(Array.from({ length: 1_024 }, () => indexes.allocate()));
    expect(new Set(rest.map((index) => index.list))).toEqual(new Set([list]));
    expect((await indexes.allocate()).list).toBe(list + 1);
    expect(begun).toEqual([`${list},${list + 1}`]);
  });

  test('are gone with their list when no token can name it any more, and not before', async () => {
    const indexes = createOur();
    const [full, current] = await indexes.lists();
    expect(await indexes.sweep(now + 90 * day * 1000, 500)).toBe(0);
    // "service" has its index there.
    expect(await indexes.sweep(now + 92 * day * 1000, 500)).toBe(0);
    await db.transaction((tx) => indexes.releaseClients(tx));
    expect(await indexes.sweep(now + 92 * day * 1000, 500)).toBe(1);
    expect(await indexes.lists()).toEqual([current]);
    expect(full).not.toBe(current);
  });
});
