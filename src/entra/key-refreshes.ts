// Microsoft's signing keys are kept by each server, in its own memory. When one of them is said to be stolen, an
// administrator has all servers forget them at once: by counting up one row, which every server looks at. Owns the
// table entra_key_refreshes.

import type { Actor } from '../audit/actor.ts';
import type { Audit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';

const channel = 'signet_entra_keys';

export interface KeyRefreshes {
  /** Has every server forget Microsoft's keys, and load them anew for the next token. Audited. */
  ask(by: Omit<Actor, 'force'>): Promise<Asked>;
  /** Calls `forget` when somebody asked: soon after, and `pollEvery` later at most. */
  subscribe(forget: () => void, log: Log): Promise<KeyRefreshSubscription>;
}

interface Asked {
  /** When every server that reaches the database has forgotten them. */
  serversFollowBy: Date;
}

export interface KeyRefreshSubscription {
  /** Looks now. Never rejects: what could not be read is looked at again. */
  poll(): Promise<void>;
  stop(): Promise<void>;
}

/** @param pollEvery seconds */
export function createKeyRefreshes(db: Database, audit: Pick<Audit, 'append'>, pollEvery: number): KeyRefreshes {
  async function asked(): Promise<number> {
    const {
      rows: [row],
    } = await db.query<{ asked: number }>('select asked from entra_key_refreshes where id = 1');
    return row!.asked;
  }

  return {
    async ask({ actor, clientId, requestId, address }) {
      await db.transaction(async (tx) => {
        await tx.query('update entra_key_refreshes set asked = asked + 1 where id = 1');
        await audit.append(tx, { event: 'entra.keys_refreshed', actor, clientId, requestId, address });
      });
      // Committed, whether or not the word gets through: whoever misses it notices at the next look.
      await db.announce(channel).catch(() => undefined);
      return { serversFollowBy: new Date(Date.now() + pollEvery * 1000) };
    },

    async subscribe(forget, log) {
      let seen = await asked();
      let looking: Promise<void> | undefined;

      async function compare(): Promise<void> {
        const now = await asked().catch((error: unknown) => {
          log.warn('entra.key_refreshes_not_read', { error });
          return seen;
        });
        if (now === seen) return;
        seen = now;
        forget();
        log.info('entra.keys_forgotten');
      }

      // After the look that is under way: that one may have read before whoever asks now has committed.
      const look = () => {
        looking = (looking ?? Promise.resolve()).then(compare);
        return looking;
      };

      const unlisten = await db.listen(channel, () => void look());
      const timer = setInterval(() => void look(), pollEvery * 1000).unref();
      return {
        poll: look,
        async stop() {
          clearInterval(timer);
          await unlisten();
          await looking;
        },
      };
    },
  };
}
