// The engine for production and for several replicas: a pool of `pg` connections. What differs from SQLite (types,
// error codes, lost connections, deadlocks) is made equal here, so that no caller asks which engine it has.

import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { ClientConfig, PoolClient, QueryConfig } from 'pg';

import { AppError, isAppError } from '../errors.ts';
import type { Database, Queryable, Result, Value } from './database.ts';
import { createListening } from './postgres-listen.ts';
import { runTransaction } from './run-transaction.ts';

const connectTimeoutMs = 5_000;
const retriesAtMost = 3;

/**
 * Opens a pool on `url`.
 * @throws {AppError} `database_unavailable` when no server accepts it within 5 seconds.
 */
export async function openPostgres(url: string): Promise<Database> {
  const config: ClientConfig = {
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'signet',
    keepAlive: true,
    types: { getTypeParser },
  };
  const pool = new pg.Pool(config);
  // An idle connection died. The pool has already dropped it and the next query opens another: nothing to tell.
  pool.on('error', () => {});
  const listening = createListening(config);
  const unanswered = new Set<Promise<unknown>>();

  const query: Queryable['query'] = (sql, values) => retried(() => connected((client) => run(client, sql, values)));

  function connected<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const answer = lend(work);
    unanswered.add(answer);
    return answer.finally(() => unanswered.delete(answer));
  }

  async function lend<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await pool.connect().catch((cause) => {
      throw toAppError(cause);
    });
    // Without a listener, losing a connection that is in use would end the process. The query in flight fails anyway.
    client.on('error', ignore);
    let broken = false;
    try {
      return await work(client);
    } catch (error) {
      // What PostgreSQL merely refused leaves a healthy connection, which pool.query would throw away.
      broken = isAppError(error, 'database_unavailable');
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }

  try {
    await query('select 1');
  } catch (error) {
    await pool.end();
    throw error;
  }

  return {
    engine: 'postgres',
    query,

    transaction: (work) =>
      retried(() =>
        connected((client) =>
          runTransaction((sql, values) => run(client, sql, values), 'begin isolation level read committed', work),
        ),
      ),

    async now() {
      const sql = 'select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now';
      const { rows } = await query<{ now: number }>(sql);
      return rows[0]!.now;
    },

    async announce(channel) {
      await query("select pg_notify($1, '')", [channel]);
    },

    listen: listening.listen,

    async close() {
      await listening.close();
      // A pool that is told to end forgets who is still waiting for a connection.
      await Promise.allSettled(unanswered);
      await pool.end();
    },
  };
}

async function run<Row>(client: PoolClient, sql: string, values: readonly Value[] = []): Promise<Result<Row>> {
  const statement: QueryConfig = { text: sql, values: [...values] };
  // Statements with values are the repeated ones: each connection parses and plans them once.
  if (values.length > 0) statement.name = statementName(sql);
  try {
    const { rows, rowCount } = await client.query(statement);
    return { rows, rowCount: rowCount ?? 0 };
  } catch (error) {
    throw toAppError(error);
  }
}

const names = new Map<string, string>();

function statementName(sql: string): string {
  const known = names.get(sql);
  if (known) return known;
  const name = createHash('sha256').update(sql).digest('base64url').slice(0, 22);
  names.set(sql, name);
  return name;
}

/** A deadlock is nobody's fault and PostgreSQL has undone everything: the same work usually succeeds at once. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isAppError(error, 'database_busy') || retries === retriesAtMost) throw error;
    }
    await delay(10 * (retries + 1) * Math.random());
  }
}

// Numbers and truth as SQLite gives them. bigint holds epoch milliseconds and counts, exact up to 2^53; numeric is what
// sum() makes of it. For this pool only: the process-wide parsers of `pg` belong to everyone.
const numberTypes: number[] = [pg.types.builtins.INT8, pg.types.builtins.NUMERIC];

function getTypeParser(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (numberTypes.includes(oid)) return Number;
  if (oid === pg.types.builtins.BOOL) return (value) => (value === 't' ? 1 : 0);
  return pg.types.getTypeParser(oid, format as 'text');
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html
function toAppError(cause: unknown): unknown {
  const sqlState = cause instanceof pg.DatabaseError ? cause.code ?? '' : undefined;
  if (sqlState === '23505') {
    return new AppError('unique_violation', 409, 'a row with this value already exists', { cause });
  }
  if (sqlState === '40001' || sqlState === '40P01') {
    const message = 'other requests kept changing the same rows';
    return new AppError('database_busy', 503, message, { cause, hint: 'Try again.' });
  }
  if (sqlState === undefined || serverRefuses(sqlState)) {
    // An attempt at several addresses of one name fails with an AggregateError, which has a code and no message.
    const { message, code } = cause as { message?: string; code?: string };
    return new AppError('database_unavailable', 503, `PostgreSQL is not available: ${message || code}`, {
      cause,
      hint: 'Check that the server runs and that the host, port, name and password of the database URL are right.',
    });
  }
  return cause;
}

// Shutting down or starting (57P…), out of connections or disk (53…), wrong password (28…), no such database (3D000).
// 08P01 is the one of class 08 that a living connection gives: the statement had the wrong number of values.
function serverRefuses(sqlState: string): boolean {
  return /^(57P|53|28|3D000|08(?!P01))/.test(sqlState);
}

function ignore(): void {}
