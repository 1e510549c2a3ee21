// The keys of a test issuer. The first one is the published key beside this file; a rotation makes a new one.

import { createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { forgersKey, publishedKey } from './published-key.ts';

export interface TestJwk {
  kty: 'RSA';
  n: string;
  e: string;
  kid: string;
  alg: 'RS256';
  use: 'sig';
}

export interface TestKey {
  kid: string;
  publicJwk: TestJwk;
  /** The public half as PEM: what an HMAC attack takes for its secret. */
  publicPem: string;
  sign(text: string): string;
}

/** @param kid says in every log and every error that this is no key of a real issuer */
function keyOf(privateKey: KeyObject, kid: string): TestKey {
  const publicKey = createPublicKey(privateKey);
  const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
  return {
    kid,
    publicJwk: { kty: 'RSA', n, e, kid, alg: 'RS256', use: 'sig' },
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
    sign: (text) => sign('sha256', Buffer.from(text), privateKey).toString('base64url'),
  };
}

const kidOf = (number: number) => `for-tests-only-${number}`;

export const firstKey = () => keyOf(publishedKey(), kidOf(1));

/** A key that is published by nobody. */
export const strangersKey = () => keyOf(forgersKey(), 'of-nobody');

/** In the thread pool: the service under test goes on answering. */
export async function newKey(number: number): Promise<TestKey> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return keyOf(privateKey, kidOf(number));
}
