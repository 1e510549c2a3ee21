// The wing of Microsoft Entra ID, an upstream identity provider: opens what signing in, signing out and checking again
// need, and is all of it that the server knows. Nothing here asks the network.

import type Router from '@koa/router';
import type { Dispatcher } from 'undici';
import type { Accounts } from '../accounts/accounts.ts';
import type { Identities } from '../accounts/identities.ts';
import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import type { SharedClock } from '../database/clock.ts';
import type { Database } from '../database/database.ts';
import type { RoomLimits } from '../database/row-limits.ts';
import type { Subscription } from '../database/subscribe.ts';
import type { Grants } from '../grants/grants.ts';
import type { UpstreamProvider } from '../issuer/upstream-session.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { createAccountLinking } from './account-linking.ts';
import type { ConnectorHealth } from './connector.ts';
import type { KeyRefreshes } from './key-refreshes.ts';
import { createEntraSignIn, type EntraSignIn } from './sign-in.ts';
import { createEntraSignOut } from './sign-out.ts';
import { createUpstreamSessions } from './upstream-sessions.ts';
import { createUpstreamStatus } from './upstream-status.ts';

export interface EntraWing {
  readonly signIn: EntraSignIn;
  /** Where Microsoft sends browsers after a sign-out, and what its own sign-out page loads. */
  readonly signOutRoutes: Router;
  /** What the issuer asks of it. */
  readonly upstream: UpstreamProvider;
  /** What the issuer's sign-out page says of it; absent where a sign-out here ends nothing there. */
  readonly upstreamSignOut: { label: string; logoutUrl: string; asks: boolean } | undefined;
  /** Microsoft's signing keys. */
  readonly keys: Pick<KeyRefreshes, 'ask'> & Pick<Subscription, 'poll'>;
  readonly sweeps: ReadonlyArray<(now: number, limit: number) => Promise<number>>;
  health(): ConnectorHealth;
  close(): Promise<void>;
}

interface EntraParts {
  issuer: string;
  db: Database;
  clock: SharedClock;
  seal: Seal;
  audit: Audit;
  accounts: Accounts;
  identities: Identities;
  grants: Pick<Grants, 'ended' | 'endOfUpstreamSessions'>;
  entraKeys: KeyRefreshes;
  /** Seconds that a grant lives, and with it what is kept of a session at Microsoft. */
  grantLife: number;
  log: Log;
  /** Makes the connections to Microsoft, instead of this process's own network. */
  dispatcher?: Dispatcher | undefined;
  room?: Partial<RoomLimits> | undefined;
}

export async function openEntra(config: EntraConfig, parts: EntraParts): Promise<EntraWing> {
  const { issuer, db, seal, audit, accounts, identities, grants, entraKeys, grantLife, log, dispatcher, room } = parts;
  const { now } = parts.clock;
  // MSAL and its network stack are slow to load: only a server that signs people in with Microsoft waits for them.
  const { createEntraConnector } = await import('./connector.ts');
  const connector = createEntraConnector({ config, issuer, db, seal, log, dispatcher, room, now });
  // A grant's last refresh token may be renewed until the grant's end, and a session be used as long.
  const sessions = createUpstreamSessions(db, seal, 2 * grantLife, now);
  const accountLinking = createAccountLinking({ config, db, accounts, identities, audit, tokensEnded: grants.ended });
  const status = createUpstreamStatus({
    config,
    connector,
    sessions,
    accountLinking,
    audit,
    log,
    now,
    endUpstream: (accountId, upstream) => grants.endOfUpstreamSessions(accountId, upstream, { offline: true }),
  });
  const signOut = createEntraSignOut({
    config,
    issuer,
    connector,
    sessions,
    seal,
    audit,
    log,
    now,
    endSessions: (accountId, upstream) => grants.endOfUpstreamSessions(accountId, upstream, { offline: false }),
  });
  const { label, logout } = config;
  const logoutUrl = connector.logoutUrl({ postLogoutRedirectUri: issuer });
  try {
    const refreshes = await entraKeys.subscribe(connector.invalidateKeys, log);
    return {
      signIn: createEntraSignIn({ config, connector, accounts, accountLinking, sessions, audit, log }),
      signOutRoutes: signOut.routes(),
      upstream: { statusOf: status.of, afterSignOut: signOut.afterSignOut },
      upstreamSignOut:
        logout.propagate === 'never' ? undefined : { label, logoutUrl, asks: logout.propagate === 'ask' },
      keys: { ask: entraKeys.ask, poll: refreshes.poll },
      sweeps: [connector.sweepExpired, sessions.sweepExpired],
      health: connector.health,
      async close() {
        await refreshes.stop();
        connector.close();
      },
    };
  } catch (error) {
    connector.close();
    throw error;
  }
}
