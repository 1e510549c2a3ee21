import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { createPlaces, type Place } from '../../src/status-list/indexes.ts';
import { placeOf, placesPerList } from '../../src/status-list/permutation.ts';
import { engines } from '../support/engines.ts';

const day = 86_400;
const start = Date.parse('2030-01-01T00:00:00Z');

describe('the order in which places are handed out', () => {
  const seed = fc.string({ minLength: 1 });
  const number = fc.integer({ min: 0, max: placesPerList - 1 });

  test('gives no two the same place, and none outside of the list', () => {
    fc.assert(
      fc.property(seed, number, number, (key, one, other) => {
        const places = [placeOf(one, key), placeOf(other, key)];
        expect(places.every((place) => Number.isInteger(place) && place >= 0 && place < placesPerList)).toBe(true);
        expect(places[0] === places[1]).toBe(one === other);
      }),
    );
  });

  test('uses each place of a stretch once, and scatters it over the whole list', () => {
    const places = Array.from({ length: 20_000 }, (_, n) => placeOf(n, 'a seed'));
    expect(new Set(places).size).toBe(places.length);
    const sixteenths = new Array(16).fill(0);
    for (const place of places) sixteenths[place >> 16] += 1;
    for (const count of sixteenths) expect(count).toBeGreaterThan(1_000);
    // Whose grant came next is not whose place is next.
    const neighbours = places.filter((place, n) => n > 0 && Math.abs(place - places[n - 1]!) === 1).length;
    expect(neighbours).toBeLessThan(10);
  });

  test('is another one in every list', () => {
    const of = (seedOfList: string) => Array.from({ length: 10 }, (_, n) => placeOf(n, seedOfList)).join();
    expect(of('one')).not.toBe(of('another'));
  });
});

describe.each(engines)('places in status lists, on $name', ({ freshDatabase }) => {
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
    createPlaces(db, { longestBearerLife: 90 * day, now: () => now, ...(began && { began }) });
  const keyOf = ({ list, idx }: Place) => `${list}/${idx}`;

  test('are given once, whichever process gives them and however many ask at the same moment', async () => {
    const processes = [createOur(), createOur(), createOur()];
    const places = await Promise.all(Array.from({ length: 4_000 }, (_, n) => processes[n % 3]!.take()));
    expect(new Set(places.map(keyOf)).size).toBe(4_000);
  });

  test('cost a statement once in a thousand', async () => {
    const places = createOur();
    await places.take();
    statements = 0;
    for (let n = 0; n < 1_000; n += 1) await places.take();
    expect(statements).toBe(0);
  });

  test('of an application are the same in every process and after a restart, and then cost nothing', async () => {
    const [one, other] = [createOur(), createOur()];
    const bearers = await Promise.all([one, other, one].map((places) => places.ofClient('service')));
    expect(new Set(bearers.map(({ place }) => keyOf(place))).size).toBe(1);
    expect(new Set(bearers.map(({ grantId }) => grantId)).size).toBe(1);
    const restarted = createOur();
    await restarted.load(['service', 'new']);
    statements = 0;
    expect(await restarted.ofClient('service')).toEqual(bearers[0]);
    await restarted.ofClient('new');
    expect(statements).toBe(0);
  });

  test('of an application that were taken away are not given to it again', async () => {
    const [here, elsewhere] = [createOur(), createOur()];
    const before = await here.ofClient('renewed');
    await elsewhere.ofClient('renewed');
    expect(await db.transaction((tx) => here.takeFromClients(tx, 'renewed'))).toEqual([before]);
    const after = await here.ofClient('renewed');
    expect(keyOf(after.place)).not.toBe(keyOf(before.place));
    // Another process still has the old one in memory, until it sees the bit.
    expect(await elsewhere.ofClient('renewed')).toEqual(before);
    elsewhere.forget((place) => keyOf(place) === keyOf(before.place));
    expect(await elsewhere.ofClient('renewed')).toEqual(after);
  });

  test('come from a new list when one is full, and it is known before its first place is', async () => {
    const begun: string[] = [];
    const places = createOur(async () => {
      begun.push((await createOur().lists()).join());
    });
    const { list } = await places.take();
    await db.query(`update status_lists set next = ${placesPerList - 1024} where list = $1`, [list]);
    now += 2 * day * 1000; // the block in hand is too old to be used up
    const rest = await Promise.all(Array.from({ length: 1_024 }, () => places.take()));
    expect(new Set(rest.map((place) => place.list))).toEqual(new Set([list]));
    expect((await places.take()).list).toBe(list + 1);
    expect(begun).toEqual([`${list},${list + 1}`]);
  });

  test('are gone with their list when no token can name it any more, and not before', async () => {
    const places = createOur();
    const [full, current] = await places.lists();
    expect(await places.sweep(now + 90 * day * 1000, 500)).toBe(0);
    // "service" has its place there.
    expect(await places.sweep(now + 92 * day * 1000, 500)).toBe(0);
    await db.transaction((tx) => places.takeFromClients(tx));
    expect(await places.sweep(now + 92 * day * 1000, 500)).toBe(1);
    expect(await places.lists()).toEqual([current]);
    expect(full).not.toBe(current);
  });
});
