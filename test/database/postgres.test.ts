// What is true of PostgreSQL only: it is somewhere else, and may be gone.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';

import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { engines, postgres } from '../support/engines.ts';

describe.runIf(engines.includes(postgres))('PostgreSQL', () => {
  let url: string;
  let db: Database;

  beforeAll(async () => {
    url = await postgres.freshUrl();
    db = await openDatabase(url);
    await migrate(db);
    await db.query('create table notes (id bigint primary key, amount bigint not null)');
  });
  afterAll(() => db.close());

  async function open(): Promise<Database> {
    const another = await openDatabase(url);
    onTestFinished(() => another.close());
    return another;
  }

  /** Ends the sessions that satisfy `condition`, as a restart or a fail-over does. */
  async function endSessions(condition: string): Promise<void> {
    const admin = new pg.Client({ connectionString: url });
    await admin.connect();
    await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and ${condition}`,
    );
    await admin.end();
  }

  async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  test('an announcement reaches every process that listens to that channel, and no other', async () => {
    const [one, two] = [await open(), await open()];
    const heard: string[] = [];
    await one.listen('keys', () => heard.push('one'));
    await two.listen('keys', () => heard.push('two'));
    await two.listen('Other "channel"', () => heard.push('other'));
    await db.announce('keys');
    await until(() => heard.length === 2);
    expect(heard.sort()).toEqual(['one', 'two']);
    await db.announce('Other "channel"');
    await until(() => heard.includes('other'));
  });

  test('a listener that was stopped hears nothing', async () => {
    const one = await open();
    const heard: string[] = [];
    const stop = await one.listen('keys', () => heard.push('stopped'));
    await stop();
    await one.listen('keys', () => heard.push('listening'));
    await db.announce('keys');
    await until(() => heard.includes('listening'));
    expect(heard).toEqual(['listening']);
  });

  test('a lost listening connection is opened again, and everyone is told to look', async () => {
    const one = await open();
    let heard = 0;
    await one.listen('keys', () => (heard += 1));
    await endSessions(`query like 'listen%'`);
    await until(() => heard === 1);
    await db.announce('keys');
    await until(() => heard === 2);
  });

  test('idle connections that die do no harm', async () => {
    const one = await open();
    await one.query('select 1');
    await endSessions(`query = 'select 1'`);
    await until(async () =>
      one.query('select 2').then(
        () => true,
        () => false,
      ),
    );
  });

  async function isRunning(sql: string): Promise<void> {
    await until(async () => {
      const { rows } = await db.query('select count(*) as n from pg_stat_activity where query = $1', [sql]);
      return rows[0]!.n === 1;
    });
  }

  test('a connection lost within a statement that writes is database_unavailable, as nobody knows whether it was done', async () => {
    const one = await open();
    const sql = 'insert into notes (id, amount) select 50, 0 from pg_sleep(20)';
    const slow = one.query(sql);
    const lost = expect(slow).rejects.toMatchObject({ code: 'database_unavailable', status: 503 });
    await isRunning(sql);
    await endSessions(`query = '${sql}'`);
    await lost;
    expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('a connection lost within a statement that only reads is asked again on another', async () => {
    const one = await open();
    const sql = 'select 1 as one, count(*) as slept from pg_sleep(1)';
    const slow = one.query(sql);
    await isRunning(sql);
    await endSessions(`query = '${sql}'`);
    expect((await slow).rows).toEqual([{ one: 1, slept: 1 }]);
  });

  test('a connection lost between the statements of a transaction undoes it, and it is done again', async () => {
    const one = await open();
    let runs = 0;
    await one.transaction(async (tx) => {
      runs += 1;
      await tx.query('insert into notes (id, amount) values ($1, $2)', [100, 0]);
      if (runs === 1) await endSessions(`state = 'idle in transaction'`);
      await tx.query('insert into notes (id, amount) values ($1, $2)', [101, 0]);
    });
    expect(runs).toBe(2);
    expect((await one.query('select id from notes where id >= 100 order by id')).rows).toEqual([
      { id: 100 },
      { id: 101 },
    ]);
  });

  test('a statement that takes too long is cancelled at the server, and the connection is kept', async () => {
    const one = await openDatabase(`${url}?statement_timeout=200`);
    onTestFinished(() => one.close());
    await expect(one.query('select pg_sleep(20)')).rejects.toMatchObject({
      code: 'database_busy',
      message: expect.stringContaining('statement_timeout'),
    });
    expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('statements that were prepared in another session than ours are sent anew, and from then on without a name', async () => {
    const one = await openDatabase(`${url}?pool_max_conns=1`);
    onTestFinished(() => one.close());
    const ask = async () => (await one.query('select cast($1 as bigint) as n', [1])).rows;
    expect(await ask()).toEqual([{ n: 1 }]);
    await one.query('deallocate all'); // what a pooler does that lends the session to somebody else
    expect(await ask()).toEqual([{ n: 1 }]);
    await one.query('deallocate all');
    expect(await one.transaction(async (tx) => (await tx.query('select cast($1 as bigint) as n', [2])).rows)).toEqual([
      { n: 2 },
    ]);
  });

  test('a lock that another session holds is database_busy, once lock_timeout is over', async () => {
    const one = await openDatabase(`${url}?lock_timeout=100`);
    onTestFinished(() => one.close());
    await db.query('insert into notes (id, amount) values (70, 0)');
    await db.transaction(async (tx) => {
      await tx.query('update notes set amount = 1 where id = 70');
      await expect(one.query('update notes set amount = 2 where id = 70')).rejects.toMatchObject({
        code: 'database_busy',
        message: expect.stringContaining('holds a lock'),
      });
    });
  });

  test('transactions that deadlock are run again, until each has done its work', async () => {
    await db.query('insert into notes (id, amount) values (1, 0), (2, 0)');
    let runs = 0;
    let arrived = 0;
    let bothHoldOne: () => void;
    const crossing = new Promise<void>((resolve) => (bothHoldOne = resolve));
    const addOne = (first: number, second: number) =>
      db.transaction(async (tx) => {
        runs += 1;
        await tx.query('update notes set amount = amount + 1 where id = $1', [first]);
        arrived += 1;
        if (arrived === 2) bothHoldOne();
        await crossing;
        await tx.query('update notes set amount = amount + 1 where id = $1', [second]);
      });
    await Promise.all([addOne(1, 2), addOne(2, 1)]);
    expect((await db.query('select amount from notes where id <= 2')).rows).toEqual([{ amount: 2 }, { amount: 2 }]);
    expect(runs).toBeGreaterThan(2); // on a slow machine the two may meet again
  });

  test('a refused statement keeps its connection', async () => {
    const one = await open();
    const session = async () => (await one.query('select pg_backend_pid() as pid')).rows;
    const before = await session();
    await one.query('insert into notes (id, amount) values ($1, $2)', [1, null]).catch(() => {});
    expect(await session()).toEqual(before);
  });

  test('the parsers of other users of `pg` in this process stay as they are', async () => {
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    onTestFinished(() => other.end());
    expect((await other.query('select cast(1 as bigint) as n')).rows).toEqual([{ n: '1' }]);
  });

  test('a database that does not exist, or a server that is not there, is said at once', async () => {
    const unavailable = (why: string) => ({ code: 'database_unavailable', message: expect.stringContaining(why) });
    const wrongName = openDatabase(new URL('/not_there', url).href);
    await expect(wrongName).rejects.toMatchObject(unavailable('not_there'));
    const nobodyThere = openDatabase('postgres://signet:hunter2@127.0.0.1:1/signet');
    await expect(nobodyThere).rejects.toMatchObject(unavailable('ECONNREFUSED'));
  });
});
