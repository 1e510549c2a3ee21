// What other processes change is noticed when they announce it, and by polling, since an announcement may get lost.

import { coalesce } from './coalesce.ts';
import type { Database } from './database.ts';

export interface Subscription {
  /** Polls now; asked for during a poll, another one follows. Never rejects; after `stop` it does nothing. */
  poll(): Promise<void>;
  /** Resolves when the poll that is under way has ended. */
  stop(): Promise<void>;
}

/** @param poll must not reject: what could not be read is read at the next poll */
export async function subscribe(
  db: Pick<Database, 'listen'>,
  channel: string,
  everyMs: number,
  poll: () => Promise<void>,
): Promise<Subscription> {
  let stopped = false;
  const polls = coalesce(async () => (stopped ? undefined : poll()));
  const unlisten = await db.listen(channel, () => void polls.run());
  const timer = setInterval(() => void polls.run(), everyMs).unref();
  return {
    poll: polls.run,
    async stop() {
      stopped = true;
      clearInterval(timer);
      await unlisten();
      await polls.underWay();
    },
  };
}
