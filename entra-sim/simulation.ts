// The state that the endpoints share. Tests do not see it: they hold the EntraSim of index.ts.

import type { App } from './applications.ts';
import type { CallbackDoctoring } from './callback.ts';
import type { Clock } from './clock.ts';
import type { DiscoveryDoctoring } from './discovery.ts';
import type { Faults } from './faults.ts';
import type { GraphSettings } from './graph.ts';
import type { IdTokenDoctoring } from './id-token.ts';
import type { Keys } from './keys.ts';
import type { RequestLog } from './requests.ts';
import type { Rules } from './rules.ts';
import type { Directory } from './tenants.ts';
import type { TokenResponseDoctoring } from './token.ts';
import type { User } from './users.ts';

export interface Lifetimes {
  idTokenSeconds: number;
  accessTokenSeconds: number;
  codeSeconds: number;
  refreshTokenSeconds: number;
  /** Entra dates tokens back, so that a slow clock elsewhere does not refuse them: iat = nbf = now − this. */
  backdatedSeconds: number;
}

export const entraLifetimes: Readonly<Lifetimes> = {
  idTokenSeconds: 3600,
  accessTokenSeconds: 4500, // between 60 and 90 minutes, Microsoft says; fixed here, so that a test repeats
  codeSeconds: 600,
  refreshTokenSeconds: 90 * 86_400,
  backdatedSeconds: 300,
};

/** What Entra leaves open or what differs between its documents and its behaviour; each is a switch. */
export interface Habits {
  /** Whether a code is spent by a redemption whose client authentication failed. Not known of Entra. Default false. */
  failedClientAuthBurnsCode: boolean;
  /** Whether a refresh token may be used again after it was rotated. Entra tolerates it. Default true. */
  usedRefreshTokensStayValid: boolean;
  /** Whether a claim asked for by the `claims` parameter is sent without being an optional claim. Default true. */
  honoursClaimsParameter: boolean;
}

export const entraHabits: Readonly<Habits> = {
  failedClientAuthBurnsCode: false,
  usedRefreshTokensStayValid: true,
  honoursClaimsParameter: true,
};

/** One browser session at Microsoft. */
export interface Session {
  cookie: string;
  sid: string;
  user: User;
  authTimeSeconds: number;
}

/** What a test may decide by who signs in. */
export interface SignInHints {
  loginHint?: string | undefined;
  domainHint?: string | undefined;
  state?: string | undefined;
}

/** A validated authorization request. */
export interface AuthorizeRequest {
  app: App;
  authority: string;
  redirectUri: string;
  responseMode: 'query' | 'form_post' | 'fragment';
  scopes: readonly string[];
  state: string | undefined;
  nonce: string | undefined;
  prompt: string | undefined;
  loginHint: string | undefined;
  domainHint: string | undefined;
  maxAgeSeconds: number | undefined;
  challenge: string | undefined;
  challengeMethod: string;
  wantsClientInfo: boolean;
  claims: ClaimsParameter;
}

/** OIDC Core §5.5, as far as ID tokens go. */
export interface ClaimsParameter {
  id_token?: Record<string, { essential?: boolean; value?: unknown; values?: unknown[] } | null>;
}

/** What a code or a refresh token stands for. */
export interface Grant {
  app: App;
  user: User;
  scopes: readonly string[];
  nonce: string | undefined;
  sid: string;
  authTimeSeconds: number;
  maxAgeSeconds: number | undefined;
  claims: ClaimsParameter;
  issuedAtMs: number;
}

export interface CodeGrant extends Grant {
  redirectUri: string;
  challenge: string | undefined;
  challengeMethod: string;
  redeemed: boolean;
}

export interface RefreshGrant extends Grant {
  revoked: boolean;
}

export interface AccessGrant {
  user: User;
  app: App;
  scopes: readonly string[];
  expiresAtMs: number;
}

export interface Simulation {
  clock: Clock;
  keys: Keys;
  directory: Directory;
  apps: App[];
  log: RequestLog;
  lifetimes: Lifetimes;
  habits: Habits;
  graph: GraphSettings;
  faults: Faults;
  idTokens: Rules<IdTokenDoctoring>;
  tokenResponses: Rules<TokenResponseDoctoring>;
  callbacks: Rules<CallbackDoctoring>;
  discoveries: Rules<DiscoveryDoctoring>;
  sessions: Map<string, Session>;
  codes: Map<string, CodeGrant>;
  refreshTokens: Map<string, RefreshGrant>;
  accessTokens: Map<string, AccessGrant>;
  /** Authorization requests that wait at the account picker. */
  waiting: Map<string, AuthorizeRequest>;
  /** Who signs in without being asked; undefined: the picker asks. */
  pick(asked: SignInHints): User | undefined;
  /** Seconds that the picker's "MFA takes long" waits. */
  longMfaSeconds: number;
}
