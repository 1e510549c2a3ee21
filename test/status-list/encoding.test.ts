import { randomBytes } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { encodeBits, hasBit, setBit } from '../../src/status-list/encoding.ts';
import { indexesPerList } from '../../src/status-list/permutation.ts';

/** As a stranger reads a list: RFC 1950, and bit `idx % 8` of byte `idx / 8`. */
function strangerReads(lst: string, idx: number): number {
  const bytes = inflateSync(Buffer.from(lst, 'base64url'));
  return (bytes[Math.floor(idx / 8)]! >> (idx % 8)) & 1;
}

function listOf(indexes: readonly number[], size = indexesPerList): Uint8Array {
  const bits = new Uint8Array(size / 8);
  for (const idx of indexes) setBit(bits, idx);
  return bits;
}

describe('a status list, as the specification encodes it', () => {
  // draft-ietf-oauth-status-list, §4.1 and §4.2.
  const example = [0, 3, 4, 5, 7, 8, 9, 13, 15];

  test('is the example of §4.1, byte for byte after the header', async () => {
    expect(Buffer.from(listOf(example, 16)).toString('hex')).toBe('b9a3');
    const theirs = Buffer.from('eNrbuRgAAhcBXQ', 'base64url');
    const ours = Buffer.from(await encodeBits(listOf(example, 16)), 'base64url');
    expect(ours.subarray(2).toString('hex')).toBe(theirs.subarray(2).toString('hex'));
    // RFC 1950 §2.2: deflate, a window of 32 kB; how hard the compressor tried is informative.
    expect([ours[0], ours.readUInt16BE() % 31]).toEqual([0x78, 0]);
  });

  test('says of a million indexes what the test vector of appendix C says', async () => {
    const revoked = [0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345];
    const vector =
      'eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAA' +
      'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAAAAAAAAAA' +
      'AAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAAACAZC8L2AEb';
    const ours = listOf(revoked);
    expect(Buffer.from(ours).equals(inflateSync(Buffer.from(vector, 'base64url')))).toBe(true);
    const lst = await encodeBits(ours);
    for (const idx of revoked) expect(strangerReads(lst, idx)).toBe(1);
    for (const idx of revoked) expect(strangerReads(lst, idx ^ 1)).toBe(0);
  });

  test('has every index, from the first to the last', async () => {
    const lst = await encodeBits(listOf([0, indexesPerList - 1]));
    expect(inflateSync(Buffer.from(lst, 'base64url'))).toHaveLength(indexesPerList / 8);
    expect([0, 1, indexesPerList - 2, indexesPerList - 1].map((idx) => strangerReads(lst, idx))).toEqual([1, 0, 0, 1]);
    expect(hasBit(listOf([42]), 42)).toBe(true);
    expect(hasBit(listOf([42]), 43)).toBe(false);
  });
});

describe('the size of a list for a million live grants', () => {
  const kilobytes = (lst: string) => lst.length / 1000;

  test('is next to nothing while nothing is revoked', async () => {
    expect(kilobytes(await encodeBits(listOf([])))).toBeLessThan(0.3);
  });

  test('is a few kilobytes where one grant in a thousand is revoked', async () => {
    const revoked = Array.from({ length: 1_000 }, () => randomBytes(4).readUInt32BE() % indexesPerList);
    expect(kilobytes(await encodeBits(listOf(revoked)))).toBeLessThan(5);
  });

  test('is under 200 kB at its worst, where every second one is', async () => {
    expect(kilobytes(await encodeBits(randomBytes(indexesPerList / 8)))).toBeLessThan(200);
  });
});
