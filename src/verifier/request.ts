// What the adapters share: from a request to a verified token, and from an error to the answer. They add only the
// dozen lines that speak their framework's language.

import { bearerToken } from './bearer.ts';
import type { AccessToken } from './claims.ts';
import { cookieNamed } from './cookies.ts';
import { type CookieRequest, refuseForgery } from './csrf.ts';
import { VerificationError } from './errors.ts';
import { optionsCheck } from './known-options.ts';
import { readRequirements, requirePrivileges } from './privileges.ts';
import type { Verifier } from './verifier.ts';

/** The part of node's IncomingMessage that is read. */
export interface IncomingRequest extends CookieRequest {
  readonly headers: CookieRequest['headers'] & { readonly authorization?: string | undefined };
  readonly rawHeaders: readonly string[];
}

export interface TokenOptions {
  /**
   * Name of a cookie that may hold the access token where there is no Authorization header: for an API on the same site
   * as its page. Such a request must not come from another site, and needs the header `X-Signet-CSRF: 1` unless it only
   * reads and comes from the same origin.
   */
  cookie?: string;
}

/** What to send instead of the resource. */
interface TokenRefusal {
  status: number;
  headers: Record<string, string>;
  body: { error: string; error_description: string };
}

const checkOptions = optionsCheck<TokenOptions>('requireToken', { cookie: 'string' });

/**
 * What reads the token of a request and verifies it.
 * @throws {TypeError} now, where the options are not right; {VerificationError} for each request without a good token
 */
export function authenticator(
  verifier: Verifier,
  options: TokenOptions = {},
): (request: IncomingRequest) => Promise<AccessToken> {
  if (typeof verifier?.verify !== 'function')
    throw new TypeError('requireToken needs a verifier: createVerifier({ … })');
  checkOptions(options);
  const { cookie } = options;
  // RFC 6265 §4.1.1: what can be the name of a cookie.
  if (cookie !== undefined && !/^[\w!#$%&'*+.^`|~-]+$/.test(cookie)) {
    throw new TypeError('requireToken: cookie must be the name of a cookie');
  }
  return async (request) => {
    if (cookie !== undefined && request.headers.authorization === undefined) {
      return verifier.verify(cookieToken(request, cookie));
    }
    // Node keeps the first of several Authorization headers and drops the rest in silence; a proxy may keep the last.
    // One is read from `headers`, where a middleware before us may have put it.
    const received = receivedAuthorizations(request.rawHeaders);
    return verifier.verify(bearerToken(received.length > 1 ? received : request.headers.authorization));
  };
}

function cookieToken(request: IncomingRequest, cookie: string): string {
  const token = cookieNamed(request.headers.cookie, cookie);
  if (token === undefined) throw new VerificationError('missing_token', 'an access token is required');
  refuseForgery(request, { sameSite: true });
  return token;
}

/** A check for tokens that `requireToken` has put in place. Names are read now, so that a slip fails at start. */
export function scopeCheck(scopes: readonly string[]): (token: AccessToken | undefined) => void {
  if (scopes.length === 0) throw new TypeError('requireScope needs at least one scope');
  const required = readRequirements({ scope: scopes });
  return (token) => requirePrivileges(present(token), required);
}

export function roleCheck(roles: readonly string[]): (token: AccessToken | undefined) => void {
  if (roles.length === 0) throw new TypeError('requireRole needs at least one role');
  const required = readRequirements({ role: roles });
  return (token) => requirePrivileges(present(token), required);
}

/** The answer for an error of ours; any other error is thrown on, to whoever handles the application's own. */
export function refusalFor(error: unknown): TokenRefusal {
  if (!(error instanceof VerificationError)) throw error;
  const headers: Record<string, string> = {};
  if (error.wwwAuthenticate !== undefined) headers['WWW-Authenticate'] = error.wwwAuthenticate;
  if (error.retryAfterSeconds !== undefined) headers['Retry-After'] = String(error.retryAfterSeconds);
  return { status: error.status, headers, body: { error: error.error, error_description: error.message } };
}

function present(token: AccessToken | undefined): AccessToken {
  if (token !== undefined) return token;
  throw new VerificationError('misconfigured', 'requireToken must run before requireScope and requireRole');
}

function receivedAuthorizations(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_value, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization');
}
