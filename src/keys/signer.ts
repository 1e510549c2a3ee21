// RSA: making a key, its name (RFC 7638), and signing with it. The private half stays a KeyObject inside a closure:
// whoever holds a Signer can sign, and cannot export. Knows nothing of storage or of states.

import { createHash, createPrivateKey, generateKeyPair, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';

export interface PublicJwk {
  kty: 'RSA';
  n: string;
  e: string;
  kid: string;
  // Both always present: a consumer that sorts by them would otherwise put an old key before a new one.
  alg: 'RS256';
  use: 'sig';
}

export interface NewKey {
  publicJwk: PublicJwk;
  /** The private half, PKCS #8 in DER. */
  pkcs8: Buffer;
}

export interface Signer {
  kid: string;
  alg: 'RS256';
  publicJwk: PublicJwk;
  /** RSASSA-PKCS1-v1_5 with SHA-256 over `data` (RFC 7518 §3.3). */
  sign(data: Uint8Array): Promise<Buffer>;
}

type ModulusBits = 2048 | 3072 | 4096;

const generate = promisify(generateKeyPair);
const rs256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

export async function generateKey(modulusLength: ModulusBits = 2048): Promise<NewKey> {
  const { publicKey, privateKey } = await generate('rsa', { modulusLength });
  const { n, e } = publicKey.export({ format: 'jwk' });
  return { publicJwk: publicJwk(n!, e!), pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }) };
}

export function publicJwk(n: string, e: string): PublicJwk {
  // RFC 7638 §3.2: required members only, in this order, no white space.
  const kid = createHash('sha256')
    .update(JSON.stringify({ e, kty: 'RSA', n }))
    .digest('base64url');
  return { kty: 'RSA', n, e, kid, alg: 'RS256', use: 'sig' };
}

export function createSigner(jwk: PublicJwk, pkcs8: Buffer): Signer {
  const privateKey = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' }).toCryptoKey(rs256, false, ['sign']);
  return {
    kid: jwk.kid,
    alg: jwk.alg,
    publicJwk: jwk,
    // In libuv's thread pool, as crypto.sign with a callback is, and for the same CPU time. What waits for that one is
    // not garbage before the next mark-compact, and here that is a whole request.
    sign: async (data) => Buffer.from(await webcrypto.subtle.sign(rs256, privateKey, data as Uint8Array<ArrayBuffer>)),
  };
}
