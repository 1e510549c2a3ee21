// What the two halves of the Entra sign-in say to each other: the connector proves who somebody is (everything below
// comes from an ID token that we verified, or from Graph); the rest of signin/ decides what that person may be here.

import type { Context } from 'koa';
import type { PendingSignIn } from '../issuer/issuer.ts';

/** What one verified Entra sign-in says. */
export interface EntraIdentity {
  /** EntraCloud's `name`. */
  cloud: string;
  /** Lower-case GUIDs. (cloud, tid, oid) is the person: an e-mail can be reassigned, or claimed in another tenant. */
  tid: string;
  oid: string;
  /** Another one when the app registration is made anew, so an attribute and never a key. */
  pairwiseSub: string;
  name?: string;
  givenName?: string;
  familyName?: string;
  preferredUsername?: string;
  email?: string;
  /** Entra itself says so (xms_edov), or the operator owns the domain and the tenant. */
  emailVerified: boolean;
  guest: boolean;
  appRoles: string[];
  groups: Groups;
  /** Microsoft's own session, which front-channel logout names. */
  sid?: string;
  /** Opaque, unlike the person's name: what a later request to Microsoft carries as login_hint or logout_hint. */
  loginHint?: string;
  /** Epoch seconds. */
  authTime?: number;
  /** Authentication contexts of Conditional Access that were met: c1 … c99. */
  acrs: string[];
  /** The acr_values entry that was asked of us and is met by `acrs`. */
  acr?: string;
  /** Present only where people are checked again at refresh. To be sealed before it is stored. */
  upstreamRefreshToken?: string;
}

/** Absent is not empty: no groups claim is configured, so nothing is known. */
export type Groups = { kind: 'complete'; ids: string[] } | { kind: 'absent' } | { kind: 'unavailable'; reason: string };

/** The account that the Microsoft account is to be connected to: the same browser has just proved its password. */
export interface ConnectTo {
  accountId: string;
  /** When it had last been signed out everywhere as that was proved: epoch milliseconds. */
  signedOutAt?: number;
}

export interface BeginOptions {
  /** An address: the downstream request's, or what the person typed. */
  loginHint?: string;
  /** The `loginHint` of the EntraIdentity who is to sign in anew. It goes before an address, which may have changed. */
  knownHint?: string;
  domainHint?: string;
  /** The downstream prompt, space-separated values allowed (OIDC Core §3.1.2.1). */
  prompt?: string;
  /** The downstream max_age, in seconds. */
  maxAge?: number;
  /** The downstream acr_values, in order of preference. */
  acrValues?: readonly string[];
  /** Goes along, sealed, and comes back with this trip and no other. */
  connectTo?: ConnectTo;
}

export interface FinishedSignIn {
  identity: EntraIdentity;
  uid: string;
  connectTo?: ConnectTo | undefined;
}

export type RecheckResult =
  | { outcome: 'ok'; identity: EntraIdentity }
  /** Disabled, deleted, unassigned, forbidden by policy, or somebody else: revoke what was built on it. */
  | { outcome: 'ended'; reason: string }
  /** Nobody could say: serve within the grace. */
  | { outcome: 'unreachable'; reason: string };

export interface ConnectorHealth {
  /** down: no credential is usable. degraded: Microsoft does not answer, or the second credential had to step in. */
  state: 'ok' | 'degraded' | 'down';
  /** Whether requests to Microsoft are held back after repeated failures. */
  isHeldBack: boolean;
  /** When credentials expire, of those of which that is known. */
  expiries: ReadonlyArray<{ which: 'primary' | 'secondary'; at: Date }>;
}

export interface EntraConnector {
  readonly id: 'entra';
  /**
   * Where to send the browser. Needs no network. Stores the sealed state, and sets a cookie on `ctx` that binds it to
   * this browser.
   */
  begin(ctx: Context, pending: Pick<PendingSignIn, 'uid'>, options: BeginOptions): Promise<string>;
  /**
   * Ends what `begin` began.
   * @throws {EntraError} what went wrong, in words for the person
   */
  finish(ctx: Context): Promise<FinishedSignIn>;
  /** Asks Microsoft whether the person of a refresh token is still who they were, and still may sign in. */
  recheck(upstreamRefreshToken: string, expected: { tid: string; oid: string }): Promise<RecheckResult>;
  logoutUrl(options: { postLogoutRedirectUri: string; loginHint?: string }): string;
  health(): ConnectorHealth;
  close(): void;
}
