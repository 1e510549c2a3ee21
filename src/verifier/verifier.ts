// createVerifier: checks its options once, then puts the steps in order: shape, header, claims, key, signature.

import { verify as verifySignature } from 'node:crypto';
import type { JSONWebKeySet } from 'jose';
import { type AccessToken, readClaims, readHeader } from './claims.ts';
import { readCompact } from './compact.ts';
import { VerificationError } from './errors.ts';
import { checkAddress } from './fetch.ts';
import { createRemoteKeys, createStaticKeys, type KeySource } from './keys.ts';
import { type Requirements, readRequirements, requirePrivileges } from './privileges.ts';
import { version } from './version.ts';

export interface VerifierOptions {
  /** The issuer's URL, exactly as its tokens say it in `iss`. https, unless its host is loopback. */
  issuer: string;
  /**
   * The API this service is: the audience its tokens must have (with several, any of them will do). Required, because
   * without it a token that any other service received is good here too. `null` accepts every audience of the issuer:
   * only for a service that nobody else's token could harm.
   */
  audience: string | readonly string[] | null;
  /** Name of this service for the issuer's log, sent as `User-Agent: signet-verifier/<version> (<service>)`. */
  service?: string;
  /** Where the keys are, when discovery is not wanted. https, or http on loopback. */
  jwksUri?: string;
  /** A fixed JWK Set: nothing is fetched, and a rotation needs a new verifier. */
  jwks?: JSONWebKeySet;
  /** Seconds the clocks of issuer and service may be apart. Default 5. */
  clockToleranceSeconds?: number;
  /** Longest token that is looked at, in bytes. Default 8192. */
  maxTokenBytes?: number;
  /** Seconds the keys are used without asking, at most, whatever the issuer's `Cache-Control` allows. Default 600. */
  maxCacheSeconds?: number;
  /** How long the last keys are good while the issuer cannot be reached. Default 86400 (24 h). */
  lastKnownGoodSeconds?: number;
  /** Seconds between two requests for a key that is not known, and after a failed one. Default 5. */
  cooldownSeconds?: number;
  /** Longest time for discovery and keys together, in seconds. Default 5. */
  timeoutSeconds?: number;
  /** Told about every failed request to the issuer, while the last known keys still serve. For your log. */
  onRefreshError?: (error: unknown) => void;
  /** Allows http to other hosts, where anyone on the way can hand out keys of their own. */
  allowHttpIssuerForTests?: boolean;
  /** The time in epoch milliseconds. For tests; default `Date.now`. */
  now?: () => number;
}

export interface Verifier {
  /**
   * Verifies an access token (RFC 9068 §4) offline, against the issuer's published keys.
   *
   * With a known key nothing is awaited. A token with an unknown key waits for the issuer's newest keys: usually one
   * request, at worst the cool-down and two requests (15 s with the defaults), and 1000 tokens may wait at a time;
   * beyond that, or when the issuer does not answer, the code is `keys_unavailable`, not `unknown_key`.
   *
   * The checks run from cheap to dear, the signature last: a forged token may well be refused as `expired`.
   *
   * @param jwt compact form, without `Bearer `; `bearerToken()` reads the header
   * @param required scopes and roles the token must all have
   * @throws {VerificationError} `code` says why, `status` and `wwwAuthenticate` how to answer
   * @example
   * const token = await verifier.verify(jwt, { scope: 'orders:read' });
   * console.log(token.sub, token.roles);
   */
  verify(jwt: string, required?: Requirements): Promise<AccessToken>;
  /**
   * Fetches the keys now, so that the first request does not wait and a wrong `issuer` shows at start. Optional.
   * @throws {VerificationError} `keys_unavailable`; its `cause` says what went wrong
   */
  ready(): Promise<void>;
  /** Stops background refresh and requests under way. Afterwards the verifier refuses with `keys_unavailable`. */
  close(): void;
}

/**
 * A verifier of the access tokens that `issuer` makes for `audience`. Make one per process and keep it: it caches
 * the keys. Nothing is fetched before the first `verify` or `ready`.
 *
 * @throws {TypeError} when an option is missing or unsafe
 * @example
 * const verifier = createVerifier({ issuer: 'https://id.example.com', audience: 'https://orders.example.com' });
 * const token = await verifier.verify(bearerToken(request.headers.authorization));
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { issuer, now = Date.now } = options;
  const audiences = readAudiences(options.audience);
  const expected = { issuer, audiences, clockToleranceSeconds: readNumber(options, 'clockToleranceSeconds', 5) };
  const maxTokenBytes = readNumber(options, 'maxTokenBytes', 8192);
  const keys = keySource(options, now);

  return {
    async verify(jwt, required) {
      const requirements = required === undefined ? undefined : readRequirements(required);
      const { header, claims, signed, signature } = readCompact(jwt, maxTokenBytes);
      const kid = readHeader(header);
      const token = readClaims(claims, expected, now() / 1000);
      const found = keys.find(kid);
      const key = found instanceof Promise ? await found : found;
      // RS256 is fixed here, whatever the token says. Synchronous on purpose: with 2048 bits it takes some 35 µs, and
      // the hop to WebCrypto's thread pool costs more than that, in time and in CPU.
      if (!verifySignature('sha256', signed, key, signature)) {
        throw new VerificationError('bad_signature', 'the signature is not valid');
      }
      if (requirements !== undefined) requirePrivileges(token, requirements);
      return token;
    },
    ready: () => keys.ready(),
    close: () => keys.close(),
  };
}

function keySource(options: VerifierOptions, now: () => number): KeySource {
  const allowHttp = options.allowHttpIssuerForTests === true;
  const issuer = checkAddress('issuer', options.issuer, allowHttp);
  if (issuer.search !== '') throw new TypeError('issuer must not have a query');
  if (options.jwks !== undefined) {
    if (options.jwksUri !== undefined) throw new TypeError('jwks and jwksUri exclude each other');
    return createStaticKeys(options.jwks);
  }
  return createRemoteKeys({
    issuer: options.issuer,
    jwksUri: options.jwksUri === undefined ? undefined : checkAddress('jwksUri', options.jwksUri, allowHttp).href,
    allowHttp,
    userAgent: userAgent(options.service),
    maxCacheSeconds: readNumber(options, 'maxCacheSeconds', 600),
    lastKnownGoodSeconds: readNumber(options, 'lastKnownGoodSeconds', 86_400),
    cooldownSeconds: readNumber(options, 'cooldownSeconds', 5),
    timeoutSeconds: readNumber(options, 'timeoutSeconds', 5),
    onRefreshError: options.onRefreshError ?? (() => {}),
    now,
  });
}

function readAudiences(audience: unknown): readonly string[] | null {
  if (audience === null) return null;
  const names = Array.isArray(audience) ? [...audience] : [audience];
  if (names.length > 0 && names.every((name) => typeof name === 'string' && name !== '')) return names;
  throw new TypeError('audience is required: the API this service is, or null to accept tokens meant for any service');
}

type NumberOption = 'maxTokenBytes' | Extract<keyof VerifierOptions, `${string}Seconds`>;

function readNumber(options: VerifierOptions, name: NumberOption, usual: number): number {
  const value = options[name] ?? usual;
  if (!Number.isFinite(value) || value < 0) throw new TypeError(`${name} must be a number that is not negative`);
  return value;
}

function userAgent(service: string | undefined): string {
  if (service === undefined) return `signet-verifier/${version}`;
  if (!/^[\w .:/@+-]{1,100}$/.test(service)) throw new TypeError('service must be a short plain name');
  return `signet-verifier/${version} (${service})`;
}
