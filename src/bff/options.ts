// The options, checked once, so that a mistake shows when the process starts and not when somebody signs in.

import { createVerifier, type Verifier } from '@signet-idp/verifier';
import { checkAddress, checkIssuer, longestTimerSeconds, optionsCheck } from '@signet-idp/verifier/internal';
import type { SameSite } from './cookies.ts';
import type { BffError } from './errors.ts';
import { readCookieKeys } from './seal.ts';

export interface BffOptions {
  /** The issuer's URL. https, unless its host is loopback. */
  issuer: string;
  /** This application at the issuer: of type `web`. */
  clientId: string;
  /** From the environment, say; refused while it is undefined. */
  clientSecret: string | undefined;
  /**
   * Where browsers reach this application: an origin, without path. https, or http on loopback while developing. The
   * issuer needs `<baseUrl>/bff/callback` as redirect URI, and `<baseUrl><signedOutPath>` for after the sign-out.
   */
  baseUrl: string;
  /**
   * What cookies are sealed with: 32 random bytes each, as base64 or as bytes. The first one seals; the others still
   * open what they sealed. All processes of the application need the same; another application with the same keys opens
   * nothing of it. One that is undefined is refused.
   */
  cookieKeys: readonly (string | Uint8Array | undefined)[];
  /** What to ask for, with `openid`. Default `openid profile email`. */
  scope?: string;
  /** The API that the access token is for, as the issuer names it (RFC 8707). Default: the issuer's for this client. */
  resource?: string;
  /**
   * What verifies the access token at each request, with your options (revocation, for one). By default one for
   * `issuer` and the audience `resource`; without `resource`, for any audience: the token comes from our own cookie,
   * and nobody else can put one there.
   */
  verifier?: Verifier;
  /** Beginning of the cookies' names, before the port of `baseUrl` where that has one. Default `bff`. */
  cookieName?: string;
  /**
   * `strict`: the session does not come along where a person follows a link from another site. For applications whose
   * pages are static files. Default `lax`.
   */
  sameSite?: SameSite;
  /** Path to show after sign-out, and to whoever cancelled the sign-in; it must not need a session. Default `/`. */
  signedOutPath?: string;
  /** Seconds before its end that an access token is renewed. Default 30: an upstream may be slow, and clocks differ. */
  refreshAheadSeconds?: number;
  /** Longest time to wait for the issuer, in seconds. Default 10. */
  timeoutSeconds?: number;
  /** Told about what went wrong between us and the issuer or an upstream. For your log: no secret is in it. */
  onError?: (error: BffError) => void;
  /** Allows http to other hosts, where anyone on the way sees client secret and tokens. */
  allowHttpIssuerForTests?: boolean;
  /** The time in epoch milliseconds. For tests; default `Date.now`. */
  now?: () => number;
}

export type BffSettings = ReturnType<typeof readOptions>;

/** As long as an access token lives at most: ahead of that, every request would be a renewal. */
const longestTokenSeconds = 3600;

const checkOptions = optionsCheck<BffOptions>('createBff', {
  issuer: 'string',
  clientId: 'string',
  clientSecret: 'string',
  baseUrl: 'string',
  cookieKeys: 'object',
  scope: 'string',
  resource: 'string',
  verifier: 'object',
  cookieName: 'string',
  sameSite: 'string',
  signedOutPath: 'string',
  refreshAheadSeconds: 'number',
  timeoutSeconds: 'number',
  onError: 'function',
  allowHttpIssuerForTests: 'boolean',
  now: 'function',
});

/** @throws {TypeError} when an option is missing, unknown or unsafe; the values of secrets are not repeated */
export function readOptions(options: BffOptions) {
  checkOptions(options);
  const { issuer, resource, now = Date.now, sameSite = 'lax', cookieName = 'bff', signedOutPath = '/' } = options;
  checkIssuer(issuer, options.allowHttpIssuerForTests === true);
  const base = checkAddress('baseUrl', options.baseUrl, false);
  if (base.pathname !== '/' || base.search !== '') {
    throw new TypeError('baseUrl must be an origin, without path or query');
  }
  const scope = options.scope ?? 'openid profile email';
  if (!scope.split(' ').includes('openid')) throw new TypeError('scope must contain openid');
  if (sameSite !== 'lax' && sameSite !== 'strict') throw new TypeError('sameSite must be lax or strict');
  if (!/^[A-Za-z][\w-]{0,31}$/.test(cookieName)) throw new TypeError('cookieName must be a short plain name');
  if (!/^\/(?!\/)[\w\-./~]*$/.test(signedOutPath)) throw new TypeError('signedOutPath must be a plain path');

  return {
    issuer,
    clientId: required('clientId', options.clientId),
    clientSecret: required('clientSecret', options.clientSecret),
    baseUrl: base.origin,
    secure: base.protocol === 'https:',
    cookieKeys: readCookieKeys(options.cookieKeys),
    scope,
    resource,
    verifier:
      options.verifier ??
      createVerifier({
        issuer,
        audience: resource ?? null,
        now,
        allowHttpIssuerForTests: options.allowHttpIssuerForTests,
      }),
    cookieName,
    sameSite,
    signedOutPath,
    refreshAheadMs:
      seconds('refreshAheadSeconds', options.refreshAheadSeconds ?? 30, { most: longestTokenSeconds }) * 1000,
    timeoutSeconds: seconds('timeoutSeconds', options.timeoutSeconds ?? 10, {
      least: 0.001,
      most: longestTimerSeconds,
    }),
    onError: options.onError ?? (() => {}),
    now,
  };
}

function required(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new TypeError(`${name} is required`);
}

function seconds(name: string, value: number, { least = 0, most }: { least?: number; most: number }): number {
  if (Number.isFinite(value) && value >= least && value <= most) return value;
  throw new TypeError(`${name} must be a number of seconds from ${least} to ${most}`);
}
