// Everything of signing in with Microsoft that does not need the issuer. Nothing here asks the network.

import type { Dispatcher } from 'undici';
import type { Accounts } from '../accounts/accounts.ts';
import type { Identities } from '../accounts/identities.ts';
import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import type { SharedClock } from '../database/clock.ts';
import type { Database } from '../database/database.ts';
import type { RoomLimits } from '../database/row-limits.ts';
import type { Grants } from '../grants/grants.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { createAccountLinking } from './account-linking.ts';
import { createEntraSignOut } from './sign-out.ts';
import { createUpstreamSessions } from './upstream-sessions.ts';
import { createRechecks } from './upstream-status.ts';

interface EntraParts {
  issuer: string;
  db: Database;
  clock: SharedClock;
  seal: Seal;
  audit: Audit;
  accounts: Accounts;
  identities: Identities;
  grants: Grants;
  /** Seconds that a grant lives, and with it what is kept of a session at Microsoft. */
  grantLife: number;
  log: Log;
  /** Makes the connections to Microsoft, instead of this process's own network. */
  dispatcher?: Dispatcher | undefined;
  room?: Partial<RoomLimits> | undefined;
}

export async function openEntra(entra: EntraConfig, parts: EntraParts) {
  const { issuer, db, seal, audit, accounts, identities, grants, grantLife, log, dispatcher, room } = parts;
  const {
    clock: { now },
  } = parts;
  // MSAL and its network stack are slow to load: only a server that signs people in with Microsoft waits for them.
  const { createEntraConnector } = await import('./connector.ts');
  const connector = createEntraConnector({ config: entra, issuer, db, seal, log, dispatcher, room, now });
  // A grant's last refresh token may be renewed until the grant's end, and a session be used as long.
  const sessions = createUpstreamSessions(db, seal, 2 * grantLife, now);
  const accountLinking = createAccountLinking({
    config: entra,
    db,
    accounts,
    identities,
    audit,
    tokensEnded: grants.ended,
  });
  const rechecks = createRechecks({
    config: entra,
    connector,
    sessions,
    accountLinking,
    audit,
    log,
    now,
    endUpstream: (accountId, upstream) => grants.endResting(accountId, upstream, { offline: true }),
  });
  const signOut = createEntraSignOut({
    config: entra,
    issuer,
    connector,
    sessions,
    seal,
    audit,
    log,
    now,
    endSessions: (accountId, upstream) => grants.endResting(accountId, upstream, { offline: false }),
  });
  const {
    label,
    logout: { propagate },
  } = entra;
  const logoutUrl = connector.logoutUrl({ postLogoutRedirectUri: issuer });
  return {
    config: entra,
    connector,
    sessions,
    accountLinking,
    signOut,
    upstream: { statusOf: rechecks.standing, afterSignOut: signOut.afterSignOut },
    upstreamSignOut: propagate === 'never' ? undefined : { label, logoutUrl, asks: propagate === 'ask' },
  };
}
