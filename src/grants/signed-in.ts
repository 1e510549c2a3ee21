// The session behind a cookie with what an authorization request goes by: its person, and the grant that it has for an
// application. Read in one statement, so that all of it is of the same moment.

import type { AdapterPayload } from 'oidc-provider';
import { type Account, accountColumnsOf, type JoinedAccount, joinAccount, joinedAccount } from '../accounts/account.ts';
import type { Queryable } from '../database/database.ts';
import { type GrantRow, grantFromRow, type StoredGrant } from './grant-rows.ts';
import { idOf, loaded, type ModelRow } from './model-rows.ts';

export interface SignedIn {
  session: AdapterPayload;
  /** The session's payload as it stands in the row. */
  text: string;
  account: Account | undefined;
  /** The application's that were made in this session and have not ended, by id. */
  grants: ReadonlyMap<string, StoredGrant>;
}

interface Row extends ModelRow, JoinedAccount {
  grant_id: string | null;
  grant_payload: string | null;
  status_list: number | null;
  status_idx: number | null;
  grant_uid: string | null;
}

// Grants are found by the session's uid. An index on applications, of which one may have a million grants, must not
// look like a better way to whoever plans this, so that column is an expression here.
const select = `select browser.payload, browser.consumed_at, ${accountColumnsOf('person')}, issued.id as grant_id,
    issued.payload as grant_payload, issued.status_list, issued.status_idx, issued.uid as grant_uid
  from oidc_models browser
  ${joinAccount('person', 'browser.account_id')}
  left join oidc_models issued on issued.uid = browser.uid and issued.model = 'Grant'
    and coalesce(issued.client_id, '') = $2 and issued.consumed_at is null
  where browser.model = 'Session' and browser.id = $1 and browser.consumed_at is null`;

/** Undefined where there is no such session, or it has ended. */
export async function findSignedIn(db: Queryable, cookie: string, clientId: string): Promise<SignedIn | undefined> {
  const { rows } = await db.query<Row>(select, [idOf('Session', cookie), clientId]);
  const [row] = rows;
  return (
    row && {
      session: loaded(row, cookie),
      text: row.payload,
      account: joinedAccount(row),
      grants: new Map(rows.flatMap((each) => (each.grant_id === null ? [] : [[each.grant_id, grantOf(each)]]))),
    }
  );
}

function grantOf({ grant_id: id, grant_payload: payload, grant_uid: uid, ...row }: Row): StoredGrant {
  return grantFromRow({ ...row, payload, uid, consumed_at: null } as GrantRow, id!);
}
