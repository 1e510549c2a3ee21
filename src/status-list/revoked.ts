// Revoked statuses: one row per index (`idx`), written in the transaction of its cause and kept until the last token that
// bears the index has expired. Owns the table revoked_statuses. The status lists are made from it, and so is the denylist.

import { maxAccessTokenLife } from '../config/config.ts';
import type { Database, Queryable } from '../database/database.ts';
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

const rowsPerStatement = 256;

export function createRevokedStatuses(db: Database, { clockSkew, now = Date.now }: RevokedOptions): RevokedStatuses {
  // The longest life that can be configured, not the one that is: a token may be older than the configuration.
  const keptMs = (maxAccessTokenLife + clockSkew) * 1000;

  return {
    async revoke(tx, holders) {
      for (let from = 0; from < holders.length; ) {
        // Powers of two: a statement per number of rows would be hundreds to prepare and keep.
        const count = Math.min(rowsPerStatement, 2 ** Math.floor(Math.log2(holders.length - from)));
        const at = now();
        const values = holders
          .slice(from, from + count)
          .flatMap(({ grantId, index: { list, idx } }) => [list, idx, grantId, at, at + keptMs]);
        const tuples = Array.from(
          { length: count },
          (_, row) => `(${[1, 2, 3, 4, 5].map((column) => `$${row * 5 + column}`).join(', ')})`,
        );
        await tx.query(
          `insert into revoked_statuses (list, idx, grant_id, revoked_at, expires_at) values ${tuples.join(', ')}
           on conflict (list, idx) do nothing`,
          values,
        );
        from += count;
      }
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

    // Committed, whether or not the word gets through: whoever misses it notices at the next poll.
    announce: () => db.announce(statusChannel).catch(() => undefined),

    async sweep(at, limit) {
      const { rowCount } = await db.query(
        `delete from revoked_statuses where (list, idx) in
           (select list, idx from revoked_statuses where expires_at <= $1 order by expires_at limit $2)`,
        [at, limit],
      );
      return rowCount;
    },
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
