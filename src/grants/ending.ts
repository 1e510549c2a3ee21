// What happens when grants and sessions end, whatever ended them. The bit of a grant is set in its status list, and the
// clients that a session let in are to get a logout token (OpenID Connect Back-Channel Logout 1.0): both in the
// transaction of the cause. Once that has committed, every process learns of it.

import type { LogoutNotice, LogoutQueue } from '../backchannel-logout/queue.ts';
import type { Queryable } from '../database/database.ts';
import type { StatusHolder } from '../status-list/indexes.ts';
import type { StatusListPublisher } from '../status-list/lists.ts';
import type { RevokedStatuses } from '../status-list/revoked.ts';

export interface GrantEnding {
  /** Of grants that end: sets the bits that their tokens name. */
  revoke(tx: Queryable, ended: readonly StatusHolder[]): Promise<void>;
  /** Of sessions that end: queues a notice for each client that wants one. */
  notify(tx: Queryable, notices: readonly LogoutNotice[]): Promise<void>;
  /** Called once the transaction has committed: tells the other processes, and this one without the detour. */
  announce(): Promise<void>;
}

interface GrantEndingParts {
  revoked: Pick<RevokedStatuses, 'revoke' | 'announce'>;
  statusLists: Pick<StatusListPublisher, 'refresh'>;
  logoutQueue: Pick<LogoutQueue, 'enqueue' | 'announce'>;
}

export function createGrantEnding({ revoked, statusLists, logoutQueue }: GrantEndingParts): GrantEnding {
  return {
    revoke: revoked.revoke,
    notify: logoutQueue.enqueue,
    announce: async () => void (await Promise.all([revoked.announce(), statusLists.refresh(), logoutQueue.announce()])),
  };
}
