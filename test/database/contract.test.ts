// What every module may rely on, whichever engine is configured.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { databaseBytes } from '../../src/database/size.ts';
import { engines } from '../support/engines.ts';

describe.each(engines)('a database on $name', ({ name, freshUrl }) => {
  let url: string;
  let db: Database;

  beforeAll(async () => {
    url = await freshUrl();
    db = await openDatabase(url);
    await db.query('create table items (id text primary key, label text, amount bigint, claimed_at bigint)');
  });
  afterAll(() => db.close());

  test('says how large it is, and that it grew', async () => {
    const before = await databaseBytes(db);
    await db.query('create table ballast (id text primary key)');
    for (let at = 0; at < 20; at += 1) {
      await db.query('insert into ballast (id) values ($1)', [`${at}${'x'.repeat(2_000)}`]);
    }
    const after = await databaseBytes(db);
    expect(after - before).toBeGreaterThan(8_192);
    await db.query('drop table ballast');
  });

  const insert = (id: string, amount = 0) => db.query('insert into items (id, amount) values ($1, $2)', [id, amount]);
  const amountOf = async (id: string) =>
    (await db.query<{ amount: number }>('select amount from items where id = $1', [id])).rows[0]?.amount;

  describe('one statement', () => {
    test('parameters may come in any order and more than once', async () => {
      await db.query('insert into items (label, id, amount) values ($2, $1, $3)', ['order', 'second', 7]);
      const sql = 'select label, amount from items where amount = $2 and (id = $1 or label = $1)';
      expect((await db.query(sql, ['order', 7])).rows).toEqual([{ label: 'second', amount: 7 }]);
    });

    test('text, null and epoch milliseconds come back as they went in', async () => {
      const label = `it's "quoted" \\ \n 🔑 $1`;
      await db.query('insert into items (id, label, amount, claimed_at) values ($1, $2, $3, $4)', [
        'types',
        label,
        1_893_456_000_123,
        null,
      ]);
      const { rows } = await db.query('select label, amount, claimed_at from items where id = $1', ['types']);
      expect(rows).toEqual([{ label, amount: 1_893_456_000_123, claimed_at: null }]);
    });

    test('counts, sums and truth are numbers', async () => {
      await insert('sum-1', 2);
      await insert('sum-2', 3);
      const { rows } = await db.query(
        `select count(*) as n, sum(amount) as total, max(amount) > 2 as large, count(*) > 9 as many
         from items where id like 'sum-%'`,
      );
      expect(rows).toEqual([{ n: 2, total: 5, large: 1, many: 0 }]);
    });

    test('a whole number stays whole: written to text it has no decimal point', async () => {
      const { rows } = await db.query('select cast($1 as text) as written, $2 / 2 as half', [5, 5]);
      expect(rows).toEqual([{ written: '5', half: 2 }]);
    });

    test('a statement with the wrong number of values is refused', async () => {
      await expect(db.query('select id from items where id = $1 and label = $2', ['one'])).rejects.toThrow();
      await expect(db.query('select id from items where id = $1', ['one', 'two'])).rejects.toThrow();
    });

    test('a second row with the same key is a unique_violation that keeps its cause', async () => {
      await insert('twice');
      await expect(insert('twice')).rejects.toMatchObject({
        code: 'unique_violation',
        status: 409,
        cause: { message: expect.stringMatching(/unique/i) },
      });
    });

    test('on conflict do update replaces the row, and returning shows it', async () => {
      const upsert = (amount: number) =>
        db.query(
          `insert into items (id, amount) values ($1, $2)
           on conflict (id) do update set amount = items.amount + excluded.amount returning amount`,
          ['upsert', amount],
        );
      expect(await upsert(1)).toEqual({ rows: [{ amount: 1 }], rowCount: 1 });
      expect(await upsert(4)).toEqual({ rows: [{ amount: 5 }], rowCount: 1 });
    });

    test('on conflict do nothing says by rowCount that nothing happened', async () => {
      const sql = 'insert into items (id) values ($1) on conflict (id) do nothing';
      expect((await db.query(sql, ['maybe'])).rowCount).toBe(1);
      expect((await db.query(sql, ['maybe'])).rowCount).toBe(0);
    });

    test('of 50 conditional updates at the same moment, rowCount names one winner', async () => {
      await insert('race');
      const claims = Array.from({ length: 50 }, (_, claim) =>
        db.query('update items set claimed_at = $1 where id = $2 and claimed_at is null', [claim, 'race']),
      );
      const winners = (await Promise.all(claims)).filter(({ rowCount }) => rowCount === 1);
      expect(winners).toHaveLength(1);
    });

    test('of many statements at the same moment, a refused one undoes only itself', async () => {
      await insert('taken');
      const outcomes = await Promise.allSettled([insert('left'), insert('taken'), insert('right'), insert('left')]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected']);
      expect(await amountOf('left')).toBe(0);
      expect(await amountOf('right')).toBe(0);
    });

    test('the clock is epoch milliseconds', async () => {
      expect(Math.abs((await db.now()) - Date.now())).toBeLessThan(5_000);
      expect(Number.isInteger(await db.now())).toBe(true);
    });
  });

  describe('a transaction', () => {
    test('is seen by others after its end and not before', async () => {
      await insert('seen', 1);
      await db.transaction(async (tx) => {
        await tx.query('update items set amount = $1 where id = $2', [2, 'seen']);
        expect(await amountOf('seen')).toBe(1);
        expect((await tx.query('select amount from items where id = $1', ['seen'])).rows).toEqual([{ amount: 2 }]);
      });
      expect(await amountOf('seen')).toBe(2);
    });

    test('leaves nothing behind when its work fails', async () => {
      const work = db.transaction(async (tx) => {
        await tx.query('insert into items (id) values ($1)', ['abandoned']);
        throw new Error('changed my mind');
      });
      await expect(work).rejects.toThrow('changed my mind');
      expect(await amountOf('abandoned')).toBeUndefined();
    });

    test('holds no statement of another request, though it waits between its own', async () => {
      const work = db.transaction(async (tx) => {
        await tx.query('insert into items (id) values ($1)', ['within']);
        await delay(5);
        throw new Error('rolled back');
      });
      // Another request, meanwhile: the rollback must not take it along.
      const neighbour = insert('neighbour', 3);
      await expect(work).rejects.toThrow('rolled back');
      await neighbour;
      expect(await amountOf('within')).toBeUndefined();
      expect(await amountOf('neighbour')).toBe(3);
    });

    test('counts exactly, when 20 of them read, wait and write the same row', async () => {
      await insert('counter', 0);
      const addOne = () =>
        db.transaction(async (tx) => {
          await tx.query('update items set label = label where id = $1', ['counter']); // takes the row
          const { rows } = await tx.query<{ amount: number }>('select amount from items where id = $1', ['counter']);
          await delay(1);
          await tx.query('update items set amount = $1 where id = $2', [rows[0]!.amount + 1, 'counter']);
        });
      await Promise.all(Array.from({ length: 20 }, addOne));
      expect(await amountOf('counter')).toBe(20);
    });

    test('with a failed statement commits nothing, even if its work swallows the error', async () => {
      await insert('spoiler');
      const work = db.transaction(async (tx) => {
        await tx.query('insert into items (id) values ($1)', ['spoiled']);
        await tx.query('insert into items (id) values ($1)', ['spoiler']).catch(() => {});
        await tx.query('insert into items (id) values ($1)', ['after']).catch(() => {});
      });
      await expect(work).rejects.toMatchObject({ code: 'unique_violation' });
      expect(await amountOf('spoiled')).toBeUndefined();
      expect(await amountOf('after')).toBeUndefined();
    });

    test('takes no more statements once it is over', async () => {
      const late = await db.transaction(async (tx) => () => tx.query('insert into items (id) values ($1)', ['late']));
      await expect(late()).rejects.toThrow('over');
      expect(await amountOf('late')).toBeUndefined();
    });

    test('may run its statements side by side', async () => {
      await db.transaction(async (tx) => {
        await Promise.all(['a', 'b', 'c'].map((id) => tx.query('insert into items (id) values ($1)', [`side-${id}`])));
      });
      const { rows } = await db.query("select count(*) as n from items where id like 'side-%'");
      expect(rows).toEqual([{ n: 3 }]);
    });

    test('does not stop the next one when it fails', async () => {
      const failing = db.transaction(async () => {
        throw new Error('first');
      });
      const following = db.transaction(async (tx) => {
        await tx.query('insert into items (id, amount) values ($1, $2)', ['next', 1]);
      });
      await expect(failing).rejects.toThrow('first');
      await following;
      expect(await amountOf('next')).toBe(1);
    });
  });

  describe('migrations', () => {
    const first = 'create table parts (id text primary key);\n';
    const second = [
      '-- Adds a column; then a row.',
      'alter table parts add column size bigint;',
      "insert into parts (id, size) values ('a;b', 1);\n",
    ].join('\n');

    function directory(files: Record<string, string>): string {
      const path = mkdtempSync(join(process.env.SIGNET_TEST_DIRECTORY ?? tmpdir(), 'migrations-'));
      for (const [file, sql] of Object.entries(files)) writeFileSync(join(path, file), sql);
      return path;
    }

    async function onFreshDatabase<T>(work: (db: Database, url: string) => Promise<T>): Promise<T> {
      const url = await freshUrl();
      const fresh = await openDatabase(url);
      try {
        return await work(fresh, url);
      } finally {
        await fresh.close();
      }
    }

    test('bring an empty database to the newest version, and then have nothing to do', () =>
      onFreshDatabase(async (fresh) => {
        const { applied, version } = await migrate(fresh);
        expect(applied[0]).toBe(1);
        expect(version).toBe(applied.at(-1));
        expect(await migrate(fresh)).toEqual({ applied: [], version });
      }));

    test('apply only what is pending, statement by statement', () =>
      onFreshDatabase(async (fresh) => {
        const one = directory({ '0001_parts.sql': first });
        expect(await migrate(fresh, { directory: one })).toEqual({ applied: [1], version: 1 });
        const both = directory({ '0001_parts.sql': first, '0002_size.sql': second });
        expect(await migrate(fresh, { directory: both })).toEqual({ applied: [2], version: 2 });
        expect((await fresh.query('select id, size from parts')).rows).toEqual([{ id: 'a;b', size: 1 }]);
      }));

    test('are applied once, when replicas start at the same moment', () =>
      onFreshDatabase(async (fresh, freshUrl) => {
        const replicas = [fresh, await openDatabase(freshUrl), await openDatabase(freshUrl)];
        const results = await Promise.all(replicas.map((replica) => migrate(replica)));
        await Promise.all(replicas.slice(1).map((replica) => replica.close()));
        expect(results.filter(({ applied }) => applied.length > 0)).toHaveLength(1);
        expect(new Set(results.map(({ version }) => version)).size).toBe(1);
      }));

    test('leave nothing behind when one of them fails', () =>
      onFreshDatabase(async (fresh) => {
        const broken = directory({ '0001_parts.sql': first, '0002_broken.sql': 'create table parts (id text);\n' });
        await expect(migrate(fresh, { directory: broken })).rejects.toThrow();
        await expect(fresh.query('select count(*) from parts')).rejects.toThrow();
        await migrate(fresh, { directory: directory({ '0001_parts.sql': first }) });
      }));

    test('are frozen: a changed file is refused, and a checkout with other line ends is no change', () =>
      onFreshDatabase(async (fresh) => {
        await migrate(fresh, { directory: directory({ '0001_parts.sql': first }) });
        await migrate(fresh, { directory: directory({ '0001_parts.sql': first.replaceAll('\n', '\r\n') }) });
        const edited = directory({ '0001_parts.sql': first.replace('parts', 'pieces') });
        await expect(migrate(fresh, { directory: edited })).rejects.toMatchObject({ code: 'migration_changed' });
      }));

    test('refuse a database that a newer release has changed', () =>
      onFreshDatabase(async (fresh) => {
        await migrate(fresh, { directory: directory({ '0001_parts.sql': first, '0002_size.sql': second }) });
        const older = migrate(fresh, { directory: directory({ '0001_parts.sql': first }) });
        await expect(older).rejects.toMatchObject({ code: 'database_too_new' });
      }));

    test('let one signing key be active, whoever asks', () =>
      onFreshDatabase(async (fresh) => {
        await migrate(fresh);
        const prepare = (kid: string) =>
          fresh.query(
            `insert into signing_keys (kid, alg, public_jwk, prepared_at, longest_life)
             values ($1, 'RS256', '{}', 1, 0)`,
            [kid],
          );
        const activate = (kid: string) =>
          fresh.query('update signing_keys set activated_at = 2 where kid = $1 and activated_at is null', [kid]);
        await prepare('first');
        await activate('first');
        await prepare('second');
        await expect(activate('second')).rejects.toMatchObject({ code: 'unique_violation' });
        await fresh.query('update signing_keys set retired_at = 3 where kid = $1', ['first']);
        expect((await activate('second')).rowCount).toBe(1);
      }));
  });

  test(`${name} answers every statement that was asked before it was closed`, async () => {
    const closing = await openDatabase(await freshUrl());
    await closing.query('create table notes (id bigint primary key)');
    const writes = Array.from({ length: 20 }, (_, id) => closing.query('insert into notes (id) values ($1)', [id]));
    const [results] = await Promise.all([Promise.all(writes), closing.close()]);
    expect(results.every(({ rowCount }) => rowCount === 1)).toBe(true);
  });
});
