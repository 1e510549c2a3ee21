// Who somebody is according to an ID token of Entra's that was verified (verification.ts): from its claims to an
// EntraIdentity. Every claim but tid, oid and sub can be missing, misspelt, or written by an administrator of some
// other tenant, and is read accordingly. What that person may be here is account-linking.ts.

import type { EntraConfig } from '../config/config.ts';
import { cloudOf, consumersTenant, tenantIssuer } from './clouds.ts';
import type { VerifiedClaims } from './verification.ts';

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

/** What the token itself says of groups; `ask_graph`: too many for a token, or the configuration wants more. */
type GroupsClaim = Exclude<Groups, { kind: 'unavailable' }> | { kind: 'ask_graph' };

export function identityFrom(claims: VerifiedClaims, config: EntraConfig, groups: Groups): EntraIdentity {
  const optional = {
    name: text(claims['name']),
    givenName: text(claims['given_name']),
    familyName: text(claims['family_name']),
    preferredUsername: text(claims['preferred_username']),
    email: emailFrom(claims['email']),
    sid: text(claims['sid']),
    loginHint: text(claims['login_hint'], 2048),
    authTime: typeof claims['auth_time'] === 'number' ? claims['auth_time'] : undefined,
  };
  return {
    cloud: cloudOf(config).name,
    tid: claims.tid,
    oid: claims.oid,
    pairwiseSub: claims.sub,
    ...withoutUndefined(optional),
    emailVerified: isEmailVerified(optional.email, claims, config),
    guest: guestStatus(claims, config) === 'guest',
    appRoles: strings(claims['roles']).filter((role) => role.length <= 200),
    groups,
    acrs: strings(claims['acrs']),
  };
}

/**
 * Whether the person's account is the tenant's own: no guest's, and not that of a member who is at home elsewhere.
 * Where no claim tells, it is not.
 */
function isAtHome(claims: VerifiedClaims, config: EntraConfig): boolean {
  const { idp } = claims;
  const isOwn = idp === undefined || idp === tenantIssuer(cloudOf(config), claims.tid);
  return isOwn && guestStatus(claims, config) === 'member';
}

/**
 * `unknown`: no claim tells. Entra sends `acct` where the app registration asks for it as an optional claim, and `idp`
 * for people whose account is kept elsewhere.
 */
export function guestStatus(claims: VerifiedClaims, config: EntraConfig): 'guest' | 'member' | 'unknown' {
  const { acct, idp } = claims;
  if (acct === 0 || acct === '0') return 'member';
  if (acct !== undefined) return 'guest';
  if (idp === undefined) return 'unknown';
  return idp === tenantIssuer(cloudOf(config), claims.tid) ? 'member' : 'guest';
}

export function groupsClaim(claims: VerifiedClaims, { groups: { forceGraph } }: EntraConfig): GroupsClaim {
  const { groups, hasgroups, _claim_names: elsewhere } = claims;
  if (claims.tid === consumersTenant) return { kind: 'absent' }; // Graph answers for work accounts only
  // _claim_sources names the place to ask, and is not read: it is a host that was shut down in 2025, or whatever
  // somebody wrote there, and it would be given an access token.
  const isOverage =
    hasgroups === true ||
    hasgroups === 'true' ||
    (typeof elsewhere === 'object' && elsewhere !== null && Object.hasOwn(elsewhere, 'groups'));
  if (isOverage || forceGraph) return { kind: 'ask_graph' };
  if (groups === undefined) return { kind: 'absent' };
  return { kind: 'complete', ids: groupIds(strings(groups)) };
}

/** GUIDs only: a group's name is chosen by whoever makes a group. */
export function groupIds(values: readonly string[]): string[] {
  const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
  return [...new Set(values.filter((value) => guid.test(value)).map((value) => value.toLowerCase()))];
}

export function onlyAllowed(groups: Groups, { groups: { allowList } }: EntraConfig): Groups {
  if (groups.kind !== 'complete' || allowList.length === 0) return groups;
  const allowed = new Set(allowList);
  return { kind: 'complete', ids: groups.ids.filter((id) => allowed.has(id)) };
}

function isEmailVerified(email: string | undefined, claims: VerifiedClaims, config: EntraConfig): boolean {
  // Letters that look like others, or lower-case into them, verify nothing.
  if (email === undefined || !/^[\x21-\x7e]+$/.test(email)) return false;
  // Documented as a Boolean, and seen as '1'.
  const { xms_edov: edov } = claims;
  if (edov === true || edov === 1 || edov === '1' || edov === 'true') return true;
  // Who owns the domain gives out its addresses, but those of guests were written where they are at home.
  return (
    isAtHome(claims, config) &&
    config.trustedEmailDomains.includes(email.slice(email.lastIndexOf('@') + 1).toLowerCase())
  );
}

function emailFrom(value: unknown): string | undefined {
  const email = text(value, 254);
  return email !== undefined && /^[^\s@]+@[^\s@]+$/.test(email) ? email : undefined;
}

function text(value: unknown, longest = 256): string | undefined {
  if (typeof value !== 'string' || value === '' || value.length > longest) return undefined;
  return /[\p{Cc}\p{Cs}]/u.test(value) ? undefined : value;
}

/** A string where an array belongs is not an array of one: which it was meant to be, nobody knows. */
function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

function withoutUndefined<T extends object>(given: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;
}
