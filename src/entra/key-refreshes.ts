// Refreshes of Microsoft's signing keys, which are kept by each server, in its own memory. When one of them is said to
// be stolen, an administrator has all servers forget them at once: by counting up one row, which every server looks at.
// Owns the table entra_key_refreshes.

import type { Actor } from '../audit/actor.ts';
import type { Audit } from '../audit/audit.ts';
import type { Database } from '../database/database.ts';
import { type Subscription, subscribe } from '../database/subscribe.ts';
import type { Log } from '../log.ts';

const channel = 'signet_entra_keys';

export interface KeyRefreshes {
  /** Has every server forget Microsoft's keys, and load them anew for the next token. Audited. */
  ask(by: Omit<Actor, 'force'>): Promise<Asked>;
  /** Calls `forget` when somebody asked: soon after, and `pollEvery` later at most. */
  subscribe(forget: () => void, log: Log): Promise<Subscription>;
}

interface Asked {
  /** When every server that reaches the database has forgotten them. */
  serversFollowBy: Date;
}

/** @param pollEvery seconds */
export function createKeyRefreshes(db: Database, audit: Pick<Audit, 'append'>, pollEvery: number): KeyRefreshes {
  async function asked(): Promise<number> {
    const {
      rows: [row],
    } = await db.query<{ asked: number }>('select asked from entra_key_refreshes where id = 1');
    return row?.asked ?? 0;
  }

  return {
    async ask({ actor, clientId, requestId, address }) {
      await db.transaction(async (tx) => {
        await tx.query('update entra_key_refreshes set asked = asked + 1 where id = 1');
        await audit.append(tx, { event: 'entra.keys_refreshed', actor, clientId, requestId, address });
      });
      await db.announce(channel);
      return { serversFollowBy: new Date(Date.now() + pollEvery * 1000) };
    },

    async subscribe(forget, log) {
      let seen = await asked();
      return subscribe(db, channel, pollEvery * 1000, async () => {
        const now = await asked().catch((error: unknown) => {
          log.warn('entra.key_refreshes_not_read', { error });
          return seen;
        });
        if (now === seen) return;
        seen = now;
        forget();
        log.info('entra.keys_forgotten');
      });
    },
  };
}
