// The engine for production and for several replicas: a pool of `pg` connections. What differs from SQLite (types,
// error codes, lost connections, deadlocks) is made equal here, so that no caller asks which engine it has. A server
// that restarts or fails over is waited for, for some seconds.

import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

import { isAppError } from '../errors.ts';
import { announce, writeCheck } from './announcements.ts';
import type { Database, Queryable } from './database.ts';
import { DatabaseFailure, ofPostgres } from './failures.ts';
import {
  type Connection,
  type Connections,
  createConnections,
  poolSizeOf,
  slowStatementMs,
} from './postgres-connections.ts';
import { createListening } from './postgres-listen.ts';
import { runTransaction } from './run-transaction.ts';
import { onlyReads } from './statements.ts';

const retriesAtMost = 3;
/** How long work waits for a server that is away, and how much of it at a time; beyond that it fails at once. */
const patienceMs = 5_000;
const waitingAtMost = 500;
const pauseMs = 100;
const longestLifeSeconds = 600;
const writeCheckMs = 3_000;
const finishWithinMs = 5_000;

/**
 * Opens a pool on `url`.
 * @throws {AppError} `database_url`; `database_unavailable` when no server accepts it within 5 seconds.
 */
export async function openPostgres(url: string): Promise<Database> {
  const connections = createConnections(url);
  const pool = createPool(connections, poolSizeOf(url));
  const listening = createListening(connections);
  const unanswered = new Set<Promise<unknown>>();
  let waiting = 0;
  let closing = false;
  let hurried: NodeJS.Timeout | undefined;
  /** What came of the first work that failed after nobody was to wait any more: the same would come of all other. */
  let lastWord: DatabaseFailure | undefined;
  let closed: Promise<void> | undefined;

  /**
   * Lends a connection to `work`, and another one where the first turns out to be of no use before anything was done.
   * @param repeatable whether `work` may be done again although nobody knows if it was done.
   */
  async function lend<T>(
    work: (on: Connection) => Promise<T>,
    patience: number,
    repeatable: () => boolean,
  ): Promise<T> {
    const deadline = performance.now() + patience;
    let isWaiting = false;
    try {
      for (let tries = 1; ; tries += 1) {
        if (lastWord) throw lastWord;
        try {
          return await lendOnce(work);
        } catch (error) {
          const { meaning } = error instanceof DatabaseFailure ? error : { meaning: undefined };
          if (hurried && meaning?.passing) lastWord ??= error as DatabaseFailure;
          const again = meaning?.undone || (meaning?.passing && (notStarted.has(error as object) || repeatable()));
          // Each of the servers is tried, however little patience there is.
          const isPatient = tries < connections.hosts || performance.now() + pauseMs < deadline;
          if (!again || !isPatient || closing || hurried || (!isWaiting && waiting >= waitingAtMost)) throw error;
        }
        if (!isWaiting) waiting += 1;
        isWaiting = true;
        if (tries < connections.hosts) continue;
        const atMost = delay(deadline - performance.now(), undefined, { ref: false });
        await Promise.race([serverIsBack(), atMost]);
      }
    } finally {
      if (isWaiting) waiting -= 1;
    }
  }

  // One asks for all who wait: they would stand in each other's way.
  let probe: Promise<void> | undefined;

  function serverIsBack(): Promise<void> {
    return (probe ??= (async () => {
      while (!closing && !hurried && waiting > 0) {
        await delay(pauseMs);
        const client = await acquire().catch(() => undefined);
        client?.release();
        if (client) return;
      }
    })().finally(() => {
      probe = undefined;
    }));
  }

  async function lendOnce<T>(work: (on: Connection) => Promise<T>): Promise<T> {
    const client = await acquire().catch((error: unknown) => {
      const failure = ofPostgres(error, undefined, true) as object;
      notStarted.add(failure);
      throw failure;
    });
    let broken = false;
    try {
      return await work(client);
    } catch (error) {
      // What PostgreSQL merely refused leaves a healthy connection, which pool.query would throw away.
      broken = error instanceof DatabaseFailure && error.meaning.drop === true;
      if (broken) connections.distrust(client);
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async function acquire(): Promise<Connection & pg.PoolClient> {
    for (;;) {
      const client = (await pool.connect()) as Connection & pg.PoolClient;
      if (connections.isTrusted(client)) return client;
      client.release(true);
    }
  }

  function noted<T>(answer: Promise<T>): Promise<T> {
    unanswered.add(answer);
    return answer.finally(() => unanswered.delete(answer));
  }

  const query: Queryable['query'] = (sql, values) =>
    noted(
      retried(() =>
        lend(
          (client) => client.run(sql, values),
          patienceMs,
          () => onlyReads(sql),
        ),
      ),
    );

  function transaction<T>(work: (tx: Queryable) => Promise<T>, slow: boolean): Promise<T> {
    return retried(() => {
      let committing = false;
      return lend(
        (client) => {
          const run: Queryable['query'] = async (sql, values) => {
            committing ||= sql === 'commit';
            return client.run(sql, values, slow ? slowStatementMs : undefined);
          };
          return runTransaction(run, 'begin isolation level read committed', async (tx) => {
            if (slow) await tx.query("select set_config('statement_timeout', '0', true)");
            return work(tx);
          });
        },
        patienceMs,
        () => !committing,
      ); // without a commit, the end of the connection undoes everything
    });
  }

  function hurry(): void {
    hurried ??= setTimeout(connections.sever, finishWithinMs);
  }

  async function close(): Promise<void> {
    closing = true;
    clearTimeout(hurried);
    await listening.close();
    // A pool that is told to end forgets who is still waiting for a connection.
    await Promise.race([Promise.allSettled(unanswered), delay(finishWithinMs, undefined, { ref: false })]);
    await Promise.all([pool.end(), connections.close()]);
  }

  try {
    await lend(
      (client) => client.run('select 1'),
      0,
      () => true,
    );
  } catch (error) {
    await Promise.all([pool.end(), connections.close()]);
    throw error;
  }

  return {
    engine: 'postgres',
    query,
    transaction: (work, { slow = false } = {}) => noted(transaction(work, slow)),

    async now() {
      const sql = 'select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now';
      const { rows } = await query<{ now: number }>(sql);
      return rows[0]!.now;
    },

    async announce(channel) {
      await query(announce, [channel]).catch(() => undefined);
    },

    listen: listening.listen,

    async checkWrite() {
      await noted(
        lend(
          (client) => client.run(writeCheck, [], writeCheckMs),
          0,
          () => true,
        ),
      );
    },

    hurry,
    async position() {
      // Whoever hosts it may allow none of this.
      const {
        rows: [row],
      } = await query<{ server: string; wal_file: string; log: number }>(positionOfServer).catch((error: unknown) => {
        if (isAppError(error)) throw error;
        return { rows: [] };
      });
      return row && { server: row.server, timeline: Number.parseInt(row.wal_file.slice(0, 8), 16), log: row.log };
    },

    close: () => (closed ??= close()),
  };
}

const positionOfServer = `select system_identifier || '/' || (select oid from pg_database where datname = current_database())
    as server, pg_walfile_name(pg_current_wal_lsn()) as wal_file, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as log
  from pg_control_system()`;

/** Failures to get a connection at all: nothing of the work was begun. */
const notStarted = new WeakSet<object>();

function createPool({ Connection }: Connections, max: number): pg.Pool {
  const pool = new pg.Pool({
    max,
    Client: Connection,
    // Also how long one waits for a connection that another request holds.
    connectionTimeoutMillis: 5_000,
    // So that a name that has moved, or servers that were added, are found without a restart.
    maxLifetimeSeconds: longestLifeSeconds,
    onConnect: (client) => (client as Connection).prove(),
  } as pg.PoolConfig);
  // An idle connection died. The pool has already dropped it and the next query opens another: nothing to tell.
  pool.on('error', () => {});
  return pool;
}

/** A deadlock is nobody's fault and PostgreSQL has undone everything: the same work usually succeeds at once. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isAppError(error, 'database_busy') || !isConflict(error) || retries === retriesAtMost) throw error;
    }
    await delay(10 * (retries + 1) * Math.random());
  }
}

const isConflict = ({ cause }: Error) => ['40001', '40P01'].includes((cause as { code?: string }).code ?? '');
