// The embedded engine: one file, node:sqlite, write-ahead log. node:sqlite is synchronous, so waiting inside SQLite
// would stop the whole server. Every write of this process, single statement or transaction, therefore takes its turn
// in one queue here, and nothing is waited for by blocking the event loop: neither another process (one tries again
// later) nor the disk (the log is synced in the thread pool, and a write is answered after that).

import { AsyncLocalStorage } from 'node:async_hooks';
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { StatementSync } from 'node:sqlite';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';

import { isAppError } from '../errors.ts';
import { writeCheck } from './announcements.ts';
import type { Database, Queryable, Result, Value } from './database.ts';
import { fileReplaced, ofFile, ofSqlite } from './failures.ts';
import { createQueue } from './queue.ts';
import { runTransaction } from './run-transaction.ts';
import { onlyReads } from './statements.ts';

const busyRetryMs = 5;
const listenEveryMs = 500;
const statementsKept = 500;
const largestLogBytes = 16 * 1024 * 1024;

interface Connection {
  run<Row>(sql: string, values?: readonly Value[]): Result<Row>;
  /** False once SQLite itself rolled back, as it does when the disk is full. */
  inTransaction(): boolean;
  close(): void;
}

interface Write {
  sql: string;
  values: readonly Value[];
  resolve(result: Result<never>): void;
  reject(error: unknown): void;
}

export interface SqliteOptions {
  /** How long a write waits while another process holds the file, before it fails as `database_busy`. Default 5000. */
  busyDeadlineMs?: number;
  /** Brings what was written to a file to the disk. Default: fdatasync, in the thread pool. */
  sync?: (file: FileHandle) => Promise<void>;
}

/** Opens the database file at `path`; a missing file, and its directory, are created for the owner alone. */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<Database> {
  const { busyDeadlineMs = 5_000, sync = (log) => log.datasync() } = options;
  const file = resolve(path);
  const unlessBusy = retryWhileBusy(busyDeadlineMs);
  const main = await unlessBusy(() => connect(file));
  const opened = fileAt(file);
  let openedLog: string | undefined;
  // A transaction has this one to itself: what other requests run on `main` between its awaits is not part of it.
  const aside = await unlessBusy(() => connect(file));
  const inTurn = createQueue();
  const currentTransaction = new AsyncLocalStorage<{ open: boolean }>();
  const listeners = new Set<NodeJS.Timeout>();
  let group: Write[] = [];
  let log: FileHandle | undefined;

  // A commit that was answered survives a power cut. SQLite would see to that itself (synchronous = full) and stop the
  // event loop for the disk's milliseconds; it is told not to, and the same file is synced here.
  async function synced(): Promise<void> {
    try {
      // Made by the first write, and the same file for as long as a connection is open.
      log ??= await open(`${file}-wal`, 'r+');
      openedLog ??= fileAt(`${file}-wal`);
      await sync(log);
    } catch (cause) {
      throw ofFile(file, cause);
    }
  }

  // What is written to a file that has lost its name is gone with this process, acknowledged or not.
  function refuseIfReplaced(): void {
    if (fileAt(file) !== opened) throw fileReplaced(file);
    if (openedLog !== undefined && fileAt(`${file}-wal`) !== openedLog) throw fileReplaced(`${file}-wal`);
  }

  function query<Row>(sql: string, values: readonly Value[] = []): Promise<Result<Row>> {
    if (onlyReads(sql)) return unlessBusy(() => main.run<Row>(sql, values));
    refuseInsideTransaction();
    return new Promise((resolve, reject) => {
      group.push({ sql, values, resolve, reject });
      if (group.length === 1) void inTurn(commitGroup);
    });
  }

  // Group commit: what is written in one turn of the event loop, or while the queue was held, shares one sync.
  async function commitGroup(): Promise<void> {
    await nextTurn();
    const begun = unlessBusy(() => {
      refuseIfReplaced();
      return main.run('begin immediate');
    });
    await Promise.allSettled([begun]);
    const writes = group;
    group = [];
    try {
      await begun;
      const answers = writes.map(attempt);
      main.run('commit');
      await synced();
      for (const answer of answers) answer();
    } catch (error) {
      for (const write of writes) write.reject(error);
      if (main.inTransaction()) main.run('rollback');
    }
  }

  // A refused statement undoes only itself and leaves the transaction open, so its neighbours are unharmed. The
  // answer is given after the commit: until then nothing has happened.
  function attempt(write: Write): () => void {
    try {
      const result = main.run<never>(write.sql, write.values);
      return () => write.resolve(result);
    } catch (error) {
      if (!main.inTransaction()) throw error;
      return () => write.reject(error);
    }
  }

  function transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    refuseInsideTransaction();
    return inTurn(async () => {
      const state = { open: true };
      const run: Queryable['query'] = (sql, values) => unlessBusy(() => aside.run(sql, values));
      try {
        refuseIfReplaced();
        const inside = (tx: Queryable) => currentTransaction.run(state, () => work(tx));
        const result = await runTransaction(run, 'begin immediate', inside);
        await synced();
        return result;
      } finally {
        state.open = false;
      }
    });
  }

  // It would wait for its own end. Better a loud mistake than a silent hang.
  function refuseInsideTransaction(): void {
    if (currentTransaction.getStore()?.open) throw new Error('inside a transaction, write through its own tx.query');
  }

  return {
    engine: 'sqlite',
    // async: the guards above reject, as on the other engine, rather than throw.
    query: async (sql, values) => query(sql, values),
    transaction: async (work) => transaction(work),
    now: async () => Date.now(),
    announce: async () => {},
    position: async () => undefined,
    checkWrite: async () => void (await query(writeCheck)),
    hurry: () => {},

    async listen(_channel, listener) {
      const version = () => main.run<{ data_version: number }>('pragma data_version').rows[0]?.data_version;
      let seen = version();
      const timer = setInterval(() => {
        const current = version();
        if (current === seen) return;
        seen = current;
        listener();
      }, listenEveryMs).unref();
      listeners.add(timer);
      return async () => {
        listeners.delete(timer);
        clearInterval(timer);
      };
    },

    async close() {
      for (const timer of listeners) clearInterval(timer);
      await inTurn(async () => {
        await log?.close();
        aside.close();
        main.close();
      });
    },
  };
}

function connect(file: string): Connection {
  const database = openFile(file);
  const statements = new Map<string, Statement>();

  function prepared(sql: string): Statement {
    const known = statements.get(sql);
    if (known) return known;
    const statement = prepare(database, sql);
    const oldest = statements.size < statementsKept ? undefined : statements.keys().next().value;
    if (oldest !== undefined) statements.delete(oldest);
    statements.set(sql, statement);
    return statement;
  }

  const connection: Connection = {
    run<Row>(sql: string, values: readonly Value[] = []): Result<Row> {
      try {
        const { statement, parameters, returnsRows } = prepared(sql);
        if (values.length !== parameters) {
          throw new Error(`${values.length} values for a statement with ${parameters} parameters: ${sql}`);
        }
        const bound = values.map(toSqlite);
        if (!returnsRows) return { rows: [], rowCount: Number(statement.run(...bound).changes) };
        const rows = statement.all(...bound) as Row[];
        return { rows, rowCount: rows.length };
      } catch (error) {
        throw ofSqlite(error);
      }
    },
    inTransaction: () => database.isTransaction,
    close: () => database.close(),
  };

  try {
    connection.run('pragma journal_mode = wal');
    // The log is whole at any moment, and synced before it is copied into the file; after a commit, by us.
    connection.run('pragma synchronous = normal');
    connection.run('pragma foreign_keys = on');
    // A backup that reads for long, or a burst, lets the log grow; what is more than this is given back afterwards.
    connection.run(`pragma journal_size_limit = ${largestLogBytes}`);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

function openFile(file: string): DatabaseSync {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    // SQLite gives the -wal and -shm files the mode of the database, so creating this one decides for all three.
    closeSync(openSync(file, 'a', 0o600));
    return new DatabaseSync(file, { timeout: 0 });
  } catch (cause) {
    throw ofFile(file, cause);
  }
}

/** Which file has this name now. */
function fileAt(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

interface Statement {
  statement: StatementSync;
  parameters: number;
  returnsRows: boolean;
}

function prepare(database: DatabaseSync, sql: string): Statement {
  // SQLite numbers `?1` by itself, but takes `$1` for a name. No statement of ours has `$1` inside a string.
  const statement = database.prepare(sql.replace(/\$(\d+)/g, '?$1'));
  // SQLite compiles the first statement and says nothing about the rest.
  if (statement.sourceSQL.trim().length < sql.trim().length) throw new Error(`one statement at a time: ${sql}`);
  const parameters = Math.max(0, ...Array.from(sql.matchAll(/\$(\d+)/g), ([, number]) => Number(number)));
  return { statement, parameters, returnsRows: statement.columns().length > 0 };
}

// node:sqlite binds every number as a float, and 5.0 as text or divided by 2 is not what PostgreSQL makes of 5.
function toSqlite(value: Value): string | number | bigint | null {
  return Number.isSafeInteger(value) ? BigInt(value as number) : value;
}

/** Runs the work it is given, and again while another process holds the file; the event loop goes on meanwhile. */
function retryWhileBusy(deadlineMs: number): <T>(work: () => T) => Promise<T> {
  return async (work) => {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (!isAppError(error, 'database_busy') || performance.now() > deadline) throw error;
      }
      await delay(busyRetryMs * (0.5 + Math.random()));
    }
  };
}
