// The Authorization header, read as RFC 6750 §2.1 and RFC 9110 §11 write it: one scheme, one token, nothing else.

import { VerificationError } from './errors.ts';

/**
 * The bearer token of an `Authorization` header. The scheme's case does not matter; exactly one token must follow it.
 * Where a framework hands over all values of a repeated header, pass the array: more than one is refused, since two
 * readers could otherwise each believe a different one.
 *
 * @throws {VerificationError} `missing_token` when there is no header or it has another scheme,
 * `invalid_request` when it is a bearer header that cannot be read (RFC 6750 §3.1)
 */
export function bearerToken(authorization: string | readonly string[] | undefined): string {
  const values = typeof authorization === 'string' ? [authorization] : (authorization ?? []);
  if (values.length > 1) {
    throw new VerificationError('invalid_request', 'the Authorization header is there more than once');
  }
  const [value = ''] = values;
  if (!/^bearer(?:\s|$)/i.test(value)) throw new VerificationError('missing_token', 'a bearer token is required');
  const token = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(value)?.[1];
  if (token === undefined) {
    throw new VerificationError('invalid_request', 'the Authorization header must read: Bearer, a space, one token');
  }
  return token;
}
