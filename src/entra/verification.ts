// Verifies ID tokens of Entra's (OIDC Core §3.1.3.7). msal-node checks nothing of them but the nonce ("MSAL does not
// validate tokens"), so it is done here: every token, of a code and of a refresh. Refusals are short names; nothing
// from a token that failed is ever repeated.

import { compactVerify, errors as joseErrors } from 'jose';
import { type JsonObject, readCompact } from '../verifier/compact.ts';
import { type EntraCloud, tenantIssuer } from './clouds.ts';
import type { TenantKey, TenantKeys } from './tenant-keys.ts';

export type TokenProblem =
  | 'malformed'
  | 'wrong_header'
  | 'wrong_algorithm'
  | 'unknown_key'
  | 'wrong_signature'
  | 'wrong_key_issuer'
  | 'wrong_issuer'
  | 'wrong_tenant'
  | 'wrong_audience'
  | 'wrong_version'
  | 'wrong_nonce'
  | 'wrong_subject'
  | 'wrong_object'
  | 'expired'
  | 'not_yet_valid'
  | 'wrong_times'
  | 'tenant_not_allowed';

/** An ID token that must not be believed. `tenant_not_allowed` alone is genuine: its person is just not admitted. */
export class TokenNotAccepted extends Error {
  override readonly name = 'TokenNotAccepted';
  readonly problem: TokenProblem;

  constructor(problem: TokenProblem, cause?: unknown) {
    super(`the ID token was not accepted: ${problem}`, { cause });
    this.problem = problem;
  }
}

/** Claims of an ID token that holds. `tid` and `oid` are lower-case GUIDs. */
export interface VerifiedClaims extends JsonObject {
  tid: string;
  oid: string;
  sub: string;
}

interface IdTokenExpectations {
  cloud: Pick<EntraCloud, 'issuer' | 'keyIssuer'>;
  clientId: string;
  /** null admits every tenant of the cloud: the configuration says so in capitals. */
  allowedTenants: ReadonlySet<string> | null;
  /** Undefined for the token of a refresh, which repeats none (OIDC Core §12.2). */
  nonce: string | undefined;
  /** Epoch milliseconds. */
  now: number;
}

export const clockToleranceSeconds = 300;

const maxTokenBytes = 65_536; // two hundred groups are 8 kB
const lowerCaseGuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
// Keys come from Entra alone, never from the token; the others change what a signature means. (RFC 8725 §3.10)
const refusedParameters = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'zip', 'enc'];

/** @throws {TokenNotAccepted} @throws {KeysUnavailable} nobody can tell */
export async function verifyIdToken(
  jwt: string,
  keys: TenantKeys,
  expected: IdTokenExpectations,
): Promise<VerifiedClaims> {
  const { header, claims } = read(jwt);
  const key = await keyOf(header, keys);
  try {
    await compactVerify(jwt, key.key, { algorithms: ['RS256'] });
  } catch (cause) {
    if (!(cause instanceof joseErrors.JOSEError)) throw cause;
    throw new TokenNotAccepted('wrong_signature', cause);
  }
  return check(claims, key, expected);
}

function read(jwt: string) {
  // Somebody took the signature off (RFC 7515 §A.5): that is a forgery, and no garbled answer.
  if (/^[\w-]+\.[\w-]+\.$/.test(jwt)) throw new TokenNotAccepted('wrong_signature');
  try {
    return readCompact(jwt, maxTokenBytes);
  } catch (cause) {
    throw new TokenNotAccepted('malformed', cause);
  }
}

async function keyOf(header: JsonObject, keys: TenantKeys): Promise<TenantKey> {
  if (header['alg'] !== 'RS256') throw new TokenNotAccepted('wrong_algorithm');
  if (refusedParameters.some((name) => Object.hasOwn(header, name))) throw new TokenNotAccepted('wrong_header');
  const { kid } = header;
  if (typeof kid !== 'string' || kid === '') throw new TokenNotAccepted('unknown_key');
  const key = await keys.find(kid);
  if (!key) throw new TokenNotAccepted('unknown_key');
  return key;
}

function check(claims: JsonObject, key: TenantKey, expected: IdTokenExpectations): VerifiedClaims {
  const { ver, iss, tid, oid, sub, aud, nonce } = claims;
  const unless = (holds: boolean, problem: TokenProblem) => {
    if (!holds) throw new TokenNotAccepted(problem);
  };

  unless(isGuid(tid), 'wrong_tenant'); // first: it goes into the templates below
  const issuer = tenantIssuer(expected.cloud, tid as string);
  unless(iss === issuer, 'wrong_issuer');
  // Personal accounts and work accounts have different keys in one document, and each signs for its own only.
  const issuers = [issuer, expected.cloud.keyIssuer?.replaceAll('{tenantid}', tid as string)];
  const isOfIssuer = key.issuer === undefined || issuers.includes(key.issuer.replaceAll('{tenantid}', tid as string));
  unless(isOfIssuer, 'wrong_key_issuer');
  unless(aud === expected.clientId, 'wrong_audience');
  unless(ver === '2.0', 'wrong_version');
  unless(expected.nonce === undefined || nonce === expected.nonce, 'wrong_nonce');
  unless(isGuid(oid), 'wrong_object');
  unless(typeof sub === 'string' && sub !== '' && sub.length <= 255, 'wrong_subject');
  checkTimes(claims, expected.now / 1000, unless);
  unless(expected.allowedTenants === null || expected.allowedTenants.has(tid as string), 'tenant_not_allowed');
  return claims as VerifiedClaims;
}

function checkTimes(claims: JsonObject, now: number, unless: (holds: boolean, problem: TokenProblem) => void): void {
  const { exp, nbf, iat } = claims;
  unless(typeof exp === 'number' && typeof nbf === 'number' && typeof iat === 'number', 'wrong_times');
  unless((exp as number) + clockToleranceSeconds > now, 'expired');
  unless((nbf as number) - clockToleranceSeconds <= now, 'not_yet_valid');
  unless((iat as number) - clockToleranceSeconds <= now, 'not_yet_valid');
}

function isGuid(value: unknown): value is string {
  return typeof value === 'string' && lowerCaseGuid.test(value);
}
