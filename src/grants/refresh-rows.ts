// Refresh tokens (RFC 6749 §1.5) as rows: one for each chain of refreshes, with the digests of the handle that is good and
// of the one before it. Owns the table refresh_tokens. An exchange is one update, whose condition decides who was first.
// Whatever else names the chain was spent before, or is nobody's: it is known by not being either.

import type { AdapterPayload } from 'oidc-provider';
import type { Database } from '../database/database.ts';
import { deleteOldest } from '../database/rows.ts';
import { type Backing, type BackingRow, backingColumns, backingJoins, backingOf } from './backing.ts';
import { chainOf, digestOf, endOf } from './refresh-handle.ts';

export interface RefreshTokens {
  /** A refresh token as stored, and what became of it. */
  findRefreshToken(handle: string): Promise<StoredRefreshToken | undefined>;
  /** The same with all that it rests on, in one statement. */
  findBackedRefreshToken(handle: string): Promise<BackedRefreshToken | undefined>;
  /** The first of a chain. */
  saveRefreshToken(handle: string, payload: RefreshTokenPayload, expiresAt: number): Promise<void>;
  /**
   * Spends `spent` by putting its one successor in its place.
   * False when another request was first, or the token is gone, or its grant has ended.
   */
  rotate(spent: string, successor: Successor, now: number): Promise<boolean>;
  /**
   * Counts one more repetition of the request that spent `spent`, unless it came before the last answer was given: then
   * it is of the same moment. False when there were `most`, or it was spent before `notBefore`, or its successor has
   * been used.
   */
  countRepetition(spent: string, repetition: Repetition): Promise<boolean>;
  /** Forgets the chain of a handle. */
  removeRefreshToken(handle: string): Promise<void>;
  removeRefreshTokensOf(grantId: string): Promise<void>;
  /** Deletes up to `limit` chains that ended before `now`; answers how many. */
  sweepRefreshTokens(now: number, limit: number): Promise<number>;
}

/** What oidc-provider keeps of each, and ours. */
export type RefreshTokenPayload = AdapterPayload &
  Paced & {
    clientId: string;
    grantId: string;
    accountId: string;
    /** Epoch seconds. */
    exp: number;
    sessionUid?: string;
    expiresWithSession?: boolean;
  };

/** Where a chain of refreshes is ahead of its pace (issuer/refresh-pace.ts). */
interface Paced {
  pace?: number;
}

export interface StoredRefreshToken {
  payload: RefreshTokenPayload;
  /** Whether it is good, was exchanged for the one that is, or was spent before that. */
  state: 'current' | 'previous' | 'older';
  /** The one that is good. */
  current: { digest: string; exp: number };
  /** What brought the one that is good; undefined where it came with a code. */
  rotation: Rotation | undefined;
}

export interface Rotation {
  /** Epoch milliseconds. */
  at: number;
  /** What was asked for. */
  request: string;
  /** The network that it was asked from. */
  network: string;
}

export interface BackedRefreshToken extends StoredRefreshToken, Backing {}

/** Epoch milliseconds. */
interface Repetition {
  most: number;
  notBefore: number;
  arrivedAt: number;
  now: number;
}

interface Successor {
  handle: string;
  payload: RefreshTokenPayload;
  request: string;
  network: string;
}

interface Row {
  payload: string;
  current_digest: string;
  previous_digest: string | null;
  grant_id: string;
  account_id: string;
  session_uid: string | null;
  rotated_at: number | null;
  request: string | null;
  network: string | null;
}

const columns = `token.payload, token.current_digest, token.previous_digest, token.grant_id, token.account_id,
  token.session_uid, token.rotated_at, token.request, token.network`;

export function createRefreshTokens(db: Database): RefreshTokens {
  return {
    async findRefreshToken(handle) {
      const {
        rows: [row],
      } = await db.query<Row>(`select ${columns} from refresh_tokens token where token.id = $1`, [chainOf(handle)]);
      return row && fromRow(row, handle);
    },

    async findBackedRefreshToken(handle) {
      const {
        rows: [row],
      } = await db.query<Row & BackingRow>(
        `select ${columns}, ${backingColumns} from refresh_tokens token ${backingJoins} where token.id = $1`,
        [chainOf(handle)],
      );
      return row && { ...fromRow(row, handle), ...backingOf(row) };
    },

    async saveRefreshToken(handle, payload, expiresAt) {
      await db.query(
        `insert into refresh_tokens (id, current_digest, grant_id, account_id, session_uid, payload, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)`,
        [
          chainOf(handle),
          digestOf(handle),
          payload.grantId,
          payload.accountId,
          payload.sessionUid ?? null,
          stored(payload),
          keptUntil(expiresAt),
        ],
      );
    },

    async rotate(spent, { handle, payload, request, network }, at) {
      // The grant was read at the beginning of the request, and may have ended in its course, even by it: whoever turns
      // out to have lost a role loses what says so. The tokens of this answer would be as dead as the ones before.
      // The row is kept for as long as any handle of the chain lives by its own word, also where the configured life was
      // shortened in between: as long it tells that one of them was spent.
      const { rowCount } = await db.query(
        `update refresh_tokens set current_digest = $3, previous_digest = current_digest, session_uid = $4, payload = $5,
           rotated_at = $6, request = $7, network = $8, repetitions = 0, repeated_at = null,
           expires_at = case when expires_at > cast($9 as bigint) then expires_at else cast($9 as bigint) end
         where id = $1 and current_digest = $2 and exists
           (select 1 from oidc_models where model = 'Grant' and id = refresh_tokens.grant_id and consumed_at is null)`,
        [
          chainOf(spent),
          digestOf(spent),
          digestOf(handle),
          payload.sessionUid ?? null,
          stored(payload),
          at,
          request,
          network,
          keptUntil(payload.exp * 1000),
        ],
      );
      return rowCount === 1;
    },

    async countRepetition(spent, { most, notBefore, arrivedAt, now }) {
      const { rowCount } = await db.query(
        `update refresh_tokens set repeated_at = cast($6 as bigint),
           repetitions = repetitions + case when coalesce(repeated_at, rotated_at) > $5 then 0 else 1 end
         where id = $1 and previous_digest = $2 and rotated_at >= $4
           and (repetitions < $3 or coalesce(repeated_at, rotated_at) > $5)`,
        [chainOf(spent), digestOf(spent), most, notBefore, arrivedAt, now],
      );
      return rowCount === 1;
    },

    async removeRefreshToken(handle) {
      await db.query('delete from refresh_tokens where id = $1', [chainOf(handle)]);
    },

    async removeRefreshTokensOf(grantId) {
      await db.query('delete from refresh_tokens where grant_id = $1', [grantId]);
    },

    sweepRefreshTokens: (now, limit) => deleteOldest(db, { from: 'refresh_tokens', key: 'id' }, [now], limit),
  };
}

// To the whole day: an exchange on the same day leaves the index on it alone.
const dayMs = 86_400_000;
const keptUntil = (expiresAt: number) => Math.ceil(expiresAt / dayMs) * dayMs;

/** Without the handle, which is the credential, and without what has a column. */
function stored({ jti, kind, grantId, accountId, sessionUid, ...payload }: RefreshTokenPayload): string {
  return JSON.stringify(payload);
}

function fromRow(row: Row, handle: string): StoredRefreshToken {
  const digest = digestOf(handle);
  const isPrevious = digest === row.previous_digest;
  const state = digest === row.current_digest ? 'current' : isPrevious ? 'previous' : 'older';
  const payload = {
    ...(JSON.parse(row.payload) as RefreshTokenPayload),
    jti: handle,
    kind: 'RefreshToken',
    grantId: row.grant_id,
    accountId: row.account_id,
    ...(row.session_uid !== null && { sessionUid: row.session_uid }),
  };
  const { exp } = payload;
  // Of one that was spent the row says no more than it says itself.
  if (state !== 'current') payload.exp = endOf(handle) ?? exp;
  return {
    payload,
    state,
    current: { digest: row.current_digest, exp },
    rotation:
      row.rotated_at === null
        ? undefined
        : { at: row.rotated_at, request: row.request ?? '', network: row.network ?? '' },
  };
}
