// What a code or a refresh token rests on: its grant, the session that it is bound to, and the person. Read in the one
// statement that reads the token, so that all of it is of the same moment.

import { type Account, accountColumnsOf, type JoinedAccount, joinAccount, joinedAccount } from '../accounts/account.ts';
import type { StatusIndex } from '../status-list/indexes.ts';

/** What is there of it, and has not ended. */
export interface Backing {
  grant: (GrantPayload & { status: StatusIndex }) | undefined;
  session: { accountId: string | undefined; expiresAt: number } | undefined;
  account: Account | undefined;
}

/** What is stored of a grant: oidc-provider's (lib/models/grant.js), and ours. */
export interface GrantPayload {
  accountId?: string;
  clientId?: string;
  /** Epoch seconds. */
  exp?: number;
  openid?: { scope?: string };
  /** By API, as `resource` names it: scopes. */
  resources?: Record<string, string>;
  rejected?: object;
  upstream?: string;
}

/** For a select from a table `token` with columns grant_id, session_uid and account_id. */
export const backingColumns = `issued.payload as grant_payload, issued.status_list, issued.status_idx,
  browser.account_id as session_account_id, browser.expires_at as session_expires_at, ${accountColumnsOf('person')}`;

export const backingJoins = `
  left join oidc_models issued on issued.model = 'Grant' and issued.id = token.grant_id and issued.consumed_at is null
  left join oidc_models browser
    on browser.model = 'Session' and browser.uid = token.session_uid and browser.consumed_at is null
  ${joinAccount('person', 'token.account_id')}`;

export interface BackingRow extends JoinedAccount {
  grant_payload: string | null;
  status_list: number | null;
  status_idx: number | null;
  session_account_id: string | null;
  session_expires_at: number | null;
}

export function backingOf(row: BackingRow): Backing {
  const { grant_payload: grant, status_list: list, status_idx: idx, session_expires_at: expiresAt } = row;
  return {
    grant: grant === null ? undefined : { ...(JSON.parse(grant) as GrantPayload), status: { list: list!, idx: idx! } },
    session: expiresAt === null ? undefined : { accountId: row.session_account_id ?? undefined, expiresAt },
    account: joinedAccount(row),
  };
}
