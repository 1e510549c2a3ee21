// What it takes to write tokens of the test issuer: its key, a stranger's, and where nobody should ever ask.

import { createPrivateKey } from 'node:crypto';
import type { Forge } from '../support/hostile-tokens.ts';
import { testKeys } from '../support/keys.ts';
import { audience, firstKey, type TestIssuer } from './issuer.ts';

const keyOf = ({ pkcs8 }: { pkcs8: Buffer }) => createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });

const strangersKey = keyOf(testKeys[1]!);

export function forgeOf({ issuer, claims }: Pick<TestIssuer, 'issuer' | 'claims'>, trapUrl: string): Forge {
  const privateKey = keyOf(testKeys[0]!);
  return { issuer, audience, kid: firstKey.kid, privateKey, strangersKey, claims: () => claims(), trapUrl };
}
