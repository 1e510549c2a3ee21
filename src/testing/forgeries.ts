// Tokens that a service must refuse, each wrong in one thing and otherwise good, as somebody makes them who does not
// have the issuer's key or has another token of the issuer's. (RFC 9068 §4, RFC 8725)

import { createHmac } from 'node:crypto';
import { writeCompact } from '@signet-idp/verifier/internal';
import { strangersKey, type TestKey } from './keys.ts';

type Header = Record<string, unknown>;
export type Claims = Record<string, unknown>;

interface Draft {
  header: Header;
  claims: Claims;
  key: TestKey;
}

const hourSeconds = 3600;

const forge = {
  expired: ({ header, claims, key }: Draft) => {
    const iat = Number(claims.iat) - 2 * hourSeconds;
    return writeCompact(header, { ...claims, iat, exp: iat + hourSeconds }, key.sign);
  },
  'not-yet-valid': ({ header, claims, key }: Draft) =>
    writeCompact(header, { ...claims, nbf: Number(claims.iat) + hourSeconds }, key.sign),
  'without-expiry': ({ header, claims, key }: Draft) => writeCompact(header, { ...claims, exp: undefined }, key.sign),
  'other-audience': ({ header, claims, key }: Draft) =>
    writeCompact(header, { ...claims, aud: 'https://somebody-else.example.com' }, key.sign),
  'other-issuer': ({ header, claims, key }: Draft) =>
    writeCompact(header, { ...claims, iss: 'https://somebody-else.example.com' }, key.sign),
  // With the audience of the API, which a real one has not: so that only its type gives it away.
  'id-token': ({ header, claims, key }: Draft) => writeCompact({ ...header, typ: 'JWT' }, claims, key.sign),
  'refresh-token': ({ header, claims, key }: Draft) => writeCompact({ ...header, typ: 'rt+jwt' }, claims, key.sign),
  unsigned: ({ header, claims }: Draft) => writeCompact({ ...header, alg: 'none' }, claims, () => ''),
  // RFC 8725 §2.1: a verifier that believes "alg" takes the public key for the secret of an HMAC.
  'hmac-with-public-key': ({ header, claims, key }: Draft) =>
    writeCompact({ ...header, alg: 'HS256' }, claims, (text) =>
      createHmac('sha256', key.publicPem).update(text).digest('base64url'),
    ),
  'other-signature': ({ header, claims, key }: Draft) =>
    writeCompact(header, claims, (text) => key.sign(`${text} of another token`)),
  // Under the name of the issuer's key, which the service knows.
  'other-key': ({ header, claims }: Draft) => writeCompact(header, claims, strangersKey().sign),
  // A verifier that takes the key out of the token finds the signature good (CVE-2018-0114).
  'key-in-header': ({ header, claims }: Draft) => {
    const { publicJwk, sign } = strangersKey();
    return writeCompact({ ...header, jwk: { ...publicJwk, kid: header.kid } }, claims, sign);
  },
  'unknown-key': ({ header, claims }: Draft) => {
    const { kid, sign } = strangersKey();
    return writeCompact({ ...header, kid }, claims, sign);
  },
};

export type Forgery = keyof typeof forge;

/** Every kind of token that `forge` makes, for `test.each(forgeries)`. */
export const forgeries = Object.keys(forge) as Forgery[];

/** @throws {TypeError} where there is no such forgery */
export function forgeToken(forgery: Forgery, draft: Draft): string {
  if (!Object.hasOwn(forge, forgery)) {
    throw new TypeError(`there is no forgery ${String(forgery)}; there are ${forgeries.join(', ')}`);
  }
  return forge[forgery](draft);
}
