// The order in which the indexes (`idx`) of a status list are allocated: a keyed permutation of them all. An index says
// nothing of when its grant was made or whose is next to it, and yet none has to be looked up to know that it is free.

import { createHmac } from 'node:crypto';

/** 2^20 indexes: the list of a million live grants is 128 KiB before compression. */
export const indexesPerList = 1 << 20;

const halfBits = 10;
const halfMask = (1 << halfBits) - 1;
const rounds = 6;

/**
 * The index that the `n`th of a list is given (n from 0): a Feistel network over 20 bits, keyed by the list's own seed.
 * Not by the master key: that may be replaced while a list is half full, and indexes would collide.
 */
export function indexAt(n: number, seed: string): number {
  let [left, right] = [n >> halfBits, n & halfMask];
  for (let round = 0; round < rounds; round += 1) {
    const mixed = createHmac('sha256', seed).update(`${round} ${right}`).digest().readUInt16BE() & halfMask;
    [left, right] = [right, left ^ mixed];
  }
  return (left << halfBits) | right;
}
