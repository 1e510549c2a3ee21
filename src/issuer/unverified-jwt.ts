// A JWT (RFC 7519) that nobody has verified yet: a refresh token, an `id_token_hint`, a request object. Whoever sent it
// chose every value in it, types included, so nothing is handed out but what the caller's schema names and has checked.

import type { z } from 'zod';
import { readCompact } from '../verifier/compact.ts';

interface Shape<Header, Claims> {
  header: z.ZodType<Header>;
  claims: z.ZodType<Claims>;
}

/** As large as the largest form that may hold one. */
const longest = 57_344;

/** Undefined: it is no compact JWS of JSON objects (RFC 7515 §7.1), or not of this shape. */
export function readUnverified<Header, Claims>(
  jwt: string,
  { header, claims }: Shape<Header, Claims>,
): { header: Header; claims: Claims } | undefined {
  const parts = partsOf(jwt);
  const [head, body] = [header.safeParse(parts?.header), claims.safeParse(parts?.claims)];
  return head.success && body.success ? { header: head.data, claims: body.data } : undefined;
}

function partsOf(jwt: string) {
  try {
    // An unsecured JWS has nothing behind its second dot (RFC 7515 §A.5), and a request object may be one.
    return readCompact(jwt.endsWith('.') ? `${jwt}AA` : jwt, longest);
  } catch {
    return undefined; // Whatever is wrong with it: to whoever asks, it says nothing.
  }
}
