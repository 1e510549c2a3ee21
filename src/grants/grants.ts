// Grants as those see them who end them: an administrator, or whatever takes the ground from under them. What
// happens then is ending.ts: in the same transaction, so that what a grant issued is refused before it expires.

import type { Actor } from '../audit/actor.ts';
import type { Audit } from '../audit/audit.ts';
import type { Database, Queryable } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { StatusIndexes } from '../status-list/indexes.ts';
import type { GrantEnding } from './ending.ts';
import {
  cutSessions,
  endGrants,
  endOfUpstreamSessions,
  endSessionsOf,
  type GrantSummary,
  listGrants,
  ownerOfGrant,
} from './grant-rows.ts';

/** A grant outlives its refresh tokens' renewals for so long; then the person signs in again. */
export const grantLifeSeconds = 90 * 24 * 3600;

export interface Grants {
  /** What a person lets applications do now, oldest first. */
  list(accountId: string): Promise<GrantSummary[]>;
  /** By an administrator. @throws {AppError} grant_unknown (404) */
  revoke(grantId: string, by: Actor): Promise<{ grantId: string; accountId: string; clientId: string }>;
  /** Given up by the application it was given to. */
  giveUp(grantId: string): Promise<void>;
  /**
   * What rests on upstream sessions, which have ended (`offline`: with all that was to go on without the person).
   * Whether anything is left.
   */
  endOfUpstreamSessions(
    accountId: string,
    upstream: readonly string[],
    options: { offline: boolean },
  ): Promise<boolean>;
  /** What an application has for itself: all of its tokens end, and it may ask for new ones. */
  renewClient(clientId: string): Promise<void>;
  /** The same and more, within the transaction of a cause: see accounts/accounts.ts, clients/clients.ts, keys/operations.ts. */
  endOfAccount(tx: Queryable, accountId: string, options: { sessions: boolean }): Promise<number>;
  endOfClient(tx: Queryable, clientId: string): Promise<number>;
  cutEverything(tx: Queryable): Promise<number>;
  /** Called once the transaction of an `end…` has committed. */
  ended(): Promise<void>;
}

interface GrantsParts {
  db: Database;
  audit: Pick<Audit, 'append'>;
  ending: GrantEnding;
  statusIndexes: Pick<StatusIndexes, 'releaseClients'>;
  now?: () => number;
}

export function createGrants({ db, audit, ending, statusIndexes, now = Date.now }: GrantsParts): Grants {
  async function endOfClient(tx: Queryable, clientId: string): Promise<number> {
    await ending.revoke(tx, await statusIndexes.releaseClients(tx, clientId));
    return endGrants(tx, { clientId }, ending, now);
  }

  return {
    list: (accountId) => listGrants(db, accountId),

    async revoke(grantId, { actor, clientId: through, requestId, address }) {
      const owner = await db.transaction(async (tx) => {
        const found = await ownerOfGrant(tx, grantId);
        if (!found || (await endGrants(tx, { grantId }, ending, now)) === 0) {
          throw new AppError('grant_unknown', 404, `there is no grant ${grantId}, or it has ended`, {
            hint: 'signet grants list shows those of a person.',
          });
        }
        await audit.append(tx, {
          event: 'grant.revoked',
          actor,
          clientId: found.clientId,
          subject: found.accountId,
          requestId,
          address,
          detail: { grantId, cause: 'an administrator revoked it', through },
        });
        return found;
      });
      await ending.announce();
      return { grantId, ...owner };
    },

    async giveUp(grantId) {
      await db.transaction((tx) => endGrants(tx, { grantId }, ending, now));
      await ending.announce();
    },

    async endOfUpstreamSessions(accountId, upstream, options) {
      const isLeft = await db.transaction((tx) => endOfUpstreamSessions(tx, accountId, upstream, options, ending, now));
      await ending.announce();
      return isLeft;
    },

    async renewClient(clientId) {
      await db.transaction(async (tx) => ending.revoke(tx, await statusIndexes.releaseClients(tx, clientId)));
      await ending.announce();
    },

    async endOfAccount(tx, accountId, { sessions }) {
      if (sessions) await endSessionsOf(tx, accountId, ending, now);
      return endGrants(tx, { accountId }, ending, now);
    },

    endOfClient,

    async cutEverything(tx) {
      await ending.revoke(tx, await statusIndexes.releaseClients(tx));
      return cutSessions(tx, ending, now);
    },

    ended: () => ending.announce(),
  };
}
