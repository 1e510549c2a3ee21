// The one error of the verifier: a code to branch on, and the answer that RFC 6750 §3 asks a resource server to give.
// Sentences are fixed text of ours: nothing from a token, which a stranger wrote, ever reaches a header or a body.

/**
 * Why a token was refused. Stable: branch on it; messages may change in any release.
 *
 * - `missing_token` 401: the request has no bearer token
 * - `invalid_request` 400: the Authorization header is malformed or repeated
 * - `malformed` 401: not a strict compact JWT, or its header has a parameter that is not accepted
 * - `unsupported_algorithm` 401: `alg` is not RS256
 * - `wrong_type` 401: `typ` is not `at+jwt`; an ID token or a refresh token, for example
 * - `wrong_issuer` 401: made by another issuer
 * - `wrong_audience` 401: meant for another service
 * - `expired` 401: its time is over
 * - `not_yet_valid` 401: its time has not come; where that happens to a fresh token, a clock is off
 * - `invalid_claims` 401: a required claim is absent or a claim has the wrong type
 * - `unknown_key` 401: the issuer publishes no such key
 * - `bad_signature` 401: not signed by the key that it names
 * - `revoked` 401: genuine and unexpired, but no longer good: its person, its application or an administrator ended it
 * - `insufficient_scope` 403: genuine, but the application was not allowed this
 * - `insufficient_role` 403: genuine, but the person may not do this
 * - `cross_site_request` 403: the token is in a cookie, and another site's page may have caused the request
 * - `keys_unavailable` 503: the issuer's keys cannot be had, so nobody can tell
 * - `revocation_unavailable` 503: whether the token was revoked cannot be had, so nobody can tell
 * - `misconfigured` 500: the application asked for a scope or role where no token was required
 */
export type VerificationErrorCode =
  | 'missing_token'
  | 'invalid_request'
  | 'malformed'
  | 'unsupported_algorithm'
  | 'wrong_type'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'expired'
  | 'not_yet_valid'
  | 'invalid_claims'
  | 'unknown_key'
  | 'bad_signature'
  | 'revoked'
  | 'insufficient_scope'
  | 'insufficient_role'
  | 'cross_site_request'
  | 'keys_unavailable'
  | 'revocation_unavailable'
  | 'misconfigured';

const invalidToken = { status: 401, error: 'invalid_token' };
const unavailable = { status: 503, error: 'temporarily_unavailable' };

// RFC 6750 §3.1 has no code for roles; its insufficient_scope means "higher privileges than the token gives".
const answers: Record<VerificationErrorCode, { status: number; error: string }> = {
  missing_token: { status: 401, error: 'missing_token' },
  invalid_request: { status: 400, error: 'invalid_request' },
  malformed: invalidToken,
  unsupported_algorithm: invalidToken,
  wrong_type: invalidToken,
  wrong_issuer: invalidToken,
  wrong_audience: invalidToken,
  expired: invalidToken,
  not_yet_valid: invalidToken,
  invalid_claims: invalidToken,
  unknown_key: invalidToken,
  bad_signature: invalidToken,
  revoked: invalidToken,
  insufficient_scope: { status: 403, error: 'insufficient_scope' },
  insufficient_role: { status: 403, error: 'insufficient_scope' },
  cross_site_request: { status: 403, error: 'cross_site_request' },
  keys_unavailable: unavailable,
  revocation_unavailable: unavailable,
  misconfigured: { status: 500, error: 'server_error' },
};

/** A token was refused, or could not be checked. `message` is fixed text, safe to log and to send. */
export class VerificationError extends Error {
  override readonly name = 'VerificationError';
  /** What to branch on. */
  readonly code: VerificationErrorCode;
  /** HTTP status to answer with: 400, 401, 403, 500 or 503. */
  readonly status: number;
  /** The `error` of the JSON answer: a code of RFC 6750 §3.1 where it has one. */
  readonly error: string;
  /** Value for the `WWW-Authenticate` header (RFC 6750 §3); undefined where a better token would not help. */
  readonly wwwAuthenticate: string | undefined;
  /** Value for the `Retry-After` header, whole seconds; only where the status is 503. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: VerificationErrorCode,
    message: string,
    details: { cause?: unknown; scopes?: readonly string[]; retryAfterSeconds?: number } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    const { status, error } = answers[code];
    this.code = code;
    this.status = status;
    this.error = error;
    this.wwwAuthenticate = challenge(code, status, error, message, details.scopes);
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

function challenge(
  code: VerificationErrorCode,
  status: number,
  error: string,
  description: string,
  scopes: readonly string[] = [],
): string | undefined {
  if (status >= 500 || code === 'cross_site_request') return undefined;
  // A request without a token gets no error code; the scheme needs at least one parameter. (RFC 6750 §3, §3.1)
  if (code === 'missing_token') return 'Bearer realm="api"';
  const scope = scopes.length === 0 ? '' : `, scope=${quoted(scopes.join(' '))}`;
  return `Bearer error=${quoted(error)}, error_description=${quoted(description)}${scope}`;
}

// The characters RFC 6750 §3 allows in these values: printable ASCII without quote and backslash.
function quoted(text: string): string {
  return `"${text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?')}"`;
}
