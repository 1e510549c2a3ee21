// Grants (RFC 6749 §1.3) and sessions as rows: how they are read, listed and ended. Owns, with model-rows.ts, the table
// oidc_models. When to end one: grants.ts. What follows from it: ending.ts.

import type { AdapterPayload } from 'oidc-provider';
import type { LogoutNotice } from '../backchannel-logout/queue.ts';
import { audienceOf } from '../clients/apis.ts';
import type { Queryable } from '../database/database.ts';
import type { StatusHolder, StatusIndex } from '../status-list/indexes.ts';
import type { GrantEnding } from './ending.ts';
import { idOf, loaded, type ModelRow } from './model-rows.ts';

/** Whose grants: one, those of a person, those given to an application, or all there are. */
type Whose = { grantId: string } | { accountId: string } | { clientId: string } | 'everyone';

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

/** A grant that has not ended, with its status index. */
export async function findGrant(db: Queryable, id: string): Promise<StoredGrant | undefined> {
  const {
    rows: [row],
  } = await db.query<GrantRow>(
    `select payload, consumed_at, status_list, status_idx, uid from oidc_models
     where model = 'Grant' and id = $1 and consumed_at is null`,
    [id],
  );
  return row && grantFromRow(row, id);
}

export interface GrantRow extends ModelRow {
  status_list: number;
  status_idx: number;
  /** Of the session that it was made in. */
  uid: string | null;
}

export type StoredGrant = AdapterPayload & { status: StatusIndex; sessionUid?: string };

export const grantFromRow = (row: GrantRow, id: string): StoredGrant => ({
  ...loaded(row, id),
  status: { list: row.status_list, idx: row.status_idx },
  ...(row.uid === null ? {} : { sessionUid: row.uid }),
});

/**
 * Ends grants and all that hangs on them, in the given transaction: their bits are set, their codes and refresh tokens
 * are worthless. Answers how many grants there were.
 */
export async function endGrants(
  tx: Queryable,
  whose: Whose,
  ending: Pick<GrantEnding, 'revoke'>,
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
    await ending.revoke(tx, rows.map(holderOf));
    ended += rows.length;
    if (rows.length < grantsPerStatement) return ended;
  }
}

function holderOf(row: { id: string; status_list: number; status_idx: number }): StatusHolder {
  return { grantId: row.id, index: { list: row.status_list, idx: row.status_idx } };
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

/** Ends the session behind a cookie, in the given transaction, and notes whom to tell. */
export async function endSessionBehind(
  tx: Queryable,
  cookie: string,
  ending: Pick<GrantEnding, 'notify'>,
  now: () => number = Date.now,
): Promise<void> {
  await ending.notify(tx, await endSessions(tx, 'id', idOf('Session', cookie), now));
}

/** A session has got another id: nothing is found or written under this one any more. */
export async function retireSessionId(db: Queryable, cookie: string, now: () => number): Promise<void> {
  await db.query(`${endSession} and id = $4`, [now(), now() + longestRequestMs, 'Session', idOf('Session', cookie)]);
}

/** Ends the sessions of a person, in the given transaction, before their grants: they sign in again. */
export async function endSessionsOf(
  tx: Queryable,
  accountId: string,
  ending: Pick<GrantEnding, 'notify'>,
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
  await ending.notify(tx, [...inSessions, ...others]);
}

/**
 * Ends the sessions of an account that rest on one of these upstream sessions, and the grants that do. A mere sign-out
 * (`offline` false) leaves what is to go on without the person, as oidc-provider's own does
 * (lib/actions/end_session.js). Answers whether anything is left.
 */
export async function endOfUpstreamSessions(
  tx: Queryable,
  accountId: string,
  upstream: readonly string[],
  { offline }: { offline: boolean },
  ending: Pick<GrantEnding, 'revoke' | 'notify'>,
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
  for (const { id } of sessions) await ending.notify(tx, await endSessions(tx, 'id', id, now));
  for (const grantId of grants) await endGrants(tx, { grantId }, ending, now);
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
  ending: Pick<GrantEnding, 'revoke'>,
  now: () => number = Date.now,
): Promise<number> {
  const sessions = await tx.query(endSession, [now(), now() + longestRequestMs, 'Session']);
  const grants = await endGrants(tx, 'everyone', ending, now);
  const rest = await tx.query(`delete from oidc_models where model in ('AuthorizationCode', 'Interaction')`);
  const refreshTokens = await tx.query('delete from refresh_tokens');
  return sessions.rowCount + grants + rest.rowCount + refreshTokens.rowCount;
}
