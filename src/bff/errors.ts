// The one error of the bff. Sentences are fixed text of ours: what the issuer or an upstream said may hold a token or a
// code, so of their errors only codes are taken over.

/**
 * What went wrong. Stable: branch on it; messages may change in any release.
 *
 * - `signed_out` 401: there is no session, or it has ended
 * - `sign_in_lost` 400: the callback does not belong to a sign-in that this browser began, or comes too late
 * - `sign_in_cancelled` 403: the person did not want to
 * - `sign_in_failed` 502: the issuer refused, or gave tokens that are not good here
 * - `not_a_page_load` 400: a script asked for what only a page load can do
 * - `method_not_allowed` 405: `Allow` says which methods this address answers
 * - `bad_address` 400: an address that a proxy must not pass on
 * - `issuer_unavailable` 503: nobody can tell at the moment; the session stays
 * - `session_too_large` 500: the tokens do not fit into cookies
 * - `response_begun` 500: the session was opened after the response had begun, when no cookie can be set any more
 * - `body_consumed` 500: something before the proxy read the body it should pass on
 * - `upstream_unavailable` 502: the service behind this address cannot be reached
 * - `upstream_timeout` 504: the service behind this address did not answer in time
 */
export type BffErrorCode = keyof typeof statuses;

const statuses = {
  signed_out: 401,
  sign_in_lost: 400,
  sign_in_cancelled: 403,
  sign_in_failed: 502,
  not_a_page_load: 400,
  method_not_allowed: 405,
  bad_address: 400,
  issuer_unavailable: 503,
  session_too_large: 500,
  response_begun: 500,
  body_consumed: 500,
  upstream_unavailable: 502,
  upstream_timeout: 504,
};

/** `message` is fixed text, safe to log and to send. `detail` says more, to the log alone; no secret is in it. */
export class BffError extends Error {
  override readonly name = 'BffError';
  /** What to branch on. */
  readonly code: BffErrorCode;
  /** HTTP status to answer with. */
  readonly status: number;
  /** What the other side said, as codes. */
  readonly detail: string | undefined;
  /** Value for the `Retry-After` header, whole seconds. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: BffErrorCode, message: string, more: { detail?: string; retryAfterSeconds?: number } = {}) {
    super(message);
    this.code = code;
    this.status = statuses[code];
    this.detail = more.detail;
    this.retryAfterSeconds = more.retryAfterSeconds;
  }
}

export function isBffError(error: unknown, code: BffErrorCode): error is BffError {
  return error instanceof BffError && error.code === code;
}
