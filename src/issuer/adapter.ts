// oidc-provider's storage. Owns the table oidc_models (refresh tokens: refresh-rows.ts). Codes, refresh tokens and
// cookies are credentials: only their SHA-256 is stored. Single use is enforced in the statement, since oidc-provider
// reads first and consumes later, so two requests may both have read a code as unspent (RFC 6749 §4.1.2, RFC 9700
// §4.14.2).

import { hash } from 'node:crypto';
import { type Adapter, type AdapterPayload, errors } from 'oidc-provider';
import type { LogoutNotice, Logouts } from '../backchannel-logout/queue.ts';
import { audienceOf } from '../clients/apis.ts';
import type { Database, Queryable } from '../database/database.ts';
import { createRoom, type RoomLimits } from '../database/row-limits.ts';
import { loaded, stored } from '../grants/model-rows.ts';
import { createRefreshTokens, type RefreshTokens } from '../grants/refresh-rows.ts';
import type { Bearer, Place, Places } from '../status-list/indexes.ts';
import type { RevokedStatuses } from '../status-list/revoked.ts';

export interface Models extends RefreshTokens {
  /** The adapter for one of oidc-provider's models, as its configuration wants it. */
  adapter(model: string): Adapter;
  /** Deletes up to `limit` expired rows and forgets answers older than `answersBefore`; how many rows were touched. */
  sweep(now: number, answersBefore: number, limit: number): Promise<number>;
}

/**
 * Where grants get their place in the status lists, and where it is marked when they end; and who is told of a session
 * that does.
 */
export type GrantStatuses = Pick<Places, 'take'> &
  Pick<RevokedStatuses, 'revoke' | 'announce'> &
  Pick<Logouts, 'noteLogouts'>;

/** oidc-provider's, and what a session needs that gets another id. */
export interface SessionAdapter extends Adapter {
  /** Nothing is found or written under this id any more; the session goes on under the next. */
  replaced(id: string): Promise<void>;
}

/** Whose grants: one, those of a person, those given to an application, or all there are. */
type Whose = { grantId: string } | { accountId: string } | { clientId: string } | 'everyone';

interface Row {
  payload: string;
  consumed_at: number | null;
}

/** No request is under way for longer. */
const longestRequestMs = 3_600_000;

/** What is left of a session or grant that ended: a mark, over which nothing is written. */
const endSession =
  `update oidc_models set payload = '{}', uid = null, account_id = null, consumed_at = $1, ` +
  'expires_at = $2 where model = $3 and consumed_at is null';
const endGrant =
  `update oidc_models set payload = '{}', account_id = null, client_id = null, consumed_at = $1, ` +
  `expires_at = $2 where model = 'Grant' and consumed_at is null`;

const grantsPerStatement = 20_000;

// A Grant's id is a reference, found in the payloads of others, and opens nothing by itself.
const idOf = (model: string, id: string) => (model === 'Grant' ? id : hash('sha256', id, 'base64url'));

/** What strangers may add, and who asks at the moment. */
export interface Strangers {
  limits?: Partial<RoomLimits> | undefined;
  /** See networkOf (web/address.ts); undefined outside of a request. */
  network(): string | undefined;
}

export function createModels(
  db: Database,
  findClient: (clientId: string) => Promise<AdapterPayload | undefined>,
  statuses: GrantStatuses,
  now: () => number = Date.now,
  strangers: Strangers = { network: () => undefined },
): Models {
  const roomOf = (model: string) =>
    createRoom(db, {
      table: 'oidc_models',
      key: 'model, id',
      which: `model = '${model}'`,
      limits: strangers.limits,
    });
  const rooms = new Map(['Interaction', 'Session'].map((model) => [model, roomOf(model)]));

  const insert = (
    model: string,
    id: string,
    payload: AdapterPayload,
    expiresIn: number,
    owner?: GrantOwner,
    network?: string,
  ) =>
    db.query(
      `insert into oidc_models
         (model, id, payload, uid, grant_id, account_id, expires_at, client_id, status_list, status_idx, network)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
       on conflict (model, id) do update set payload = excluded.payload, uid = excluded.uid,
         grant_id = excluded.grant_id, account_id = excluded.account_id, expires_at = excluded.expires_at,
         network = case when excluded.account_id is null then oidc_models.network end
       where oidc_models.consumed_at is null`,
      [
        model,
        idOf(model, id),
        stored(payload),
        payload.uid ?? null,
        payload.grantId ?? null,
        payload.accountId ?? null,
        now() + expiresIn * 1000,
        owner?.clientId ?? null,
        owner?.place.list ?? null,
        owner?.place.idx ?? null,
        network ?? null,
      ],
    );

  const adapter = (model: string): Adapter => ({
    async upsert(id, payload, expiresIn) {
      const room = payload.accountId === undefined ? rooms.get(model) : undefined;
      const network = room && strangers.network();
      await insert(model, id, payload, expiresIn!, undefined, network);
      if (network !== undefined) await room!.added(network);
    },
    async find(id) {
      const {
        rows: [row],
      } = await db.query<Row>('select payload, consumed_at from oidc_models where model = $1 and id = $2', [
        model,
        idOf(model, id),
      ]);
      return row && loaded(row, id);
    },
    async findByUid(uid) {
      const {
        rows: [row],
      } = await db.query<Row>('select payload, consumed_at from oidc_models where model = $1 and uid = $2', [
        model,
        uid,
      ]);
      return row && loaded(row);
    },
    async findByUserCode() {
      return undefined;
    },
    async consume(id) {
      const { rowCount } = await db.query(
        'update oidc_models set consumed_at = $1 where model = $2 and id = $3 and consumed_at is null',
        [now(), model, idOf(model, id)],
      );
      if (rowCount === 0) throw new errors.InvalidGrant('already used');
    },
    async destroy(id) {
      await db.query('delete from oidc_models where model = $1 and id = $2', [model, idOf(model, id)]);
    },
    async revokeByGrantId(grantId) {
      await db.query('delete from oidc_models where model = $1 and grant_id = $2', [model, grantId]);
    },
  });

  // oidc-provider writes a session back at the end of each request that read it (lib/shared/session.js). Were the row
  // simply gone, a request under way during a sign-out would sign the person in again. So an ended one leaves a mark.
  const sessions = adapter('Session');
  const sessionAdapter: SessionAdapter = {
    ...sessions,
    async find(id) {
      const found = await sessions.find(id);
      return found?.consumed ? undefined : found;
    },
    async destroy(id) {
      await db.transaction(async (tx) =>
        statuses.noteLogouts(tx, await endSessions(tx, 'id', idOf('Session', id), now)),
      );
      await statuses.announce();
    },
    async replaced(id) {
      await db.query(`${endSession} and id = $4`, [now(), now() + longestRequestMs, 'Session', idOf('Session', id)]);
    },
  };

  // A grant has its place in the status lists from its first save on: an update leaves it, whatever it was read with.
  const grantAdapter: Adapter = {
    ...adapter('Grant'),
    async upsert(id, { status, ...payload }: AdapterPayload & { status?: Place }, expiresIn) {
      const place = status ?? (await statuses.take());
      await insert('Grant', id, payload, expiresIn!, { clientId: payload.clientId!, place });
    },
    async find(id) {
      const {
        rows: [row],
      } = await db.query<Row & { status_list: number; status_idx: number }>(
        `select payload, consumed_at, status_list, status_idx from oidc_models
         where model = 'Grant' and id = $1 and consumed_at is null`,
        [id],
      );
      return row && { ...loaded(row, id), status: { list: row.status_list, idx: row.status_idx } };
    },
    async destroy(id) {
      await db.transaction((tx) => endGrants(tx, { grantId: id }, statuses, now));
      await statuses.announce();
    },
  };

  const clientAdapter = {
    ...adapter('Client'),
    find: findClient,
    upsert: refuseClientWrite,
    destroy: refuseClientWrite,
  };

  return {
    adapter(model) {
      if (model === 'Client') return clientAdapter;
      if (model === 'Grant') return grantAdapter;
      return model === 'Session' ? sessionAdapter : adapter(model);
    },

    ...createRefreshTokens(db),

    async sweep(at, answersBefore, limit) {
      const expired = await db.query(
        `delete from oidc_models where (model, id) in
           (select model, id from oidc_models where expires_at <= $1 order by expires_at limit $2)`,
        [at, limit],
      );
      const answers = await db.query(
        `update oidc_models set sealed_answer = null where (model, id) in
           (select model, id from oidc_models where sealed_answer is not null and rotated_at <= $1 limit $2)`,
        [answersBefore, limit],
      );
      return expired.rowCount + answers.rowCount;
    },
  };
}

interface GrantOwner {
  clientId: string;
  place: Place;
}

/**
 * Ends grants and all that hangs on them, in the given transaction: their bits are set, their codes and refresh tokens
 * are worthless. Answers how many grants there were.
 */
export async function endGrants(
  tx: Queryable,
  whose: Whose,
  statuses: Pick<GrantStatuses, 'revoke'>,
  now: () => number = Date.now,
): Promise<number> {
  const [condition, value] = conditionOf(whose);
  for (let ended = 0; ; ) {
    // What was ended is no longer found, so the next statement begins where this one stopped.
    const { rows } = await tx.query<{ id: string; status_list: number; status_idx: number }>(
      `${endGrant} and id in
         (select id from oidc_models where model = 'Grant' and consumed_at is null and ${condition} limit $4)
       returning id, status_list, status_idx`,
      [now(), now() + longestRequestMs, value, grantsPerStatement],
    );
    await statuses.revoke(tx, rows.map(bearerOf));
    ended += rows.length;
    if (rows.length < grantsPerStatement) return ended;
  }
}

function bearerOf(row: { id: string; status_list: number; status_idx: number }): Bearer {
  return { grantId: row.id, place: { list: row.status_list, idx: row.status_idx } };
}

function conditionOf(whose: Whose): [condition: string, value: string] {
  if (whose === 'everyone') return ['cast($3 as text) is not null', ''];
  if ('grantId' in whose) return ['id = $3', whose.grantId];
  return 'accountId' in whose ? ['account_id = $3', whose.accountId] : ['client_id = $3', whose.clientId];
}

/** Ends sessions, in the given transaction. Answers whom to tell: the applications that they let in. */
async function endSessions(
  tx: Queryable,
  column: 'id' | 'account_id',
  value: string,
  now: () => number,
): Promise<LogoutNotice[]> {
  // Marked first, and emptied then: whoever marked it has read the last that was written.
  const { rows } = await tx.query<{ payload: string }>(
    `update oidc_models set consumed_at = $1, expires_at = $2
     where model = 'Session' and consumed_at is null and ${column} = $3 returning payload`,
    [now(), now() + longestRequestMs, value],
  );
  await tx.query(
    `update oidc_models set payload = '{}', uid = null, account_id = null
     where model = 'Session' and consumed_at is not null and ${column} = $1`,
    [value],
  );
  return rows.flatMap(({ payload }) => {
    const { accountId, authorizations = {} } = JSON.parse(payload) as SessionPayload;
    if (accountId === undefined) return [];
    return Object.entries(authorizations).flatMap(([clientId, { sid, grantId }]) =>
      grantId === undefined ? [] : [{ clientId, accountId, sid }],
    );
  });
}

/** Ends the sessions of a person, in the given transaction, before their grants: they sign in again. */
export async function endSessionsOf(
  tx: Queryable,
  accountId: string,
  statuses: Pick<GrantStatuses, 'noteLogouts'>,
  now: () => number = Date.now,
): Promise<void> {
  const inSessions = await endSessions(tx, 'account_id', accountId, now);
  // Where the session has expired, what an application made of it may go on.
  const { rows } = await tx.query<{ client_id: string }>(
    `select distinct client_id from oidc_models
     where model = 'Grant' and account_id = $1 and client_id is not null and consumed_at is null`,
    [accountId],
  );
  const others = rows
    .map(({ client_id: clientId }) => ({ clientId, accountId }))
    .filter(({ clientId }) => !inSessions.some((known) => known.clientId === clientId));
  await statuses.noteLogouts(tx, [...inSessions, ...others]);
}

/**
 * Ends the sessions of a person that rest on one of these sessions elsewhere, and the grants that do. A mere sign-out
 * (`offline` false) leaves what is to go on without the person, as oidc-provider's own does
 * (lib/actions/end_session.js). Answers whether anything is left.
 */
export async function endResting(
  tx: Queryable,
  accountId: string,
  upstream: readonly string[],
  { offline }: { offline: boolean },
  statuses: Pick<GrantStatuses, 'revoke' | 'noteLogouts'>,
  now: () => number = Date.now,
): Promise<boolean> {
  const { rows } = await tx.query<{ model: string; id: string; payload: string }>(
    `select model, id, payload from oidc_models
     where account_id = $1 and model in ('Session', 'Grant') and consumed_at is null`,
    [accountId],
  );
  const resting = rows
    .map(({ model, id, payload }) => ({ model, id, ...(JSON.parse(payload) as SessionPayload) }))
    .filter((row) => row.upstream !== undefined && upstream.includes(row.upstream));
  const sessions = resting.filter(({ model }) => model === 'Session');
  const all = resting.filter(({ model }) => model === 'Grant').map(({ id }) => id);
  const grants = offline
    ? all
    : sessions
        .flatMap(({ authorizations = {} }) => Object.values(authorizations))
        .flatMap(({ grantId, persistsLogout }) => (grantId === undefined || persistsLogout ? [] : [grantId]));
  for (const { id } of sessions) await statuses.noteLogouts(tx, await endSessions(tx, 'id', id, now));
  for (const grantId of grants) await endGrants(tx, { grantId }, statuses, now);
  return all.some((id) => !grants.includes(id));
}

/** What of a session is read here; of a grant, `upstream`. */
interface SessionPayload {
  accountId?: string;
  upstream?: string;
  authorizations?: Record<string, { sid?: string; grantId?: string; persistsLogout?: boolean }>;
}

/** What a person lets an application do. */
export interface GrantSummary {
  grantId: string;
  clientId: string;
  /** The APIs it is for. */
  audiences: string[];
  since: Date;
  until: Date;
}

export async function listGrants(db: Queryable, accountId: string): Promise<GrantSummary[]> {
  const { rows } = await db.query<{ id: string; payload: string; client_id: string; expires_at: number }>(
    `select id, payload, client_id, expires_at from oidc_models
     where model = 'Grant' and account_id = $1 and consumed_at is null order by id`,
    [accountId],
  );
  return rows
    .map(({ id, payload, client_id: clientId, expires_at: expiresAt }) => {
      const { resources = {}, iat = 0 } = JSON.parse(payload) as { resources?: Record<string, string>; iat?: number };
      return {
        grantId: id,
        clientId,
        audiences: Object.keys(resources).map(audienceOf),
        since: new Date(iat * 1000),
        until: new Date(expiresAt),
      };
    })
    .sort((a, b) => a.since.getTime() - b.since.getTime());
}

/** Whose a grant is; undefined where there is none, or it has ended. */
export async function ownerOfGrant(
  db: Queryable,
  grantId: string,
): Promise<{ accountId: string; clientId: string } | undefined> {
  const {
    rows: [row],
  } = await db.query<{ account_id: string; client_id: string }>(
    `select account_id, client_id from oidc_models where model = 'Grant' and id = $1 and consumed_at is null`,
    [grantId],
  );
  return row && { accountId: row.account_id, clientId: row.client_id };
}

/**
 * Ends every session, grant, code and refresh token there is, and every sign-in that is under way: everybody signs in
 * again. Answers how many rows went. No application is told: all would be, of everybody, at once.
 * A refresh that is under way may still store its successor, but its grant is gone and the next refresh is refused.
 */
export async function cutSessions(
  tx: Queryable,
  statuses: Pick<GrantStatuses, 'revoke'>,
  now: () => number = Date.now,
): Promise<number> {
  const sessions = await tx.query(endSession, [now(), now() + longestRequestMs, 'Session']);
  const grants = await endGrants(tx, 'everyone', statuses, now);
  const rest = await tx.query(
    `delete from oidc_models where model in ('AuthorizationCode', 'RefreshToken', 'Interaction')`,
  );
  return sessions.rowCount + grants + rest.rowCount;
}

function refuseClientWrite(): never {
  throw new Error('applications are written by clients.ts alone');
}
