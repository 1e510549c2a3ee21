// Refresh tokens (RFC 6749 §1.5) as stored: each by the digest of its handle (model-rows.ts). A token is spent by
// the row of its one successor, which also holds the answer that was given for it, sealed.

import { hash } from 'node:crypto';
import type { AdapterPayload } from 'oidc-provider';
import type { Database } from '../database/database.ts';
import { loaded, stored } from './model-rows.ts';

export interface RefreshTokens {
  /** A refresh token as stored, and what became of it. */
  findRefreshToken(handle: string): Promise<StoredRefreshToken | undefined>;
  /**
   * Spends `spent` by storing its one successor, together with the sealed answer. Both happen or neither does.
   * False when another request was first, or the token is gone, or its grant has ended.
   */
  rotate(spent: string, successor: Successor, now: number): Promise<boolean>;
  /**
   * Counts one more repetition of the request that spent `spent`, unless it came before the last answer was given: then
   * it is of the same moment. False when there were `most`, or it was spent before `notBefore`, or its successor has
   * been used.
   */
  countRepetition(spent: string, repetition: Repetition): Promise<boolean>;
}

/** What oidc-provider keeps of each, and ours. */
type RefreshTokenPayload = AdapterPayload &
  Paced & { clientId: string; grantId: string; exp: number; expiresWithSession?: boolean };

export interface StoredRefreshToken {
  payload: RefreshTokenPayload;
  /** The answer that brought it, where it is a successor itself. */
  broughtBy: SealedAnswer | undefined;
  /** When it was exchanged for its successor, epoch milliseconds. */
  rotatedAt: number | undefined;
  /** The token response given then. */
  answer: SealedAnswer | undefined;
  /** Whether the successor has itself been used: then its owner did receive it. */
  successorSpent: boolean;
}

/** Where a chain of refreshes is ahead of its pace (issuer/refresh-pace.ts). */
interface Paced {
  pace?: number;
}

/** A token response, sealed; gone after the grace. */
export interface SealedAnswer {
  /** Digest of the handle that it brought: a copy that is taken to another row does not open. */
  id: string;
  sealed: string;
  /** When it was given, epoch milliseconds. */
  at: number;
}

/** Epoch milliseconds. */
interface Repetition {
  most: number;
  notBefore: number;
  arrivedAt: number;
  now: number;
}

export interface Successor {
  handle: string;
  payload: AdapterPayload & Paced;
  lifeSeconds: number;
  sealedAnswer: string | null;
}

interface Row {
  payload: string;
  consumed_at: number | null;
  id: string;
  rotated_at: number | null;
  sealed_answer: string | null;
  successor_id: string | null;
  successor_rotated_at: number | null;
  successor_answer: string | null;
  successor_spent: number;
}

/** The key of a refresh token's row. */
export const digestOf = (handle: string) => hash('sha256', handle, 'base64url');

export function createRefreshTokens(db: Database): RefreshTokens {
  return {
    async findRefreshToken(handle) {
      const {
        rows: [row],
      } = await db.query<Row>(
        `select token.payload, token.consumed_at, token.id, token.rotated_at, token.sealed_answer,
           successor.id as successor_id, successor.rotated_at as successor_rotated_at,
           successor.sealed_answer as successor_answer,
           case when heir.id is null then 0 else 1 end as successor_spent
         from oidc_models token
         left join oidc_models successor on successor.rotated_from = token.id
         left join oidc_models heir on heir.rotated_from = successor.id
         where token.model = 'RefreshToken' and token.id = $1`,
        [digestOf(handle)],
      );
      return (
        row && {
          payload: loaded(row, handle) as RefreshTokenPayload,
          broughtBy: sealedAnswer(row.id, row.sealed_answer, row.rotated_at),
          rotatedAt: row.successor_rotated_at ?? undefined,
          answer: sealedAnswer(row.successor_id, row.successor_answer, row.successor_rotated_at),
          successorSpent: Number(row.successor_spent) === 1,
        }
      );
    },

    async rotate(spent, { handle, payload, lifeSeconds, sealedAnswer }, at) {
      // The successor's row is what says that the old token is spent, so it is kept for as long as that one; `exp` in
      // the payload ends the successor itself. They differ where the configured life was shortened in between.
      // The grant was read at the beginning of the request, and may have ended in its course, even by it: whoever turns
      // out to have lost a role loses what says so. The tokens of this answer would be as dead as the ones before.
      const { rowCount } = await db.query(
        `insert into oidc_models
           (model, id, payload, grant_id, account_id, rotated_from, rotated_at, sealed_answer, expires_at)
         select 'RefreshToken', $1, $2, $3, $4, id, cast($6 as bigint), $7,
           case when expires_at > cast($8 as bigint) then expires_at else cast($8 as bigint) end
         from oidc_models spent where model = 'RefreshToken' and id = $5 and exists
           (select 1 from oidc_models where model = 'Grant' and id = spent.grant_id and consumed_at is null)
         on conflict (rotated_from) where rotated_from is not null do nothing`,
        [
          digestOf(handle),
          stored(payload),
          payload.grantId ?? null,
          payload.accountId ?? null,
          digestOf(spent),
          at,
          sealedAnswer,
          at + lifeSeconds * 1000,
        ],
      );
      return rowCount === 1;
    },

    async countRepetition(spent, { most, notBefore, arrivedAt, now }) {
      const { rowCount } = await db.query(
        `update oidc_models set repeated_at = cast($5 as bigint),
           repetitions = repetitions + case when coalesce(repeated_at, rotated_at) > $4 then 0 else 1 end
         where rotated_from = $1 and rotated_at >= $3
           and (repetitions < $2 or coalesce(repeated_at, rotated_at) > $4)
           and not exists (select 1 from oidc_models heir where heir.rotated_from = oidc_models.id)`,
        [digestOf(spent), most, notBefore, arrivedAt, now],
      );
      return rowCount === 1;
    },
  };
}

function sealedAnswer(id: string | null, sealed: string | null, at: number | null): SealedAnswer | undefined {
  return id === null || sealed === null || at === null ? undefined : { id, sealed, at };
}
