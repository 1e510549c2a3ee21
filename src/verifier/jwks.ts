// Which keys of a JWK Set may verify an RS256 signature. What cannot be used is passed over, as RFC 7517 §5 asks, so
// that an issuer can publish a key of another kind without breaking anyone.

import { KeyObject } from 'node:crypto';
import { type CryptoKey, importJWK } from 'jose';

type VerificationJwk = Record<string, unknown>;

/** The entries of a JWK Set that claim to verify RS256. @throws {TypeError} when `jwks` is not a JWK Set at all */
export function verificationJwks(jwks: unknown): VerificationJwk[] {
  if (!isObject(jwks) || !Array.isArray(jwks.keys)) throw new TypeError('not a JWK Set: it has no array "keys"');
  return jwks.keys.filter(isObject).filter(mayVerify);
}

/** Public keys by `kid`, without those that turn out to be of no use. */
export async function importKeys(jwks: readonly VerificationJwk[]): Promise<Map<string, KeyObject>> {
  const keys = new Map<string, KeyObject>();
  const ambiguous = new Set<string>();
  for (const jwk of jwks) {
    const kid = jwk.kid as string;
    const key = await importPublicKey(jwk);
    if (key === undefined) continue;
    const other = keys.get(kid);
    if (other !== undefined && !other.equals(key)) ambiguous.add(kid);
    keys.set(kid, key);
  }
  // A kid that names two different keys names none: guessing would let the order of an array decide.
  for (const kid of ambiguous) keys.delete(kid);
  return keys;
}

function mayVerify(jwk: VerificationJwk): boolean {
  return (
    jwk.kty === 'RSA' &&
    typeof jwk.kid === 'string' &&
    jwk.kid !== '' &&
    (jwk.use === undefined || jwk.use === 'sig') &&
    (jwk.alg === undefined || jwk.alg === 'RS256') &&
    (jwk.key_ops === undefined || (Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))) &&
    // A private key that was published signs for everybody: nothing it signed can be believed.
    !Object.hasOwn(jwk, 'd')
  );
}

async function importPublicKey({ n, e }: VerificationJwk): Promise<KeyObject | undefined> {
  try {
    const imported = await importJWK({ kty: 'RSA', n: n as string, e: e as string, ext: true }, 'RS256');
    const key = KeyObject.from(imported as CryptoKey);
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    // RFC 7518 §3.3 asks for 2048 bits or more; above 8192 one verification takes milliseconds of the event loop.
    return bits >= 2048 && bits <= 8192 ? key : undefined;
  } catch {
    return undefined; // a key that cannot be imported is one that cannot be used: see above
  }
}

function isObject(value: unknown): value is VerificationJwk {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
