// One status list in memory (Token Status List draft §4.1): a bit per token, handed out in order. A real issuer has
// them shuffled; a test has nobody to hide the order from.

import { deflateSync } from 'node:zlib';

interface TestStatusList {
  /** A status index (`idx`) that no other token has. */
  allocate(): number;
  revoke(idx: number): void;
  /** The member `lst`. */
  encode(): string;
}

// More tokens than any test signs; 8 KiB.
const places = 1 << 16;

export function createStatusList(): TestStatusList {
  const bits = new Uint8Array(places / 8);
  let taken = 0;
  return {
    allocate() {
      if (taken === places) throw new RangeError(`a test issuer signs ${places} tokens; make another one`);
      return taken++;
    },
    revoke(idx) {
      bits[idx >> 3] = (bits[idx >> 3] ?? 0) | (1 << (idx & 7));
    },
    encode: () => deflateSync(bits).toString('base64url'),
  };
}
