// One status list: from the signed JWT to a table of entries, held to the Token Status List specification
// (draft-ietf-oauth-status-list §4.1, §5.1, §8.3). Fetching it, and how long to believe it, is status-list-cache.ts.

import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import { readHeader, type StatusReference } from './claims.ts';
import { readCompact } from './compact.ts';
import { checkSignature, type KeySource } from './keys.ts';

export interface StatusList {
  /** Whether an entry says anything but "valid"; undefined where the list has no such entry. */
  isSet(idx: number): boolean | undefined;
  /** Epoch seconds. */
  issuedAt: number;
  /** Epoch seconds; Infinity where it does not say. */
  expiresAt: number;
  /** How long it may be kept before a newer one is asked for. */
  ttlSeconds: number | undefined;
}

interface StatusListExpectations {
  issuer: string;
  uri: StatusReference['uri'];
  keys: Pick<KeySource, 'find'>;
  clockToleranceSeconds: number;
  nowSeconds: number;
}

const maxTokenBytes = 512 * 1024;
// What a small answer may unfold to: four million entries of one bit take 512 kB, a million of eight bits take 1 MB.
const maxListBytes = 4 * 1024 * 1024;

const decompress = promisify(inflate);

/** @throws {Error} when `jwt` is not the list at `uri` as `issuer` signed it, or is no longer valid */
export async function readStatusList(jwt: string, expected: StatusListExpectations): Promise<StatusList> {
  const compact = readCompact(jwt, maxTokenBytes);
  const { claims } = compact;
  checkSignature(compact, await expected.keys.find(readHeader(compact.header, 'a status list')));
  const { nowSeconds, clockToleranceSeconds: tolerance } = expected;
  // Signed, but for another place: an older list of the same issuer must not be passed off as this one. (§8.3)
  if (claims.sub !== expected.uri) throw new Error('the status list is that of another address');
  const { iss = expected.issuer, iat, exp, ttl } = claims;
  if (iss !== expected.issuer) throw new Error('the status list is from another issuer');
  // In our future it is of a replica whose clock is fast, and none the worse for it. (RFC 7519 §4.1.6)
  if (!isSeconds(iat)) throw new Error('the status list has no usable "iat"');
  if (exp !== undefined && !isSeconds(exp)) throw new Error('the status list has no usable "exp"');
  if (exp !== undefined && nowSeconds >= exp + tolerance) throw new Error('the status list has expired');
  if (ttl !== undefined && !(isSeconds(ttl) && ttl > 0)) throw new Error('the status list has no usable "ttl"');
  return {
    isSet: await readEntries(claims.status_list),
    issuedAt: iat,
    expiresAt: exp ?? Infinity,
    ttlSeconds: ttl,
  };
}

// Entries of 1, 2, 4 or 8 bits lie side by side, the first in the least significant bits of the first byte. (§4.1)
async function readEntries(list: unknown): Promise<StatusList['isSet']> {
  const { bits, lst } = (list ?? {}) as { bits?: unknown; lst?: unknown };
  if (bits !== 1 && bits !== 2 && bits !== 4 && bits !== 8) throw new Error('the status list has no usable "bits"');
  if (typeof lst !== 'string' || !/^[\w-]+$/.test(lst)) throw new Error('the status list has no usable "lst"');
  const bytes = await decompress(Buffer.from(lst, 'base64url'), { maxOutputLength: maxListBytes });
  const entries = (bytes.length * 8) / bits;
  const mask = (1 << bits) - 1;
  return (idx) => {
    if (idx >= entries) return undefined;
    const at = idx * bits;
    return ((bytes.readUInt8(Math.floor(at / 8)) >> (at % 8)) & mask) !== 0;
  };
}

function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && value >= 0;
}
