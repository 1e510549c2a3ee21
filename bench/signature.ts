// One RSA-2048 signature and nothing else, by the signer that the issuer signs with: what no token can cost less than. Run
// by issuer.ts as a process of its own; each `seed` signs so many times, eight at once.

import { createSigner, generateKey } from '../src/keys/signer.ts';
import { report } from './process.ts';

const { publicJwk, pkcs8 } = await generateKey();
const signer = createSigner(publicJwk, pkcs8);
const data = Buffer.alloc(700, 'a');

report(async (count) => {
  let left = count;
  const work = async () => {
    while (left-- > 0) await signer.sign(data);
  };
  await Promise.all(Array.from({ length: 8 }, work));
  return [];
});
