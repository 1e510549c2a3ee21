// Two PostgreSQL servers exchange their parts: the standby is promoted, and the old primary is its standby.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { engines, postgres } from '../support/engines.ts';
import { startForwarder, through } from '../support/forwarder.ts';
import { type PostgresPair, startPostgresPair, untilThere } from '../support/postgres-pair.ts';

describe.runIf(engines.includes(postgres))('a switchover', () => {
  let pair: PostgresPair;
  beforeAll(async () => {
    pair = await startPostgresPair();
  });
  afterAll(() => pair?.stop());

  async function freshUrl(): Promise<string> {
    const url = await pair.createDatabase();
    const db = await openDatabase(url);
    await migrate(db);
    await db.query('create table notes (id bigint primary key)');
    await db.close();
    const port = pair.ports.find((each) => each !== Number(new URL(url).port))!;
    await untilThere(through({ port }, url));
    return url;
  }

  /** Both servers, in the given order, as one URL. */
  const both = (url: string, ports: number[]) => {
    const { pathname } = new URL(url);
    return `postgres://signet@${ports.map((port) => `127.0.0.1:${port}`).join(',')}${pathname}?target_session_attrs=read-write`;
  };

  const sessions = async (url: string) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query(
      `select count(*)::int as n from pg_stat_activity where application_name = 'signet'`,
    );
    await client.end();
    return (rows[0] as { n: number }).n;
  };

  test('a standby alone is refused with what to do, and of several servers the one that writes is found', async () => {
    const url = await freshUrl();
    const primary = Number(new URL(url).port);
    const standby = pair.ports.find((port) => port !== primary)!;
    await expect(openDatabase(through({ port: standby }, url))).rejects.toMatchObject({
      code: 'database_unavailable',
      message: expect.stringContaining('standby'),
      hint: expect.stringContaining('primary'),
    });
    const db = await openDatabase(both(url, [standby, primary]));
    onTestFinished(() => db.close());
    expect((await db.query('insert into notes (id) values (1)')).rowCount).toBe(1);
    expect(await sessions(through({ port: standby }, url))).toBe(0); // nothing is left behind there
  });

  test('is survived, by a name that moves late and by a list of servers; nobody is left listening to a standby', async () => {
    const url = await freshUrl();
    const before = Number(new URL(url).port);
    const after = pair.ports.find((port) => port !== before)!;
    const name = await startForwarder(before);
    const [byName, byList] = [await openDatabase(through(name, url)), await openDatabase(both(url, [before, after]))];
    const heard: string[] = [];
    onTestFinished(async () => {
      await Promise.all([byName.close(), byList.close()]);
      await name.close();
    });
    await byName.listen('keys', () => heard.push('name'));
    await byList.listen('keys', () => heard.push('list'));
    await Promise.all(
      [byName, byList].flatMap((db) => Array.from({ length: 3 }, () => db.query('select pg_sleep(0.1)'))),
    );

    pair.stopPrimary();
    pair.promoteStandby();
    await pair.returnAsStandby();
    // The list is right at once; the name still leads to the old one, which accepts connections and takes no writes.
    await vi.waitFor(() => byList.query('insert into notes (id) values (10)'), { timeout: 15_000 });
    await byName.checkWrite().then(
      () => expect.fail('a standby took a write'),
      () => undefined,
    );
    await vi.waitFor(async () => expect(await sessions(through({ port: before }, url))).toBe(0), { timeout: 10_000 });

    name.leadTo(after);
    const began = performance.now();
    await vi.waitFor(() => byName.query('insert into notes (id) values (11)'), { timeout: 15_000 });
    await byName.checkWrite();
    expect(performance.now() - began).toBeLessThan(10_000);
    // Whoever listens has found the new primary, too, and hears what is announced there.
    await vi.waitFor(
      async () => {
        heard.length = 0;
        await byList.announce('keys');
        await vi.waitFor(() => expect([...new Set(heard)].sort()).toEqual(['list', 'name']), { timeout: 1_000 });
      },
      { timeout: 25_000 },
    );
  }, 60_000);

  test('without a restart, a primary that is made read-only is left by the next statement, which is done elsewhere', async () => {
    const url = await freshUrl();
    const db = await openDatabase(url);
    onTestFinished(() => db.close());
    await db.query('insert into notes (id) values (1)');
    const admin = new pg.Client({ connectionString: url });
    await admin.connect();
    onTestFinished(() => admin.end());
    const { pathname } = new URL(url);
    await admin.query(`alter database ${pathname.slice(1)} set default_transaction_read_only = on`);
    // The sessions of before go on writing; one that is told so refuses with 25006, and is not kept.
    await db.query(`select set_config('default_transaction_read_only', 'on', false)`);
    await expect(db.checkWrite()).rejects.toMatchObject({ code: 'database_unavailable' });
    const asked = db.query('insert into notes (id) values (2)');
    await admin.query(`alter database ${pathname.slice(1)} reset default_transaction_read_only`).catch(async () => {
      await admin.query('set default_transaction_read_only = off');
      await admin.query(`alter database ${pathname.slice(1)} reset default_transaction_read_only`);
    });
    expect((await asked).rowCount).toBe(1);
  });
});
