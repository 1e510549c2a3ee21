// Which servers run on this database, and which of them died. Owns the table server_runs. A server that was killed may
// have committed a refresh and never have answered it; whoever then repeats it is no thief, however long it was away.

import { randomUUID } from 'node:crypto';
import type { Log } from '../log.ts';
import type { SharedClock } from './clock.ts';
import type { Database } from './database.ts';

export interface Runs {
  /**
   * Whether a server may have died between committing something at `at` and answering it, and has been known to be dead
   * for no longer than `grace`. All in milliseconds.
   */
  mayBeUnanswered(at: number, now: number, grace: number): Promise<boolean>;
  /** A clean stop: whatever was committed has been answered. */
  stop(): Promise<void>;
}

interface RunsOptions {
  clock: Pick<SharedClock, 'now'>;
  log: Log;
  everyMs?: number;
}

const aliveEveryMs = 5_000;
/** Who has not been heard of for so long is dead. */
const silentMs = 12_000;
/** A dead server may have answered nothing from so long before it was last heard of, until so long after. */
const beforeMs = 5_000;
const afterMs = 15_000;
const rememberedMs = 3_600_000;

/** Resolves when this server is known to run, and those that died before are known to have. */
export async function startRuns(db: Database, { clock, log, everyMs = aliveEveryMs }: RunsOptions): Promise<Runs> {
  const id = randomUUID();
  let writing: Promise<void> | undefined;

  async function live(): Promise<void> {
    const at = clock.now();
    await db.query(
      `insert into server_runs (id, alive_at) values ($1, $2)
       on conflict (id) do update set alive_at = excluded.alive_at, found_dead_at = null`,
      [id, at],
    );
    const { rowCount: died } = await db.query(
      'update server_runs set found_dead_at = $1 where found_dead_at is null and alive_at < $2',
      [at, at - silentMs],
    );
    if (died > 0) log.warn('server.died', { servers: died });
    await db.query('delete from server_runs where found_dead_at < $1', [at - rememberedMs]);
  }

  await live();
  // Away: that the database was, is told elsewhere, and a server that cannot write answers nobody.
  const timer = setInterval(() => {
    writing ??= live()
      .catch(() => undefined)
      .finally(() => {
        writing = undefined;
      });
  }, everyMs).unref();

  return {
    async mayBeUnanswered(at, now, grace) {
      const { rowCount } = await db.query(
        `select 1 as died from server_runs
         where alive_at >= $1 and alive_at <= $2 and alive_at < $3 and (found_dead_at is null or found_dead_at >= $4)
         limit 1`,
        [at - afterMs, at + beforeMs, now - silentMs, now - grace],
      );
      return rowCount > 0;
    },

    async stop() {
      clearInterval(timer);
      await writing;
      // Without the database it is as if we had been killed: the next start believes so, and is the more tolerant.
      await db.query('delete from server_runs where id = $1', [id]).catch(() => undefined);
    },
  };
}
