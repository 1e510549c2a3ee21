// Whom to tell that a session ended (OpenID Connect Back-Channel Logout 1.0): a row per application and session,
// written in the transaction that ends the session, by whichever process does, and deleted when the application was
// told or could not be. Owns the table backchannel_logouts. A server delivers them: delivery.ts.

import { randomUUID } from 'node:crypto';
import type { Clients } from '../clients/clients.ts';
import type { Database, Queryable } from '../database/database.ts';

/** Announced on the database when somebody is to be told. */
const logoutChannel = 'signet_logouts';

export interface LogoutNotice {
  clientId: string;
  accountId: string;
  /** What the application knows the session by; without it, all that it has of the person is meant. */
  sid?: string | undefined;
}

export interface QueuedLogout extends LogoutNotice {
  id: string;
  /** How often it was taken, this time included. */
  tries: number;
}

export interface LogoutQueue {
  /** Keeps those of the notices whose application wants to be told, with whatever else the transaction does. */
  enqueue(tx: Queryable, notices: readonly LogoutNotice[]): Promise<void>;
  /** Tells the servers, once the transaction has committed, where anything was noted. */
  announce(): Promise<void>;
  /** Calls `listener` soon after that, until the returned function is called. */
  listen(listener: () => void): Promise<() => Promise<void>>;
  /** When the next one is due, in epoch milliseconds. */
  nextDue(): Promise<number | undefined>;
  /** Some that are due. Until `leaseMs` from now nobody else is given them. */
  claim(limit: number, leaseMs: number): Promise<QueuedLogout[]>;
  postpone(id: string, dueAt: number): Promise<void>;
  remove(id: string): Promise<void>;
}

interface Row {
  id: string;
  client_id: string;
  account_id: string;
  sid: string | null;
  tries: number;
}

export function createLogoutQueue(
  db: Database,
  clients: Pick<Clients, 'notifiedOfLogout'>,
  now: () => number = Date.now,
): LogoutQueue {
  let noted = false;

  return {
    async enqueue(tx, notices) {
      const told = await clients.notifiedOfLogout(tx, [...new Set(notices.map(({ clientId }) => clientId))]);
      for (const { clientId, accountId, sid } of notices) {
        const application = told.find((candidate) => candidate.clientId === clientId);
        if (!application || (sid === undefined && application.backchannelLogoutSessionRequired)) continue;
        await tx.query(
          `insert into backchannel_logouts (id, client_id, account_id, sid, tries, due_at)
           values ($1, $2, $3, $4, 0, $5)`,
          [randomUUID(), clientId, accountId, sid ?? null, now()],
        );
        noted = true;
      }
    },

    async announce() {
      if (!noted) return;
      noted = false;
      await db.announce(logoutChannel);
    },

    listen: (listener) => db.listen(logoutChannel, listener),

    async nextDue() {
      const {
        rows: [row],
      } = await db.query<{ due_at: number | null }>('select min(due_at) as due_at from backchannel_logouts');
      return row?.due_at ?? undefined;
    },

    async claim(limit, leaseMs) {
      // The last condition is looked at again where another server was first: that one has moved `due_at`.
      const { rows } = await db.query<Row>(
        `update backchannel_logouts set tries = tries + 1, due_at = $1 where id in
           (select id from backchannel_logouts where due_at <= $2 order by due_at limit $3) and due_at <= $2
         returning id, client_id, account_id, sid, tries`,
        [now() + leaseMs, now(), limit],
      );
      return rows.map(({ id, client_id: clientId, account_id: accountId, sid, tries }) => ({
        id,
        clientId,
        accountId,
        sid: sid ?? undefined,
        tries,
      }));
    },

    async postpone(id, dueAt) {
      await db.query('update backchannel_logouts set due_at = $2 where id = $1', [id, dueAt]);
    },

    async remove(id) {
      await db.query('delete from backchannel_logouts where id = $1', [id]);
    },
  };
}
