// In which order the places of a status list are handed out: by a keyed permutation of them all, so that a place says
// nothing of when its grant was made or whose is next to it, and yet no place has to be looked up to know it is free.

import { createHmac } from 'node:crypto';

/** 2^20 places: the list of a million live grants is 128 KiB before compression. */
export const placesPerList = 1 << 20;

const halfBits = 10;
const halfMask = (1 << halfBits) - 1;
const rounds = 6;

/**
 * The place that the `n`th of a list is given (n from 0): a Feistel network over 20 bits, keyed by the list's own seed.
 * Not by the master key: that may be replaced while a list is half full, and places would collide.
 */
export function placeOf(n: number, seed: string): number {
  let [left, right] = [n >> halfBits, n & halfMask];
  for (let round = 0; round < rounds; round += 1) {
    const mixed = createHmac('sha256', seed).update(`${round} ${right}`).digest().readUInt16BE() & halfMask;
    [left, right] = [right, left ^ mixed];
  }
  return (left << halfBits) | right;
}
