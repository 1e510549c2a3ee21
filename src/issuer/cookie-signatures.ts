// Signatures of cookies, in the form of the library that Koa signs cookies with (keygrip: HMAC-SHA1, base64url), so that
// either reads what the other wrote. That one prepares its keys anew for each cookie, and compares by hashing twice more.

import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto';

/** What a Koa application takes for its keys. */
export interface CookieSignatures {
  sign(data: string): string;
  /** Which key signed it, -1 where none did. */
  index(data: string, signature: string): number;
  verify(data: string, signature: string): boolean;
}

/** @param keys The first one signs, all of them verify. */
export function createCookieSignatures(keys: readonly string[]): CookieSignatures {
  const prepared = keys.map((key) => createSecretKey(key, 'utf8'));
  const [first] = prepared;
  if (!first) throw new Error('cookies are signed with a key');

  const signed = (data: string, key: typeof first) => createHmac('sha1', key).update(data).digest('base64url');
  const index = (data: string, signature: string) => {
    const given = Buffer.from(signature);
    return prepared.findIndex((key) => {
      const expected = Buffer.from(signed(data, key));
      return expected.length === given.length && timingSafeEqual(expected, given);
    });
  };
  return {
    sign: (data) => signed(data, first),
    index,
    verify: (data, signature) => index(data, signature) !== -1,
  };
}
