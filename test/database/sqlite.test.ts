// What is true of the embedded engine only: one file, shared with other processes and never waited for by blocking.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';

import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import type { SqliteOptions } from '../../src/database/sqlite.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { sqlite } from '../support/engines.ts';

async function freshFile(): Promise<string> {
  return (await sqlite.freshUrl()).slice('sqlite:'.length);
}

async function open(file: string, options?: SqliteOptions): Promise<Database> {
  const db = await openSqlite(file, options);
  onTestFinished(() => db.close());
  return db;
}

/** Another holder of the file, as a second process would be. */
function otherProcess(file: string): DatabaseSync {
  const other = new DatabaseSync(file);
  onTestFinished(() => other.close());
  return other;
}

describe('a new database file', () => {
  test('and its directory are for the owner alone', async () => {
    const file = join(dirname(await freshFile()), 'not/yet/there', 'signet.db');
    const db = await open(file);
    await db.query('create table notes (id bigint primary key)');
    const mode = (path: string) => statSync(path).mode & 0o777;
    expect([dirname(file), dirname(dirname(file))].map(mode)).toEqual([0o700, 0o700]);
    expect([file, `${file}-wal`, `${file}-shm`].map(mode)).toEqual([0o600, 0o600, 0o600]);
  });

  test('that cannot be opened is named in the error', async () => {
    const directory = mkdtempSync(join(dirname(await freshFile()), 'a-directory-'));
    await expect(openSqlite(directory)).rejects.toMatchObject({
      code: 'database_unavailable',
      message: expect.stringContaining(directory),
    });
  });

  test('that is no database is refused', async () => {
    const file = await freshFile();
    writeFileSync(file, 'a text file that was here first, long enough to be taken for a header of SQLite'.repeat(20));
    await expect(openSqlite(file)).rejects.toMatchObject({ code: 'database_unavailable' });
  });
});

describe('many writes at the same moment', () => {
  test('share one commit, and are answered only after it', async () => {
    const file = await freshFile();
    const db = await open(file);
    await db.query('create table notes (id bigint primary key)');
    const other = otherProcess(file);
    const commitsBefore = commits(file);
    const inserts = Array.from({ length: 100 }, (_, id) => db.query('insert into notes (id) values ($1)', [id]));
    await inserts[0];
    expect(other.prepare('select count(*) as n from notes').get()).toEqual({ n: 100 });
    await Promise.all(inserts);
    expect(commits(file) - commitsBefore).toBe(1);
  });

  test.each<[string, (db: Database) => Promise<unknown>]>([
    ['a single one', (db) => db.query('insert into notes (id) values (1)')],
    ['a transaction', (db) => db.transaction((tx) => tx.query('insert into notes (id) values (1)'))],
  ])('are answered once the disk has them, and others are served meanwhile: %s', async (_name, write) => {
    let sync: SqliteOptions['sync'] = (log) => log.datasync();
    const db = await open(await freshFile(), { sync: (log) => sync!(log) });
    await db.query('create table notes (id bigint primary key)');

    const disk = Promise.withResolvers<void>();
    const asked = vi.fn(() => disk.promise);
    sync = asked;
    let answered = false;
    const written = write(db).then(() => {
      answered = true;
    });
    await vi.waitFor(() => expect(asked).toHaveBeenCalledOnce());
    expect((await db.query('select id from notes')).rows).toEqual([{ id: 1 }]);
    expect(answered).toBe(false);
    disk.resolve();
    await written;

    await db.query('delete from notes');
    sync = async () => {
      throw new Error('EIO');
    };
    await expect(write(db)).rejects.toMatchObject({ code: 'database_unavailable' });
  });

  test('wait for a transaction of the same process without blocking it', async () => {
    const db = await open(await freshFile());
    await db.query('create table notes (id bigint primary key)');
    const order: string[] = [];
    const begun = db.transaction(async (tx) => {
      await tx.query('insert into notes (id) values (1)');
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push('transaction');
    });
    await db.query('insert into notes (id) values (2)');
    order.push('statement');
    await begun;
    expect(order).toEqual(['transaction', 'statement']);
  });
});

describe('another process that holds the file', () => {
  test('is waited for while this one goes on serving', async () => {
    const file = await freshFile();
    const db = await open(file);
    await db.query('create table notes (id bigint primary key)');
    const other = otherProcess(file);
    other.exec('begin immediate; insert into notes (id) values (1)');

    const write = db.query('insert into notes (id) values (2)');
    const transaction = db.transaction((tx) => tx.query('insert into notes (id) values (3)'));
    // Timers come to their turn, and reads are answered, for as long as the other one holds the file.
    for (let turns = 0; turns < 6; turns += 1) await new Promise((resolve) => setTimeout(resolve, 2));
    expect((await db.query('select count(*) as n from notes')).rows).toEqual([{ n: 0 }]);

    other.exec('commit');
    await Promise.all([write, transaction]);
    expect((await db.query('select id from notes order by id')).rows).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
  });

  test('for too long makes the write fail as database_busy, and the next one succeeds', async () => {
    const file = await freshFile();
    const db = await open(file, { busyDeadlineMs: 20 });
    await db.query('create table notes (id bigint primary key)');
    const other = otherProcess(file);
    other.exec('begin immediate');
    const refused = [db.query('insert into notes (id) values (1)'), db.query('insert into notes (id) values (2)')];
    const outcomes = await Promise.allSettled(refused);
    expect(outcomes).toMatchObject(refused.map(() => ({ reason: { code: 'database_busy', status: 503 } })));
    other.exec('commit');
    expect((await db.query('insert into notes (id) values (3)')).rowCount).toBe(1);
  });

  test('may write as much as this one, and no write is lost', async () => {
    const file = await freshFile();
    const db = await open(file);
    await db.query('create table notes (id bigint primary key)');
    const database = new URL('../../src/database/sqlite.ts', import.meta.url).href;
    const program = `
      import { openSqlite } from ${JSON.stringify(database)};
      const db = await openSqlite(process.argv[1]);
      for (let id = 1_000_000; id < 1_000_200; id += 1) {
        if (id % 2) await db.query('insert into notes (id) values ($1)', [id]);
        else await db.transaction((tx) => tx.query('insert into notes (id) values ($1)', [id]));
      }
      await db.close();`;
    const child = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, file]);
    let done = false;
    void child.finally(() => (done = true)).catch(() => {});
    let id = 0;
    for (; id < 100 || !done; id += 1) await db.query('insert into notes (id) values ($1)', [id]);
    await child;
    expect((await db.query('select count(*) as n from notes')).rows).toEqual([{ n: id + 200 }]);
  });

  test('is heard by a listener when it writes', async () => {
    const file = await freshFile();
    const [db, writer] = [await open(file), await open(file)];
    await writer.query('create table notes (id bigint primary key)');
    const heard = new Promise<void>((resolve) => void db.listen('anything', resolve));
    await writer.query('insert into notes (id) values (1)');
    await heard;
  });
});

describe('the file beside a long reader', () => {
  test('is copied by VACUUM INTO while it is written to, and the copy is whole', async () => {
    const file = await freshFile();
    const db = await open(file);
    await db.query('create table notes (id bigint primary key)');
    let written = 0;
    let isCopied = false;
    const writing = (async () => {
      while (!isCopied) await db.query('insert into notes (id) values ($1)', [(written += 1)]);
    })();
    const program = `import { DatabaseSync } from 'node:sqlite';
      new DatabaseSync(process.argv[1]).exec("vacuum into '" + process.argv[2] + "'");`;
    await vi.waitFor(() => expect(written).toBeGreaterThan(20));
    await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, file, `${file}.copy`]);
    isCopied = true;
    await writing;
    const copy = otherProcess(`${file}.copy`);
    expect(copy.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
    const { n } = copy.prepare('select count(*) as n from notes').get() as { n: number };
    expect(n).toBeGreaterThan(0);
  });

  test('has a log that grows, and that is given back afterwards', async () => {
    const file = await freshFile();
    const db = await open(file);
    await db.query('create table notes (id bigint primary key, text text)');
    const reader = otherProcess(file);
    reader.exec('begin; select * from notes');
    for (let id = 1; id <= 24; id += 1)
      await db.query('insert into notes (id, text) values ($1, $2)', [id, 'x'.repeat(2 ** 20)]);
    const size = () => statSync(`${file}-wal`).size;
    expect(size()).toBeGreaterThan(24 * 2 ** 20);
    reader.exec('commit');
    for (let id = 25; id <= 28; id += 1) await db.query('insert into notes (id) values ($1)', [id]);
    expect(size()).toBeLessThanOrEqual(16 * 2 ** 20);
  });
});

describe('a mistake in our own code', () => {
  test('writing past the transaction that waits for it fails at once instead of for ever', async () => {
    const db = await open(await freshFile());
    await db.query('create table notes (id bigint primary key)');
    const nested = db.transaction(async () => db.query('insert into notes (id) values (1)'));
    await expect(nested).rejects.toThrow('tx.query');
    await expect(db.transaction(() => db.transaction(async () => {}))).rejects.toThrow('tx.query');
  });

  test('two statements in one text are refused, where SQLite would drop the second', async () => {
    const db = await open(await freshFile());
    await expect(db.query('create table a (id text); create table b (id text)')).rejects.toThrow('one statement');
  });
});

test('the schema is the one in schema.golden.sql', async () => {
  const db = await open(await freshFile());
  await migrate(db);
  const { rows } = await db.query<{ sql: string }>(
    `select sql from sqlite_schema where sql is not null order by tbl_name, type desc, name`,
  );
  const schema = rows.map(({ sql }) => `${sql};\n`).join('\n');
  await expect(schema).toMatchFileSnapshot(fileURLToPath(new URL('schema.golden.sql', import.meta.url)));
});

test('a path may be relative to the working directory', async () => {
  const file = await freshFile();
  const db = await openDatabase(`sqlite:${relative(process.cwd(), file)}`);
  onTestFinished(() => db.close());
  expect(statSync(file).isFile()).toBe(true);
});

/** Commits since the last checkpoint: frames of the log that carry a size (sqlite.org/fileformat.html, §4.1). */
function commits(file: string): number {
  const log = readFileSync(`${file}-wal`);
  const pageSize = log.readUInt32BE(8);
  let count = 0;
  for (let at = 32; at + 24 + pageSize <= log.length; at += 24 + pageSize) {
    if (log.readUInt32BE(at + 4) > 0) count += 1;
  }
  return count;
}
