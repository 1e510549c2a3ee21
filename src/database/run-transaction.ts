// What a transaction promises on either engine. PostgreSQL lets nothing follow a failed statement and SQLite would
// carry on; code tried on one must not surprise on the other, so the stricter rule holds on both.

import type { Queryable } from './database.ts';
import { createQueue } from './queue.ts';

/** Runs `work` between `begin` and commit on the one connection behind `run`; whatever fails rolls everything back. */
export async function runTransaction<T>(
  run: Queryable['query'],
  begin: string,
  work: (tx: Queryable) => Promise<T>,
): Promise<T> {
  const inTurn = createQueue(); // `pg` wants one query at a time on a connection
  let over = false;
  let failure: { error: unknown } | undefined;
  const tx: Queryable = {
    async query(sql, values) {
      if (over) throw new Error('this transaction is over: await every query inside it');
      return inTurn(async () => {
        if (failure) throw failure.error;
        try {
          return await run(sql, values);
        } catch (error) {
          failure = { error };
          throw error;
        }
      });
    },
  };

  await run(begin);
  try {
    const result = await work(tx);
    over = true;
    await inTurn(async () => {
      if (failure) throw failure.error;
      await run('commit');
    });
    return result;
  } catch (error) {
    over = true;
    // Where the disk is full or the connection lost, the engine has rolled back by itself; the first error is the news.
    await inTurn(() => run('rollback')).catch(() => {});
    throw error;
  }
}
