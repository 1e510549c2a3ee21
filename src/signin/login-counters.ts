// The counters of the login throttle. Owns the table sign_in_attempts. Which counters an attempt passes, and what they
// mean, is login-throttle.ts; here is how one is kept, so that any number of requests and replicas find the same one.
//
//   backoff       failures of one sender: some are free, then each doubles the wait
//   token bucket  what many share: `size` at once, then one `everySeconds`. One number is kept, the moment at which the
//                 bucket is full again (GCRA), so that a row without meaning goes by itself
//   reservation   a moment, told to one sender, from which on it may come once
//   mark          that something was so, for a time
//
// What decides is one statement each time: a thousand parallel guesses find one counter, not a thousand free ones.

import { hash } from 'node:crypto';
import type { Database } from '../database/database.ts';
import { deleteOldest } from '../database/rows.ts';

export interface Backoff {
  kind: string;
  /** Failures without any wait. */
  free: number;
  /** Seconds that the wait never exceeds. */
  longest: number;
}

export interface TokenBucket {
  kind: string;
  size: number;
  everySeconds: number;
}

export type Counter = Backoff | TokenBucket;

/** One counter of one sender, account or network. */
export interface Gate {
  counter: Counter;
  key: string;
}

interface LoginCounters {
  /** Counts one: undefined. Shut, nothing is counted: the moment at which it opens, epoch milliseconds. */
  take(gate: Gate): Promise<number | undefined>;
  giveBack(gates: readonly Gate[]): Promise<void>;
  clear(key: string): Promise<void>;
  /** What is kept under these keys; nothing is counted. */
  read(keys: readonly string[]): Promise<Map<string, Kept>>;
  /** Makes a reservation, unless there is one. */
  reserve(key: string, from: number, until: number): Promise<boolean>;
  /** Uses it: true once. */
  redeem(key: string): Promise<boolean>;
  mark(key: string, lifeMs: number): Promise<void>;
  sweepExpired(now: number, limit: number): Promise<number>;
}

export interface Kept {
  /** Backoff: when the wait is over. Bucket: when it is full again. Reservation: from when. Epoch milliseconds. */
  at: number;
  expiresAt: number;
}

const forgetFailuresMs = 86_400_000;

export function createLoginCounters(db: Database, now: () => number): LoginCounters {
  async function kept(key: string): Promise<number> {
    const {
      rows: [row],
    } = await db.query<{ blocked_until: number }>('select blocked_until from sign_in_attempts where key = $1', [key]);
    return row?.blocked_until ?? now();
  }

  async function fail({ free, longest }: Backoff, key: string): Promise<number | undefined> {
    // The wait doubles with each failure beyond the free ones: 1 s, 2 s, 4 s … `longest`.
    const { rowCount } = await db.query(
      `insert into sign_in_attempts (key, failures, blocked_until, expires_at)
       values ($1, 1, 0, cast($2 as bigint) + cast($3 as bigint))
       on conflict (key) do update set
         failures = sign_in_attempts.failures + 1,
         expires_at = excluded.expires_at,
         blocked_until = case
           when sign_in_attempts.failures + 1 <= $4 then 0
           when sign_in_attempts.failures + 1 - $4 > 12 then cast($2 as bigint) + cast($5 as bigint)
           when (1 << cast(sign_in_attempts.failures - $4 as integer)) * 1000 > $5
             then cast($2 as bigint) + cast($5 as bigint)
           else cast($2 as bigint) + (1 << cast(sign_in_attempts.failures - $4 as integer)) * 1000
         end
       where sign_in_attempts.blocked_until <= $2`,
      [key, now(), forgetFailuresMs, free, longest * 1000],
    );
    return rowCount === 1 ? undefined : kept(key);
  }

  async function drain(bucket: TokenBucket, key: string): Promise<number | undefined> {
    const [at, everyMs] = [now(), bucket.everySeconds * 1000];
    const { rowCount } = await db.query(
      `insert into sign_in_attempts (key, failures, blocked_until, expires_at)
       values ($1, 0, cast($2 as bigint) + cast($3 as bigint), cast($2 as bigint) + cast($3 as bigint))
       on conflict (key) do update set
         blocked_until = case when sign_in_attempts.blocked_until < $2 then cast($2 as bigint)
           else sign_in_attempts.blocked_until end + cast($3 as bigint),
         expires_at = case when sign_in_attempts.blocked_until < $2 then cast($2 as bigint)
           else sign_in_attempts.blocked_until end + cast($3 as bigint)
       where sign_in_attempts.blocked_until <= cast($2 as bigint) + cast($4 as bigint)`,
      [key, at, everyMs, (bucket.size - 1) * everyMs],
    );
    return rowCount === 1 ? undefined : opensAt(bucket, await kept(key));
  }

  return {
    take: ({ counter, key }) => (isBackoff(counter) ? fail(counter, key) : drain(counter, key)),

    async giveBack(gates) {
      for (const { counter, key } of gates) {
        if (isBackoff(counter)) {
          await db.query(
            `update sign_in_attempts set failures = failures - 1, blocked_until = 0
             where key = $1 and failures > 0`,
            [key],
          );
          // Nothing is kept of whoever failed at nothing.
          await db.query('delete from sign_in_attempts where key = $1 and failures = 0', [key]);
        } else {
          await db.query(
            `update sign_in_attempts set blocked_until = blocked_until - $2, expires_at = expires_at - $2
             where key = $1`,
            [key, counter.everySeconds * 1000],
          );
        }
      }
    },

    async clear(key) {
      await db.query('delete from sign_in_attempts where key = $1', [key]);
    },

    async read(keys) {
      const { rows } = await db.query<{ key: string; blocked_until: number; expires_at: number }>(
        `select key, blocked_until, expires_at from sign_in_attempts
         where key in (${keys.map((_, at) => `$${at + 1}`).join(', ')})`,
        keys,
      );
      return new Map(rows.map((row) => [row.key, { at: row.blocked_until, expiresAt: row.expires_at }]));
    },

    async reserve(key, from, until) {
      const { rowCount } = await db.query(
        `insert into sign_in_attempts (key, failures, blocked_until, expires_at) values ($1, 0, $2, $3)
         on conflict (key) do update set blocked_until = excluded.blocked_until, expires_at = excluded.expires_at
         where sign_in_attempts.expires_at <= $4`,
        [key, from, until, now()],
      );
      return rowCount === 1;
    },

    async redeem(key) {
      const { rowCount } = await db.query(
        'delete from sign_in_attempts where key = $1 and blocked_until <= $2 and expires_at > $2',
        [key, now()],
      );
      return rowCount === 1;
    },

    async mark(key, lifeMs) {
      await db.query(
        `insert into sign_in_attempts (key, failures, blocked_until, expires_at) values ($1, 0, 0, $2)
         on conflict (key) do update set expires_at = excluded.expires_at`,
        [key, now() + lifeMs],
      );
    },

    sweepExpired: (at, limit) => deleteOldest(db, { from: 'sign_in_attempts', key: 'key' }, [at], limit),
  };
}

/** When a counter of which `at` is kept lets the next one pass: epoch milliseconds, past or future. */
export function opensAt(counter: Counter, at: number): number {
  return isBackoff(counter) ? at : at - (counter.size - 1) * counter.everySeconds * 1000;
}

/** When a failure was last counted: epoch milliseconds. */
export const lastFailureAt = ({ expiresAt }: Kept): number => expiresAt - forgetFailuresMs;

/** Hashed: what people mistype into the e-mail field, at times a password, must not be kept. */
export const keyOf = (kind: string, ...names: string[]) => `${kind}:${hash('sha256', names.join(' '), 'base64url')}`;

const isBackoff = (counter: Counter): counter is Backoff => 'longest' in counter;
