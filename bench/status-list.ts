// How long a status list for a million grants takes to build: compressed, signed, and compressed again for the wire.
// Not reading the database, which is incremental. Run: npx node bench/status-list.ts

import { randomInt } from 'node:crypto';
import { createSigner, generateKey } from '../src/keys/signer.ts';
import { silentLog } from '../src/log.ts';
import { createStatusListPublisher } from '../src/status-list/lists.ts';
import { indexesPerList } from '../src/status-list/permutation.ts';
import type { RevokedStatus } from '../src/status-list/revoked.ts';

const runs = 11;
const { publicJwk, pkcs8 } = await generateKey();
const active = createSigner(publicJwk, pkcs8);
const keys = { active, published: [publicJwk], newestPreparedAt: 0, version: 'bench' };

console.log('revoked of 2^20   build, median   slowest   JWT        gzipped');
for (const revoked of [0, 1_000, 10_000, 100_000, indexesPerList / 2]) {
  const rows: RevokedStatus[] = Array.from({ length: revoked }, () => ({
    grantId: '',
    expiresAt: Infinity,
    index: { list: 1, idx: randomInt(indexesPerList) },
  }));
  const times: number[] = [];
  let size = { plain: 0, gzipped: 0 };
  for (let run = 0; run < runs; run += 1) {
    const lists = createStatusListPublisher({
      issuer: 'https://id.example.com',
      ttl: 15,
      log: silentLog,
      indexes: { lists: async () => [1], invalidate: () => {} },
      revoked: { list: async () => rows },
    });
    const began = performance.now();
    await lists.useKeys(keys);
    times.push(performance.now() - began);
    const { token, gzipped } = (await lists.find(1))!;
    size = { plain: token.length, gzipped: gzipped.length };
  }
  times.sort((a, b) => a - b);
  const cells = [
    String(revoked).padEnd(17),
    `${times[runs >> 1]!.toFixed(1)} ms`.padEnd(15),
    `${times.at(-1)!.toFixed(1)} ms`.padEnd(9),
    `${(size.plain / 1000).toFixed(1)} kB`.padEnd(10),
    `${(size.gzipped / 1000).toFixed(1)} kB`,
  ];
  console.log(cells.join(' '));
}
