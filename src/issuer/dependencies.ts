// What the issuer is made of, and server.ts hands it.

import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import type { Apis } from '../clients/apis.ts';
import type { Clients } from '../clients/clients.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { RoomLimits } from '../database/row-limits.ts';
import type { Runs } from '../database/runs.ts';
import type { GrantEnding } from '../grants/ending.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import type { StatusIndexes } from '../status-list/indexes.ts';
import type { StatusListPublisher } from '../status-list/lists.ts';
import type { SecretThrottle } from '../web/secret-throttle.ts';
import type { JwksFetch } from './metadata-responses.ts';
import type { ProviderPages } from './pages.ts';
import type { UpstreamProvider } from './upstream-session.ts';

export interface IssuerDependencies {
  config: Config;
  db: Database;
  accounts: Accounts;
  clients: Clients;
  apis: Apis;
  audit: Audit;
  seal: Seal;
  log: Log;
  pages: ProviderPages;
  /** Told of every JWKS that was served, at once and without waiting. */
  jwksServed?: (fetch: JwksFetch) => void;
  ending: GrantEnding;
  statusIndexes: Pick<StatusIndexes, 'allocate' | 'ofClient'>;
  statusLists: Pick<StatusListPublisher, 'uriOf'>;
  /** Shared with whatever else authenticates applications. */
  secretThrottle: SecretThrottle;
  /** Where people also sign in elsewhere. */
  upstream?: UpstreamProvider | undefined;
  /** How many sign-ins may be under way, and how many sessions there may be in which nobody is signed in. */
  room?: Partial<RoomLimits> | undefined;
  now?: () => number;
  /** The same, not from an estimate. */
  exactNow?: () => Promise<number>;
  /** Who died, and may have left a refresh without its answer. Default: nobody ever does. */
  runs?: Pick<Runs, 'mayBeUnanswered'> | undefined;
  /** `oidc-provider`: it answers every request to the token endpoint, also those that have a short way. */
  tokenEndpoint?: 'oidc-provider' | undefined;
}
