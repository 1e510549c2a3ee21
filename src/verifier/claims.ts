// What the header and the claims of an access token must say (RFC 9068 §2 and §4), and the typed result. The clock is
// handed in; keys and signatures are somebody else's.

import type { JsonObject } from './compact.ts';
import { VerificationError } from './errors.ts';

/** A verified access token. */
export interface AccessToken {
  /** Who it speaks for: the account's id, or the client's own id where no person is involved (client_credentials). */
  readonly sub: string;
  /** The application that asked for it. */
  readonly clientId: string;
  /** What it allows; empty when nothing was granted. */
  readonly scopes: readonly string[];
  /** Roles of the person; empty when there are none. */
  readonly roles: readonly string[];
  /** For display only. An address can be reassigned: identify people by `sub`. */
  readonly email?: string;
  /** Every audience it is good for. */
  readonly audience: readonly string[];
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  /** Unique id of this token. */
  readonly jti: string;
  /** The sign-in session it came from. */
  readonly sid?: string;
  /** When the person last proved who they are. */
  readonly authTime?: Date;
  /** All claims as they were signed, frozen. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Where a token's status is: an entry of a status list (Token Status List, draft-ietf-oauth-status-list §6.2). */
export interface StatusReference {
  readonly uri: string;
  readonly idx: number;
}

/** What `readClaims` learns: the result, and what has to hold again each time the same token comes. */
export interface Reading {
  readonly token: AccessToken;
  readonly status: StatusReference | undefined;
  /** Epoch seconds, with the tolerance: the token is good from the first to just before the second. */
  readonly goodFrom: number;
  readonly goodUntil: number;
}

export interface TokenExpectations {
  issuer: string;
  /** Any of these; null accepts every audience. */
  audiences: readonly string[] | null;
  clockToleranceSeconds: number;
}

// Keys come from the issuer alone, never from the token; b64, crit, zip and enc change what a signature means.
const refusedParameters = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc'];

// 9999-12-31T23:59:59Z, the last second that every date library can hold.
const latestDate = 253_402_300_799;

// An ID token has the same issuer and the same keys: only typ tells it from an access token. (RFC 9068 §4)
const types = {
  'an access token': /^(?:application\/)?at\+jwt$/i,
  'a status list': /^(?:application\/)?statuslist\+jwt$/i,
};

/** The key id, once the header is what an RS256 token of this type has. */
export function readHeader(header: JsonObject, type: keyof typeof types): string {
  if (header.alg !== 'RS256') {
    throw new VerificationError('unsupported_algorithm', 'the token is not signed with RS256');
  }
  if (typeof header.typ !== 'string' || !types[type].test(header.typ)) {
    throw new VerificationError('wrong_type', `the token is not ${type}`);
  }
  if (refusedParameters.some((name) => Object.hasOwn(header, name))) {
    throw new VerificationError('malformed', 'the token header has a parameter that is not accepted');
  }
  if (!isText(header.kid)) throw new VerificationError('malformed', 'the token does not name its key');
  return header.kid;
}

export function readClaims(claims: JsonObject, expected: TokenExpectations, nowSeconds: number): Reading {
  if (claims.iss !== expected.issuer) throw new VerificationError('wrong_issuer', 'the token is from another issuer');
  const audience = readAudience(claims.aud);
  if (expected.audiences !== null && !expected.audiences.some((name) => audience.includes(name))) {
    throw new VerificationError('wrong_audience', 'the token is for another audience');
  }
  const expiresAt = required(claims, 'exp', readSeconds);
  const issuedAt = required(claims, 'iat', readSeconds);
  // A time of issue in our future is a clock of theirs that is fast; only `nbf` says wait. (RFC 7519 §4.1.5, §4.1.6)
  const notBefore = readSeconds(claims, 'nbf') ?? 0;
  const tolerance = expected.clockToleranceSeconds;
  const [goodFrom, goodUntil] = [notBefore - tolerance, expiresAt + tolerance];
  if (nowSeconds >= goodUntil) throw new VerificationError('expired', 'the token has expired');
  if (nowSeconds < goodFrom) throw new VerificationError('not_yet_valid', 'the token is not valid yet');
  if (issuedAt > expiresAt) throw invalid('iat');
  const email = readText(claims, 'email');
  const sid = readText(claims, 'sid');
  const authTime = readSeconds(claims, 'auth_time');
  const token: AccessToken = {
    sub: required(claims, 'sub', readText),
    clientId: required(claims, 'client_id', readText),
    scopes: Object.freeze(readScopes(claims.scope)),
    roles: claims.roles === undefined ? Object.freeze([]) : readTexts(claims.roles, 'roles'),
    ...(email === undefined ? {} : { email }),
    audience,
    issuedAt: new Date(issuedAt * 1000),
    expiresAt: new Date(expiresAt * 1000),
    jti: required(claims, 'jti', readText),
    ...(sid === undefined ? {} : { sid }),
    ...(authTime === undefined ? {} : { authTime: new Date(authTime * 1000) }),
    claims,
  };
  return { token, status: readStatus(claims.status), goodFrom, goodUntil };
}

// Other members of `status` are mechanisms that we do not know; they are not ours to judge.
function readStatus(status: unknown): StatusReference | undefined {
  if (status === undefined) return undefined;
  if (!isObject(status)) throw invalid('status');
  const reference = status.status_list;
  if (reference === undefined) return undefined;
  if (!isObject(reference)) throw invalid('status');
  const { idx, uri } = reference;
  if (!Number.isInteger(idx) || (idx as number) < 0 || !isText(uri)) throw invalid('status');
  return { idx: idx as number, uri };
}

function readAudience(aud: unknown): readonly string[] {
  const audience = readTexts(typeof aud === 'string' ? Object.freeze([aud]) : aud, 'aud');
  if (audience.length === 0) throw invalid('aud');
  return audience;
}

function readScopes(scope: unknown): readonly string[] {
  if (scope === undefined) return [];
  if (typeof scope !== 'string') throw invalid('scope');
  return scope.split(' ').filter((name) => name !== '');
}

function readTexts(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value) || !value.every(isText)) throw invalid(name);
  return value;
}

function readText(claims: JsonObject, name: string): string | undefined {
  const value = claims[name];
  if (value !== undefined && !isText(value)) throw invalid(name);
  return value;
}

// RFC 7519 §2, NumericDate: seconds since 1970, as a number. A string or a date nobody can hold is not one.
function readSeconds(claims: JsonObject, name: string): number | undefined {
  const value = claims[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !(value >= 0 && value <= latestDate)) throw invalid(name);
  return value;
}

function required<T>(claims: JsonObject, name: string, read: (claims: JsonObject, name: string) => T | undefined): T {
  const value = read(claims, name);
  if (value === undefined) throw invalid(name);
  return value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

// Names only claims that this file asks for, so the sentence holds nothing of the token.
function invalid(name: string): VerificationError {
  return new VerificationError('invalid_claims', `the claim ${name} is absent or not what it has to be`);
}
