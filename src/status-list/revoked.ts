// Revoked statuses: one row per index (`idx`), written in the transaction of its cause and kept until the last token that
// bears the index has expired. Owns the table revoked_statuses. The status lists are made from it, and so is the denylist.

import { maxAccessTokenLife } from '../config/config.ts';
import type { Database, Queryable } from '../database/database.ts';
import { deleteOldest, inBatches, insertBatch } from '../database/rows.ts';
import type { StatusHolder, StatusIndex } from './indexes.ts';

/** Announced on the database after every revocation. */
export const statusChannel = 'signet_status';

export interface RevokedStatus extends StatusHolder {
  /** Epoch milliseconds from which on no token bears the index. */
  expiresAt: number;
}

export interface RevokedStatuses {
  /** Sets the bits of these, with whatever else the transaction does. */
  revoke(tx: Queryable, holders: readonly StatusHolder[]): Promise<void>;
  has(index: StatusIndex): Promise<boolean>;
  /** Those of which a token may be alive, revoked at `since` (epoch milliseconds) or later. */
  list(since: number): Promise<RevokedStatus[]>;
  /** Tells every process to look, once the transaction has committed. */
  announce(): Promise<void>;
  sweep(now: number, limit: number): Promise<number>;
}

interface Row {
  list: number;
  idx: number;
  grant_id: string;
  expires_at: number;
}

interface RevokedOptions {
  /** Seconds that clocks may be apart. */
  clockSkew: number;
  now?: () => number;
}

const insert = {
  into: 'revoked_statuses',
  columns: ['list', 'idx', 'grant_id', 'revoked_at', 'expires_at'],
  onConflict: '(list, idx) do nothing',
} as const;

export function createRevokedStatuses(db: Database, { clockSkew, now = Date.now }: RevokedOptions): RevokedStatuses {
  // The longest life that can be configured, not the one that is: a token may be older than the configuration.
  const keptMs = (maxAccessTokenLife + clockSkew) * 1000;

  return {
    async revoke(tx, holders) {
      const at = now();
      const rows = holders.map(({ grantId, index: { list, idx } }) => ({
        list,
        idx,
        grant_id: grantId,
        revoked_at: at,
        expires_at: at + keptMs,
      }));
      for (const batch of inBatches(rows)) await insertBatch(tx, insert, batch);
    },

    async has({ list, idx }) {
      const { rowCount } = await db.query('select 1 from revoked_statuses where list = $1 and idx = $2', [list, idx]);
      return rowCount === 1;
    },

    async list(since) {
      const { rows } = await db.query<Row>(
        'select list, idx, grant_id, expires_at from revoked_statuses where revoked_at >= $1 and expires_at > $2',
        [since, now()],
      );
      return rows.map(({ list, idx, grant_id: grantId, expires_at: expiresAt }) => ({
        grantId,
        index: { list, idx },
        expiresAt,
      }));
    },

    announce: () => db.announce(statusChannel),

    sweep: (at, limit) => deleteOldest(db, { from: 'revoked_statuses', key: 'list, idx' }, [at], limit),
  };
}

/** Whether an access token of ours was revoked. Its signature was checked, so the index in it is as we wrote it. */
export async function isRevoked(
  { status }: Readonly<Record<string, unknown>>,
  revoked: Pick<RevokedStatuses, 'has'>,
): Promise<boolean> {
  const { status_list: reference } = (status ?? {}) as { status_list?: { idx: number; uri: string } };
  if (!reference) return false;
  return revoked.has({ list: Number(reference.uri.slice(reference.uri.lastIndexOf('/') + 1)), idx: reference.idx });
}
