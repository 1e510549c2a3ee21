// A status list as the Token Status List draft has it (§4.1): one bit per token, the least significant bit of each byte
// first, compressed with DEFLATE in the ZLIB format.

import { promisify } from 'node:util';
import { constants, deflate } from 'node:zlib';

const compress = promisify(deflate);

export function setBit(bits: Uint8Array, idx: number): void {
  bits[idx >> 3]! |= 1 << (idx & 7);
}

export function hasBit(bits: Uint8Array, idx: number): boolean {
  return (bits[idx >> 3]! & (1 << (idx & 7))) !== 0;
}

// Zeros with a bit here and there: runs are all there is to find, and looking for more takes zlib's best level up to
// 150 ms for the same size (bench/status-list.ts).
const options = { level: constants.Z_BEST_COMPRESSION, strategy: constants.Z_RLE };

/** The member `lst` (§4.2), in the thread pool. */
export async function encodeBits(bits: Uint8Array): Promise<string> {
  return (await compress(bits, options)).toString('base64url');
}
