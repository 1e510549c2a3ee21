// The options of createVerifier, checked once, and what a verifier is composed of, made of them.

import type { TokenExpectations } from './claims.ts';
import { createDenylistReader } from './denylist.ts';
import { checkAddress, checkIssuer } from './fetch.ts';
import { createRemoteKeys, createStaticKeys, type KeySource } from './keys.ts';
import { optionsCheck } from './known-options.ts';
import type { VerifierOptions } from './options.ts';
import { byRedis, byStatusList, noRevocation, type Revocation } from './revocation.ts';
import { createStatusListCache } from './status-list-cache.ts';
import { version } from './version.ts';

interface VerifierComponents {
  keys: KeySource;
  revocation: Revocation;
  expected: TokenExpectations;
  maxTokenBytes: number;
  maxRememberedTokens: number;
  now: () => number;
}

/** A timer that is longer goes off at once (2³¹ ms), and a refresh that is planned so would follow upon the last. */
export const longestTimerSeconds = 2_147_483;

/** No clock is off by more and unnoticed; what was meant as milliseconds would have expired tokens serve for hours. */
const mostClockToleranceSeconds = 600;

const checkOptions = optionsCheck<VerifierOptions>('createVerifier', {
  issuer: 'string',
  audience: 'checked elsewhere',
  service: 'string',
  jwksUri: 'string',
  jwks: 'object',
  clockToleranceSeconds: 'number',
  maxTokenBytes: 'number',
  revocation: 'string',
  redis: 'object',
  requireStatus: 'boolean',
  staleness: 'object',
  maxRememberedTokens: 'number',
  maxCacheSeconds: 'number',
  lastKnownGoodSeconds: 'number',
  cooldownSeconds: 'number',
  timeoutSeconds: 'number',
  onRefreshError: 'function',
  allowHttpIssuerForTests: 'boolean',
  now: 'function',
});
const checkStaleness = optionsCheck<NonNullable<VerifierOptions['staleness']>>('staleness', { limitSeconds: 'number' });

/** @throws {TypeError} when an option is missing, unknown or unsafe */
export function createComponents(options: VerifierOptions): VerifierComponents {
  checkOptions(options);
  checkStaleness(options.staleness ?? {});
  const { issuer, now = Date.now } = options;
  const clockToleranceSeconds = readNumber(options, 'clockToleranceSeconds', 5, 0, mostClockToleranceSeconds);
  // How often the issuer is asked, by whom, and who hears of it: the same for keys and status lists.
  const asking = {
    issuer,
    now,
    userAgent: userAgent(options.service),
    maxCacheSeconds: readNumber(options, 'maxCacheSeconds', 600, 1, longestTimerSeconds),
    cooldownSeconds: readNumber(options, 'cooldownSeconds', 5, 0, longestTimerSeconds),
    timeoutSeconds: readNumber(options, 'timeoutSeconds', 5, 0.001, longestTimerSeconds),
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
  checkIssuer(options.issuer, allowHttp);
  const lastKnownGoodSeconds = readNumber(options, 'lastKnownGoodSeconds', 86_400);
  if (options.jwks !== undefined) {
    if (options.jwksUri !== undefined) throw new TypeError('jwks and jwksUri exclude each other');
    return createStaticKeys(options.jwks);
  }
  const { jwksUri } = options;
  return createRemoteKeys({
    ...asking,
    allowHttp,
    lastKnownGoodSeconds,
    jwksUri: jwksUri === undefined ? undefined : checkAddress('jwksUri', jwksUri, allowHttp).href,
  });
}

type RevocationOptions = Omit<Parameters<typeof createStatusListCache>[0], 'stalenessSeconds'>;

function readRevocation(options: VerifierOptions, common: RevocationOptions): Revocation {
  const { redis, requireStatus: isStatusRequired = false, jwks } = options;
  const { revocation = jwks === undefined ? 'status-list' : 'none' } = options;
  const stalenessSeconds = checkNumber('staleness.limitSeconds', options.staleness?.limitSeconds ?? 3600);
  if ((revocation === 'redis') !== (redis !== undefined)) {
    throw new TypeError("revocation: 'redis' and the option redis, a connected client, need each other");
  }
  if (revocation === 'none') {
    if (isStatusRequired) throw new TypeError("requireStatus has no use with revocation: 'none'");
    return noRevocation;
  }
  if (revocation !== 'status-list' && revocation !== 'redis') {
    throw new TypeError("revocation must be 'status-list', 'redis' or 'none'");
  }
  const lists = createStatusListCache({ ...common, stalenessSeconds });
  if (redis === undefined) return byStatusList({ lists, isStatusRequired });
  return byRedis({ lists, isStatusRequired, denylist: createDenylistReader({ ...common, redis }) });
}

function readAudiences(audience: unknown): readonly string[] | null {
  if (audience === null) return null;
  const names = Array.isArray(audience) ? [...audience] : [audience];
  if (names.length > 0 && names.every((name) => typeof name === 'string' && name !== '')) return names;
  throw new TypeError('audience is required: the API this service is, or null to accept tokens meant for any service');
}

type NumberOption = 'maxTokenBytes' | 'maxRememberedTokens' | Extract<keyof VerifierOptions, `${string}Seconds`>;

function readNumber(
  options: VerifierOptions,
  name: NumberOption,
  usual: number,
  least?: number,
  most?: number,
): number {
  return checkNumber(name, options[name] ?? usual, least, most);
}

function checkNumber(name: string, value: number, least = 0, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isFinite(value) && value >= least && value <= most) return value;
  throw new TypeError(`${name} must be a number from ${least} to ${most}`);
}

function userAgent(service: string | undefined): string {
  if (service === undefined) return `signet-verifier/${version}`;
  if (!/^[\w .:/@+-]{1,100}$/.test(service)) throw new TypeError('service must be a short plain name');
  return `signet-verifier/${version} (${service})`;
}
