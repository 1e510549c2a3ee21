// What oidc-provider's models have of ours (models/): its own types know nothing of it.

import type { RegisteredClient } from '../clients/clients.ts';
import type { StatusIndex } from '../status-list/indexes.ts';
import type { SignedInSession } from './models/session.ts';
import type { UngrantedScope } from './scope.ts';
import type { UpstreamBound } from './upstream-session.ts';

declare module 'oidc-provider' {
  interface AccessToken {
    status: StatusIndex;
  }
  interface AuthorizationCode extends UngrantedScope {}
  interface Client {
    /** What it was made of (toMetadata in configuration.ts). */
    application: RegisteredClient;
  }
  interface ClientCredentials {
    status: StatusIndex;
  }
  interface Grant extends UpstreamBound {
    status: StatusIndex;
    /** Of the session that it was made in, by which it is found with it (grants/signed-in.ts). */
    sessionUid?: string;
  }
  interface RefreshToken extends UngrantedScope {}
  interface Session extends UpstreamBound {
    signedInAt?: SignedInSession['signedInAt'];
  }
}
