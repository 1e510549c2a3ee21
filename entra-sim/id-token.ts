// ID tokens: the claims as Entra sends them, and every way in which a test wants them wrong.

import type { KeyObject } from 'node:crypto';
import { createHash, createHmac, randomBytes, randomUUID, sign as rsaSign } from 'node:crypto';
import { retiredGraphHost } from './hosts.ts';
import type { SigningKey } from './keys.ts';
import type { Rule } from './rules.ts';
import type { Grant, Simulation } from './simulation.ts';
import type { User } from './users.ts';
import { groupsInToken } from './users.ts';

export type Claims = Record<string, unknown>;

/**
 * Who signs. 'rogue': another key under the honest kid; 'rogue-kid': another key under its own, unpublished kid;
 * 'none': alg none, empty signature; 'hs256-secret': HMAC with the client secret; 'consumer': the key of personal
 * accounts; 'tampered': signed honestly, then edited; 'other-tenant': a published key whose issuer is another tenant.
 */
type Signer =
  | 'good'
  | 'rogue'
  | 'rogue-kid'
  | 'none'
  | 'hs256-secret'
  | 'consumer'
  | 'tampered'
  | 'other-tenant'
  | SigningKey;

/** What the next ID token looks like instead. Applies once unless `times` says otherwise. */
export interface IdTokenDoctoring extends Rule {
  sign?: Signer;
  /** Set over the honest claims; a function is given them. */
  claims?: Claims | ((honest: Claims) => Claims);
  drop?: readonly string[];
  /** Set over the honest header. */
  header?: Record<string, unknown>;
  /** Sent in the token's place. */
  raw?: string;
  /** No id_token in the response at all. */
  absent?: true;
}

/** The ID token for a grant, in compact form; undefined where a test wants none. */
export async function issueIdToken(
  sim: Simulation,
  grant: Grant,
  origin: string,
  doctoring: IdTokenDoctoring = {},
): Promise<string | undefined> {
  if (doctoring.absent) return undefined;
  if (doctoring.raw !== undefined) return doctoring.raw;

  const honest = honestClaims(sim, grant, origin);
  const over = typeof doctoring.claims === 'function' ? doctoring.claims(honest) : doctoring.claims;
  const entries = Object.entries({ ...honest, ...over }).filter(([name]) => !doctoring.drop?.includes(name));
  const doctored = Object.fromEntries(entries);

  const honestKey = grant.user.tenant.isConsumers ? sim.keys.consumer : sim.keys.active;
  const { sign = 'good', header = {} } = doctoring;
  if (sign === 'none') return unsigned({ typ: 'JWT', alg: 'none', ...header }, doctored);
  if (sign === 'hs256-secret') {
    return hmacSigned({ typ: 'JWT', alg: 'HS256', kid: honestKey.kid, ...header }, doctored, grant.app.secret);
  }
  if (sign === 'tampered') {
    const honestHeader = { typ: 'JWT', alg: 'RS256', kid: honestKey.kid, ...header };
    const [head, , signature] = signJwt(honestHeader, honest, honestKey.privateKey).split('.');
    return `${head}.${base64url(doctored)}.${signature}`;
  }
  const { key, kid } = await signer(sim, sign, honestKey);
  return signJwt({ typ: 'JWT', alg: 'RS256', kid, ...header }, doctored, key);
}

async function signer(sim: Simulation, sign: Signer, honest: SigningKey): Promise<{ key: KeyObject; kid: string }> {
  if (sign === 'rogue') return { key: sim.keys.rogue.privateKey, kid: honest.kid };
  const chosen =
    typeof sign === 'object'
      ? sign
      : sign === 'rogue-kid'
        ? sim.keys.rogue
        : sign === 'consumer'
          ? sim.keys.consumer
          : sign === 'other-tenant'
            ? await sim.keys.ofTenant(randomUUID())
            : honest;
  return { key: chosen.privateKey, kid: chosen.kid };
}

/**
 * RS256 in three lines, by node:crypto and not by jose: the product verifies with jose, and a library on both sides of
 * a test agrees with itself.
 */
export function signJwt(header: Record<string, unknown>, claims: Claims, key: KeyObject): string {
  const input = `${base64url(header)}.${base64url(claims)}`;
  return `${input}.${rsaSign('RSA-SHA256', Buffer.from(input), key).toString('base64url')}`;
}

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const unsigned = (header: Record<string, unknown>, claims: Claims) => `${base64url(header)}.${base64url(claims)}.`;

function hmacSigned(header: Record<string, unknown>, claims: Claims, secret: string): string {
  const input = `${base64url(header)}.${base64url(claims)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

/** Pairwise: another application, or the same one registered anew, sees another subject for the same person. */
export function pairwiseSubject(clientId: string, tenantId: string, oid: string): string {
  return createHash('sha256').update(`${clientId}|${tenantId}|${oid}`).digest('base64url');
}

function honestClaims(sim: Simulation, grant: Grant, origin: string): Claims {
  const { app, user, scopes, maxAgeSeconds, authTimeSeconds } = grant;
  const now = sim.clock.seconds();
  const issuedAt = now - sim.lifetimes.backdatedSeconds;
  const issuer = `${origin}/${user.tenant.id}/v2.0`;
  const asks = (name: string) =>
    app.optionalClaims.has(name as never) ||
    (sim.habits.honoursClaimsParameter && name in (grant.claims.id_token ?? {}));
  const withAuthTime = maxAgeSeconds !== undefined || asks('auth_time');

  return {
    ver: '2.0',
    iss: issuer,
    sub: pairwiseSubject(app.clientId, user.tenant.id, user.oid),
    aud: app.clientId,
    // Not documented, but reported (msal-python #444): with max_age the token ends with the authentication's age.
    exp: maxAgeSeconds === undefined ? now + sim.lifetimes.idTokenSeconds : authTimeSeconds + maxAgeSeconds,
    iat: issuedAt,
    nbf: issuedAt,
    ...(withAuthTime ? { auth_time: authTimeSeconds } : {}),
    ...(scopes.includes('profile') ? { name: user.name, preferred_username: user.upn, oid: user.oid } : {}),
    tid: user.tenant.id,
    ...(user.mail !== undefined && (scopes.includes('email') || asks('email')) ? { email: user.mail } : {}),
    ...(asks('xms_edov') && user.edov !== undefined ? { xms_edov: user.edov } : {}),
    ...(grant.nonce === undefined ? {} : { nonce: grant.nonce }),
    ...(user.isGuest || asks('idp') ? { idp: identityProvider(user, origin) } : {}),
    ...(asks('acct') ? { acct: user.isGuest ? 1 : 0 } : {}),
    ...(asks('sid') ? { sid: grant.sid } : {}),
    ...(asks('login_hint') ? { login_hint: opaqueLoginHint(user.upn, user.tenant.id) } : {}),
    ...(asks('upn') ? { upn: user.upn } : {}),
    ...(asks('given_name') && user.givenName !== undefined ? { given_name: user.givenName } : {}),
    ...(asks('family_name') && user.familyName !== undefined ? { family_name: user.familyName } : {}),
    ...(user.roleNames.length > 0 ? { roles: user.roleNames } : {}),
    ...groupClaims(grant),
    ...grantedContexts(grant),
    // Internal to Entra, opaque to everybody else; there so that nobody comes to expect their absence.
    aio: randomBytes(48).toString('base64url'),
    rh: `1.A${randomBytes(24).toString('base64url')}.`,
    uti: randomBytes(16).toString('base64url'),
  };
}

function identityProvider(user: User, origin: string): string {
  const { tenant } = user.home ?? user;
  return tenant.isConsumers && user.isGuest ? 'live.com' : `${origin}/${tenant.id}/v2.0`;
}

/** Looks like Entra's: base64 that begins with "O.", and says nothing to the eye. */
export function opaqueLoginHint(upn: string, tenantId: string): string {
  return `O.${Buffer.from(JSON.stringify([tenantId, upn])).toString('base64')}`;
}

function groupClaims({ app, user }: Grant): Claims {
  const groups = user.allGroupIds;
  if (!app.emitsGroups || groups.length === 0 || user.tenant.isConsumers) return {};
  if (groups.length <= groupsInToken) return { groups };
  if (app.overage === 'hasgroups') return { hasgroups: true };
  const endpoint = `https://${retiredGraphHost}/${user.tenant.id}/users/${user.oid}/getMemberObjects`;
  return { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint } } };
}

function grantedContexts({ claims, user }: Grant): Claims {
  const asked = claims.id_token?.acrs;
  const wanted = [asked?.value, ...(asked?.values ?? [])];
  const granted = user.tenant.authenticationContexts.filter((context) => wanted.includes(context));
  return granted.length > 0 ? { acrs: granted } : {};
}
