// RSA keys for tests, made once and published here: making one takes 200 ms. Never to be used anywhere else.

import { createPrivateKey } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyPolicy } from '../../src/keys/policy.ts';
import type { NewKey } from '../../src/keys/signer.ts';
import { generateKey, publicJwk } from '../../src/keys/signer.ts';

const pem = readFileSync(new URL('./fixtures/test-only-rsa-keys.pem', import.meta.url), 'utf8');

export const testKeys: readonly NewKey[] = pem.match(/-----BEGIN[\s\S]+?-----END PRIVATE KEY-----/g)!.map((text) => {
  const privateKey = createPrivateKey(text);
  const { n, e } = privateKey.export({ format: 'jwk' });
  return { publicJwk: publicJwk(n!, e!), pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }) };
});

/** As it is shipped, for tokens of two weeks at the longest. */
export const policy: KeyPolicy = {
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

let made = 0;

/** At the beginning of a test file. */
export const forgetMadeKeys = (): void => {
  made = 0;
};

/**
 * Makes keys for whole servers: real ones, of this run. Each is handed out once in a test file, and again in the next one,
 * since making one takes as long as starting the server.
 */
export async function makeKey(modulusLength: 2048 | 3072 | 4096 = 2048): Promise<NewKey> {
  const directory = process.env.SIGNET_TEST_DIRECTORY;
  if (!directory || modulusLength !== 2048) return generateKey(modulusLength);
  made += 1;
  const file = join(directory, `key-${made}.json`);
  if (existsSync(file)) {
    const { publicJwk, pkcs8 } = JSON.parse(readFileSync(file, 'utf8'));
    return { publicJwk, pkcs8: Buffer.from(pkcs8, 'base64') };
  }
  const key = await generateKey();
  const whole = `${file}.${process.pid}`;
  writeFileSync(whole, JSON.stringify({ publicJwk: key.publicJwk, pkcs8: key.pkcs8.toString('base64') }));
  renameSync(whole, file); // another worker may have been as quick: either is a key, and a file has seen one of them
  return key;
}
