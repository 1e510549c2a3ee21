// oidc-provider's models as rows, of which grants and sessions (grant-rows.ts) have more to say; refresh tokens have a
// table of their own (refresh-rows.ts). Owns the table oidc_models with grant-rows.ts. Codes and cookies are credentials: only their
// SHA-256 is stored. Single use is enforced in the statement, since oidc-provider reads first and consumes later, so
// two requests may both have read a code as unspent (RFC 6749 §4.1.2, RFC 9700 §4.14.2).

import { hash } from 'node:crypto';
import type { AdapterPayload } from 'oidc-provider';
import type { Database } from '../database/database.ts';
import { createRoom, type RoomLimits } from '../database/row-limits.ts';
import { deleteOldest } from '../database/rows.ts';
import type { StatusIndex } from '../status-list/indexes.ts';
import { type Backing, type BackingRow, backingColumns, backingJoins, backingOf } from './backing.ts';

export interface ModelRows {
  /** Writes a row, unless one of this id is consumed. `expiresIn` is in seconds. */
  write(model: string, id: string, payload: AdapterPayload, expiresIn: number, owner?: GrantOwner): Promise<void>;
  find(model: string, id: string): Promise<AdapterPayload | undefined>;
  findByUid(model: string, uid: string): Promise<AdapterPayload | undefined>;
  /** A code with all that it rests on, in one statement. */
  findBackedCode(code: string): Promise<BackedCode | undefined>;
  /** False where somebody was first, or there is none. */
  consume(model: string, id: string): Promise<boolean>;
  remove(model: string, id: string): Promise<void>;
  removeOfGrant(model: string, grantId: string): Promise<void>;
  /** Deletes up to `limit` expired rows; answers how many. */
  sweep(now: number, limit: number): Promise<number>;
}

/** Of a grant: to whom it was given, and its status index. */
interface GrantOwner {
  clientId: string;
  /** Of the session that it was made in: found with it (signed-in.ts). */
  sessionUid?: string | undefined;
  index: StatusIndex;
}

interface BackedCode extends Backing {
  /** oidc-provider's (lib/models/authorization_code.js), with `consumed` where it was used. */
  payload: AdapterPayload;
}

export interface ModelRow {
  payload: string;
  consumed_at: number | null;
}

/** What strangers may add, and who asks at the moment. */
export interface Strangers {
  limits?: Partial<RoomLimits> | undefined;
  /** See networkOf (web/address.ts); undefined outside of a request. */
  network(): string | undefined;
}

/** The key of a row. A Grant's id is a reference, found in the payloads of others, and opens nothing by itself. */
export const idOf = (model: string, id: string) => (model === 'Grant' ? id : hash('sha256', id, 'base64url'));

export function createModelRows(db: Database, now: () => number, strangers: Strangers): ModelRows {
  const roomOf = (model: string) =>
    createRoom(db, {
      table: 'oidc_models',
      key: 'model, id',
      which: `model = '${model}'`,
      limits: strangers.limits,
    });
  const rooms = new Map(['Interaction', 'Session'].map((model) => [model, roomOf(model)]));

  return {
    async write(model, id, payload, expiresIn, owner) {
      const room = payload.accountId === undefined ? rooms.get(model) : undefined;
      const network = room && strangers.network();
      await db.query(
        `insert into oidc_models
           (model, id, payload, uid, grant_id, account_id, expires_at, client_id, status_list, status_idx, network,
            session_uid)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (model, id) do update set payload = excluded.payload, uid = excluded.uid,
           grant_id = excluded.grant_id, account_id = excluded.account_id, expires_at = excluded.expires_at,
           network = case when excluded.account_id is null then oidc_models.network end
         where oidc_models.consumed_at is null`,
        [
          model,
          idOf(model, id),
          stored(payload),
          owner ? (owner.sessionUid ?? null) : (payload.uid ?? null),
          payload.grantId ?? null,
          payload.accountId ?? null,
          now() + expiresIn * 1000,
          owner?.clientId ?? null,
          owner?.index.list ?? null,
          owner?.index.idx ?? null,
          network ?? null,
          payload.sessionUid ?? null,
        ],
      );
      if (network !== undefined) await room!.added(network);
    },

    async find(model, id) {
      const {
        rows: [row],
      } = await db.query<ModelRow>('select payload, consumed_at from oidc_models where model = $1 and id = $2', [
        model,
        idOf(model, id),
      ]);
      return row && loaded(row, id);
    },

    async findByUid(model, uid) {
      const {
        rows: [row],
      } = await db.query<ModelRow>('select payload, consumed_at from oidc_models where model = $1 and uid = $2', [
        model,
        uid,
      ]);
      return row && loaded(row);
    },

    async findBackedCode(code) {
      const {
        rows: [row],
      } = await db.query<ModelRow & BackingRow>(
        `select token.payload, token.consumed_at, ${backingColumns} from oidc_models token ${backingJoins}
         where token.model = 'AuthorizationCode' and token.id = $1`,
        [idOf('AuthorizationCode', code)],
      );
      return row && { payload: loaded(row, code), ...backingOf(row) };
    },

    async consume(model, id) {
      const { rowCount } = await db.query(
        'update oidc_models set consumed_at = $1 where model = $2 and id = $3 and consumed_at is null',
        [now(), model, idOf(model, id)],
      );
      return rowCount > 0;
    },

    async remove(model, id) {
      await db.query('delete from oidc_models where model = $1 and id = $2', [model, idOf(model, id)]);
    },

    async removeOfGrant(model, grantId) {
      await db.query('delete from oidc_models where model = $1 and grant_id = $2', [model, grantId]);
    },

    sweep: (at, limit) => deleteOldest(db, { from: 'oidc_models', key: 'model, id' }, [at], limit),
  };
}

// The id is the credential, so it must not ride along in the payload; the same goes for the session cookie's value,
// which oidc-provider copies into an interaction and never reads again.
export function stored({
  jti: _id,
  session,
  ...payload
}: AdapterPayload & { session?: Record<string, unknown> }): string {
  if (!session) return JSON.stringify(payload);
  const { cookie: _cookie, ...rest } = session;
  return JSON.stringify({ ...payload, session: rest });
}

export function loaded(row: ModelRow, id?: string): AdapterPayload {
  const payload = JSON.parse(row.payload) as AdapterPayload;
  if (id !== undefined) payload.jti = id;
  if (row.consumed_at !== null) payload.consumed = Math.floor(row.consumed_at / 1000);
  return payload;
}
