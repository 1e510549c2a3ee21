// What createVerifier is told, checked once, and the parts made of it.

import type { JSONWebKeySet } from 'jose';
import type { Expectations } from './claims.ts';
import { createDenylist, type RedisReader } from './denylist.ts';
import { checkAddress } from './fetch.ts';
import { createRemoteKeys, createStaticKeys, type KeySource } from './keys.ts';
import { createStatusLists } from './lists.ts';
import { byRedis, byStatusList, noRevocation, type Revocation } from './revocation.ts';
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
  /**
   * Whether a token may have been revoked before it expired.
   * - `'status-list'`: the issuer's signed status lists that tokens name, fetched in the background. A check is a bit test.
   * - `'redis'`: the lists, and at each token the denylist in `redis`, which knows at once.
   * - `'none'`: a revoked token is good until it expires.
   *
   * Default `'status-list'`; with a fixed `jwks`, where nothing is fetched, `'none'`.
   */
  revocation?: 'status-list' | 'redis' | 'none';
  /** Where the issuer writes its denylist: a connected client of node-redis, or what looks like one. */
  redis?: RedisReader;
  /** Refuses tokens that name no status list, with `invalid_claims`. Default false. */
  requireStatus?: boolean;
  /** What holds while the issuer gives no newer status list. */
  staleness?: {
    /**
     * Seconds the last list is good beyond its `ttl`, at most; then tokens are refused with `revocation_unavailable`.
     * Default 600. A list's own `exp`, where that is earlier, is not overruled. 0: never without a fresh list.
     */
    limitSeconds?: number;
  };
  /**
   * How many tokens are remembered as genuine, so that the same one again costs no signature; each takes some 2 kB.
   * Time, key and revocation are looked at all the same. Default 1000; 0 remembers none.
   */
  maxRememberedTokens?: number;
  /** Seconds keys and status lists are used without asking, at most, whatever the issuer says. Default 600. */
  maxCacheSeconds?: number;
  /** How long the last keys are good while the issuer cannot be reached. Default 86400 (24 h). */
  lastKnownGoodSeconds?: number;
  /** Seconds between two requests for a key that is not known, and after a failed request. Default 5. */
  cooldownSeconds?: number;
  /** Longest time for discovery and keys together, and for a status list, in seconds. Default 5. */
  timeoutSeconds?: number;
  /** Told about every failed request to the issuer or to Redis, while what is known still serves. For your log. */
  onRefreshError?: (error: unknown) => void;
  /** Allows http to other hosts, where anyone on the way can hand out keys of their own. */
  allowHttpIssuerForTests?: boolean;
  /** The time in epoch milliseconds. For tests; default `Date.now`. */
  now?: () => number;
}

export interface VerifierParts {
  keys: KeySource;
  revocation: Revocation;
  expected: Expectations;
  maxTokenBytes: number;
  maxRememberedTokens: number;
  now: () => number;
}

/** @throws {TypeError} when an option is missing or unsafe */
export function readOptions(options: VerifierOptions): VerifierParts {
  const { issuer, now = Date.now } = options;
  const clockToleranceSeconds = readNumber(options, 'clockToleranceSeconds', 5);
  // How often the issuer is asked, by whom, and who hears of it: the same for keys and status lists.
  const asking = {
    issuer, now,
    userAgent: userAgent(options.service),
    maxCacheSeconds: readNumber(options, 'maxCacheSeconds', 600),
    cooldownSeconds: readNumber(options, 'cooldownSeconds', 5),
    timeoutSeconds: readNumber(options, 'timeoutSeconds', 5),
    onRefreshError: options.onRefreshError ?? (() => {}),
  };
  const expected = { issuer, audiences: readAudiences(options.audience), clockToleranceSeconds };
  const keys = keySource(options, asking);
  return {
    keys,
    revocation: readRevocation(options, { ...asking, keys, clockToleranceSeconds }),
    expected,
    maxTokenBytes: readNumber(options, 'maxTokenBytes', 8192),
    maxRememberedTokens: readNumber(options, 'maxRememberedTokens', 1000),
    now,
  };
}

type Asking = Omit<Parameters<typeof createRemoteKeys>[0], 'jwksUri' | 'allowHttp' | 'lastKnownGoodSeconds'>;

function keySource(options: VerifierOptions, asking: Asking): KeySource {
  const allowHttp = options.allowHttpIssuerForTests === true;
  const issuer = checkAddress('issuer', options.issuer, allowHttp);
  if (issuer.search !== '') throw new TypeError('issuer must not have a query');
  const lastKnownGoodSeconds = readNumber(options, 'lastKnownGoodSeconds', 86_400);
  if (options.jwks !== undefined) {
    if (options.jwksUri !== undefined) throw new TypeError('jwks and jwksUri exclude each other');
    return createStaticKeys(options.jwks);
  }
  const { jwksUri } = options;
  return createRemoteKeys({
    ...asking, allowHttp, lastKnownGoodSeconds,
    jwksUri: jwksUri === undefined ? undefined : checkAddress('jwksUri', jwksUri, allowHttp).href,
  });
}

type RevocationParts = Omit<Parameters<typeof createStatusLists>[0], 'stalenessSeconds'>;

function readRevocation(options: VerifierOptions, parts: RevocationParts): Revocation {
  const { redis, requireStatus: isStatusRequired = false, jwks } = options;
  const { revocation = jwks === undefined ? 'status-list' : 'none' } = options;
  const stalenessSeconds = checkNumber('staleness.limitSeconds', options.staleness?.limitSeconds ?? 600);
  if ((revocation === 'redis') !== (redis !== undefined)) {
    throw new TypeError('revocation: \'redis\' and the option redis, a connected client, need each other');
  }
  if (revocation === 'none') {
    if (isStatusRequired) throw new TypeError('requireStatus has no use with revocation: \'none\'');
    return noRevocation;
  }
  if (revocation !== 'status-list' && revocation !== 'redis') {
    throw new TypeError('revocation must be \'status-list\', \'redis\' or \'none\'');
  }
  const lists = createStatusLists({ ...parts, stalenessSeconds });
  if (redis === undefined) return byStatusList({ lists, isStatusRequired });
  return byRedis({ lists, isStatusRequired, denylist: createDenylist({ ...parts, redis }) });
}

function readAudiences(audience: unknown): readonly string[] | null {
  if (audience === null) return null;
  const names = Array.isArray(audience) ? [...audience] : [audience];
  if (names.length > 0 && names.every((name) => typeof name === 'string' && name !== '')) return names;
  throw new TypeError('audience is required: the API this service is, or null to accept tokens meant for any service');
}

type NumberOption = 'maxTokenBytes' | 'maxRememberedTokens' | Extract<keyof VerifierOptions, `${string}Seconds`>;

function readNumber(options: VerifierOptions, name: NumberOption, usual: number): number {
  return checkNumber(name, options[name] ?? usual);
}

function checkNumber(name: string, value: number): number {
  if (!Number.isFinite(value) || value < 0) throw new TypeError(`${name} must be a number that is not negative`);
  return value;
}

function userAgent(service: string | undefined): string {
  if (service === undefined) return `signet-verifier/${version}`;
  if (!/^[\w .:/@+-]{1,100}$/.test(service)) throw new TypeError('service must be a short plain name');
  return `signet-verifier/${version} (${service})`;
}
