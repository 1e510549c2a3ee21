// EMSA-PKCS1-v1_5 (RFC 8017 §9.2) has one right answer for what an RSA signature holds. Here are blocks that are
// nearly it, of the kinds that Wycheproof's RSA and JWS vectors have, to be signed with a key of ours: a verifier that
// parses the block, where it should compare it, takes one or the other for good.

import { hash } from 'node:crypto';

/** The block to be signed for a text, of the size of the key in bytes. */
type Block = (text: Buffer) => Buffer;

export function forgedPaddings(size: number): [name: string, block: Block][] {
  const digest = (text: Buffer) => hash('sha256', text, 'buffer');
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
  const sha256 = '06 09 60 86 48 01 65 03 04 02 01';
  /** The DigestInfo with `head` in the place of what stands before the hash. */
  const info =
    (head: string, tail = '') =>
    (text: Buffer) =>
      padded(size, Buffer.concat([hex(head), digest(text), hex(tail)]));
  const changed = (at: number, value: number) => (text: Buffer) => {
    const block = padded(size, digestInfo(text));
    block[at] = value;
    return block;
  };
  const separator = size - 52;

  return [
    ['length of the sequence in long form', info(`30 81 31 30 0d ${sha256} 05 00 04 20`)],
    ['length of the sequence with a leading zero', info(`30 82 00 31 30 0d ${sha256} 05 00 04 20`)],
    ['length of the sequence one too many', info(`30 32 30 0d ${sha256} 05 00 04 20`)],
    ['length of the sequence one too few', info(`30 30 30 0d ${sha256} 05 00 04 20`)],
    ['length of the sequence beyond 32 bits', info(`30 85 01 00 00 00 31 30 0d ${sha256} 05 00 04 20`)],
    ['length of the sequence beyond 64 bits', info(`30 89 01 00 00 00 00 00 00 00 31 30 0d ${sha256} 05 00 04 20`)],
    ['a sequence of no stated length', info(`30 80 30 0d ${sha256} 05 00 04 20`, '00 00')],
    ['no sequence', info('04 20')],
    ['no DigestInfo: the hash alone', info('')],
    ['zeros behind the hash, in the sequence', info(`30 33 30 0d ${sha256} 05 00 04 20`, '00 00')],
    ['NULL behind the hash, in the sequence', info(`30 33 30 0d ${sha256} 05 00 04 20`, '05 00')],
    ['garbage behind the sequence', info(`30 31 30 0d ${sha256} 05 00 04 20`, '49 77 81 77')],
    ['no parameters', info(`30 2f 30 0b ${sha256} 04 20`)],
    ['parameters that are not NULL', info(`30 32 30 0e ${sha256} 04 01 00 04 20`)],
    ['parameters that hold anything', info(`30 41 30 1d ${sha256} 04 10 ${'ab'.repeat(16)} 04 20`)],
    ['the name of SHA-1', info('30 2d 30 09 06 05 2b 0e 03 02 1a 05 00 04 20')],
    ['the name of SHA-512', info(`30 31 30 0d ${sha256.replace(/01$/, '03')} 05 00 04 20`)],
    ['length of the hash in long form', info(`30 32 30 0d ${sha256} 05 00 04 81 20`)],
    ['a hash cut short', (text) => padded(size, digestInfo(text).subarray(0, -1))],
    ['a hash with a zero in front', info(`30 32 30 0d ${sha256} 05 00 04 21 00`)],
    ['the hash of something else', () => padded(size, digestInfo(Buffer.from('something else')))],
    ['first byte one', changed(0, 1)],
    ['block type 0', changed(1, 0)],
    ['block type 2', changed(1, 2)],
    ['one byte of the filling changed', changed(10, 0xfe)],
    ['the filling of zeros', (text) => padded(size, digestInfo(text)).fill(0, 2, separator)],
    ['no separator', changed(separator, 0xff)],
    ['separator one', changed(separator, 1)],
    // Bleichenbacher's forgery of 2006: little filling, and room for a cube root behind.
    [
      'eight bytes of filling, the rest behind the hash',
      (text) => {
        const start = Buffer.concat([Buffer.of(0, 1), Buffer.alloc(8, 0xff), Buffer.of(0), digestInfo(text)]);
        return Buffer.concat([start, Buffer.alloc(size - start.length, 0xa5)]);
      },
    ],
    [
      'no filling, the rest behind the hash',
      (text) => {
        const start = Buffer.concat([Buffer.of(0, 1, 0), digestInfo(text)]);
        return Buffer.concat([start, Buffer.alloc(size - start.length)]);
      },
    ],
  ];
}

/** The one right answer. */
export function properPadding(size: number): Block {
  return (text) => padded(size, digestInfo(text));
}

function digestInfo(text: Buffer): Buffer {
  return Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), hash('sha256', text, 'buffer')]);
}

function padded(size: number, content: Uint8Array): Buffer {
  const filling = Buffer.alloc(size - 3 - content.length, 0xff);
  return Buffer.concat([Buffer.of(0, 1), filling, Buffer.of(0), content]);
}
