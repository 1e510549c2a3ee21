// A clock that is set, for servers on either engine. What they read of Date stands still until the test moves it; PostgreSQL,
// which has a clock of its own, is given this one in the place of clock_timestamp().

import pg from 'pg';
import { vi } from 'vitest';
import type { Queryable } from '../../src/database/database.ts';

export interface SetClock {
  /** Makes an empty database go by this clock. */
  lead(databaseUrl: string): Promise<void>;
  /** Moves on, at these databases as well. */
  advance(seconds: number, databases: readonly Queryable[]): Promise<void>;
  /** Goes on by itself from where it stands, at these databases as well. */
  run(databases: readonly Queryable[]): Promise<void>;
  restore(): void;
}

const beside = 'test_clock';

export function startSetClock(): SetClock {
  const right = Date.now;
  // In the middle of a second: what a server knows of its database's clock is right but for some milliseconds.
  let at = Math.floor(right() / 1000) * 1000 + 500;
  let since: number | undefined;
  const spy = vi.spyOn(Date, 'now').mockImplementation(() => (since === undefined ? at : at + (right() - since)));
  const isPostgres = (url: string) => url.startsWith('postgres');
  let led = false;

  return {
    async lead(url) {
      if (!isPostgres(url)) return;
      led = true;
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query(`create table ${beside} (ms bigint not null, runs_ahead_ms bigint)`);
      await client.query(`insert into ${beside} (ms) values (${at})`);
      await client.query(
        `create function public.clock_timestamp() returns timestamptz language sql volatile as $$
           select case when runs_ahead_ms is null then to_timestamp(ms / 1000.0)
             else pg_catalog.clock_timestamp() + runs_ahead_ms * interval '1 millisecond' end
           from public.${beside} $$`,
      );
      const name = new URL(url).pathname.slice(1);
      await client.query(`alter database ${name} set search_path = public, pg_catalog`);
      await client.end();
    },

    async advance(seconds, databases) {
      at += seconds * 1000;
      if (led) for (const db of databases) await db.query(`update ${beside} set ms = $1`, [at]);
    },

    async run(databases) {
      since = right();
      if (led) for (const db of databases) await db.query(`update ${beside} set runs_ahead_ms = $1`, [at - since]);
    },

    restore: () => spy.mockRestore(),
  };
}

/** What a test's clock has beside the tables of a server. */
export const clockTable = beside;
