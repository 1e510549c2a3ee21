// RSA keys for tests, made once and published here: making one takes 200 ms. Never to be used anywhere else.

import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import type { Policy } from '../../src/keys/lifecycle.ts';
import type { NewKey } from '../../src/keys/signer.ts';
import { publicJwk } from '../../src/keys/signer.ts';

const pem = readFileSync(new URL('./fixtures/test-only-rsa-keys.pem', import.meta.url), 'utf8');

export const testKeys: readonly NewKey[] = pem.match(/-----BEGIN[\s\S]+?-----END PRIVATE KEY-----/g)!.map((text) => {
  const privateKey = createPrivateKey(text);
  const { n, e } = privateKey.export({ format: 'jwk' });
  return { publicJwk: publicJwk(n!, e!), pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }) };
});

/** As it is shipped, for tokens of two weeks at the longest. */
export const policy: Policy = {
  rotateEvery: 90 * 86_400,
  publishAhead: 86_400,
  longestLife: 14 * 86_400,
  jwksMaxAge: 300,
  pollEvery: 30,
  clockSkew: 30,
};

/** A `generate` for createKeyring that hands out the keys above, each once. Share it among keyrings of one database. */
export function fromTestKeys(): () => Promise<NewKey> {
  const left = [...testKeys];
  return async () => {
    const key = left.shift();
    if (!key) throw new Error(`the test has used all ${testKeys.length} keys of test/support/fixtures`);
    return key;
  };
}
