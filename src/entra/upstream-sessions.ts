// Upstream sessions: the session at Microsoft that a sign-in here came of. Owns the table upstream_sessions. Sessions
// and grants carry the id of a row as their `upstream` (issuer/upstream-session.ts); so a refresh finds whom to ask about, and
// Microsoft's sign-out finds what to end. The refresh token in it is sealed for its row.

import { randomUUID } from 'node:crypto';
import type { Method } from '../accounts/identities.ts';
import type { Database } from '../database/database.ts';
import { deleteOldest } from '../database/rows.ts';
import { isAppError } from '../errors.ts';
import type { Seal } from '../keys/seal.ts';

export interface UpstreamSession {
  id: string;
  method: Method;
  externalId: string;
  accountId: string;
  loginHint?: string;
  /** Absent where people are not checked again. */
  refreshToken?: string;
  /** When Microsoft last said that all is well. */
  checkedAt: Date;
  endedAt?: Date;
}

type NewUpstreamSession = Omit<UpstreamSession, 'id' | 'checkedAt' | 'endedAt'> & { upstreamSid?: string };

export interface UpstreamSessions {
  /** The id of the row. */
  open(session: NewUpstreamSession): Promise<string>;
  find(id: string): Promise<UpstreamSession | undefined>;
  checked(id: string, refreshToken: string | undefined): Promise<void>;
  /** Nothing may rest on it any more. False where it had ended before. */
  end(id: string): Promise<boolean>;
  /**
   * Those of Microsoft's session `sid`, each once: the person signed out there. Access that goes on without a session
   * goes on, and is checked; see `end`.
   */
  signedOut(method: Method, sid: string): Promise<Array<Pick<UpstreamSession, 'id' | 'accountId'>>>;
  sweepExpired(now: number, limit: number): Promise<number>;
}

interface Row {
  id: string;
  method: Method;
  external_id: string;
  account_id: string;
  login_hint: string | null;
  sealed_refresh_token: string | null;
  checked_at: number;
  ended_at: number | null;
}

/** @param lifeSeconds no less than anything that rests on a row lives */
export function createUpstreamSessions(
  db: Database,
  seal: Seal,
  lifeSeconds: number,
  now: () => number = Date.now,
): UpstreamSessions {
  // Sealed once per check, so under a key of its own: see createSeal on how often one key may be used.
  const own = seal.forPurpose('upstream refresh tokens');
  const sealed = (id: string, token: string | undefined) =>
    token === undefined ? null : own.seal(token, `upstream session ${id}`);

  /** Undefined: sealed under a master key that is gone. */
  function opened(id: string, sealedToken: string): string | undefined {
    try {
      return own.open(sealedToken, `upstream session ${id}`).toString();
    } catch (error) {
      if (!isAppError(error, 'master_key_wrong')) throw error;
      return undefined;
    }
  }

  return {
    async open({ method, externalId, accountId, upstreamSid, loginHint, refreshToken }) {
      const id = randomUUID();
      await db.query(
        `insert into upstream_sessions
           (id, method, external_id, account_id, upstream_sid, login_hint, sealed_refresh_token, checked_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
        [
          id,
          method,
          externalId,
          accountId,
          upstreamSid ?? null,
          loginHint ?? null,
          sealed(id, refreshToken),
          now(),
          now() + lifeSeconds * 1000,
        ],
      );
      return id;
    },

    async find(id) {
      const {
        rows: [row],
      } = await db.query<Row>(
        `select id, method, external_id, account_id, login_hint, sealed_refresh_token, checked_at, ended_at
         from upstream_sessions where id = $1`,
        [id],
      );
      if (!row) return undefined;
      const refreshToken = row.sealed_refresh_token === null ? undefined : opened(id, row.sealed_refresh_token);
      // Nobody can ask Microsoft about it any more, so nothing may rest on it: the person signs in anew.
      const isLost = row.sealed_refresh_token !== null && refreshToken === undefined;
      const endedAt = row.ended_at ?? (isLost ? now() : null);
      return {
        id: row.id,
        method: row.method,
        externalId: row.external_id,
        accountId: row.account_id,
        checkedAt: new Date(row.checked_at),
        ...(row.login_hint === null ? {} : { loginHint: row.login_hint }),
        ...(refreshToken === undefined ? {} : { refreshToken }),
        ...(endedAt === null ? {} : { endedAt: new Date(endedAt) }),
      };
    },

    async checked(id, refreshToken) {
      await db.query(
        `update upstream_sessions set checked_at = $2, expires_at = $3,
           sealed_refresh_token = coalesce($4, sealed_refresh_token)
         where id = $1 and ended_at is null`,
        [id, now(), now() + lifeSeconds * 1000, sealed(id, refreshToken)],
      );
    },

    async end(id) {
      const { rowCount } = await db.query(
        `update upstream_sessions set ended_at = $2, sealed_refresh_token = null
         where id = $1 and ended_at is null`,
        [id, now()],
      );
      return rowCount === 1;
    },

    async signedOut(method, sid) {
      const { rows } = await db.query<{ id: string; account_id: string }>(
        `update upstream_sessions set upstream_sid = null
         where method = $1 and upstream_sid = $2 and ended_at is null returning id, account_id`,
        [method, sid],
      );
      return rows.map(({ id, account_id: accountId }) => ({ id, accountId }));
    },

    sweepExpired: (at, limit) => deleteOldest(db, { from: 'upstream_sessions', key: 'id' }, [at], limit),
  };
}
