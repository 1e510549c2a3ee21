// What our cookies hold, sealed with AES-256-GCM, so that a browser keeps it but neither reads nor changes it. A sealed
// text is bound to its application and purpose (a key of its own, HKDF, RFC 5869) and to its place (additional authenticated data, `aad`): moved
// into another cookie or another session it does not open, nor at an application that was given the same keys.

import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto';

export interface CookieSeal {
  seal(text: string, aad: string): string;
  /** Undefined where it was changed, moved, or sealed under a key we do not have. */
  open(sealed: string, aad: string): string | undefined;
}

/** The one to seal with first, then those that may still open what they sealed. */
type CookieKeys = readonly [Buffer, ...Buffer[]];

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** @throws {TypeError} when a key is not 32 bytes; the key itself is not repeated */
export function readCookieKeys(keys: unknown): CookieKeys {
  if (!Array.isArray(keys)) throw new TypeError('cookieKeys needs at least one key');
  const [first, ...others] = keys.map(readKey);
  if (first === undefined) throw new TypeError('cookieKeys needs at least one key');
  return [first, ...others];
}

function readKey(key: unknown, at: number): Buffer {
  if (key instanceof Uint8Array && key.length === keyBytes) return Buffer.from(key);
  // Both alphabets of RFC 4648, since `openssl rand -base64 32` prints the one with padding.
  if (typeof key === 'string' && /^(?:[\w-]{43}|[A-Za-z0-9+/]{43}=)$/.test(key)) return Buffer.from(key, 'base64url');
  throw new TypeError(`cookieKeys[${at}] must be 32 random bytes, as base64 or as bytes: openssl rand -base64 32`);
}

/**
 * @param keys the newest seals
 * @param application what tells this application from others with the same keys
 */
export function createCookieSeal([newest, ...older]: CookieKeys, application: string, purpose: string): CookieSeal {
  // Hashed, since the names may be long and HKDF's input for them is not.
  const salt = hash('sha256', application, 'buffer');
  const ringOf = (key: Buffer) => ({
    id: subkey(key, '', 'name', 6).toString('base64url'),
    // Random nonces are good for 2^32 messages under one key (NIST SP 800-38D §8.3): a hundred a second for a year.
    sealing: subkey(key, salt, `seal ${purpose}`, keyBytes),
  });
  const current = ringOf(newest);
  const rings = [current, ...older.map(ringOf)];

  return {
    seal(text, aad) {
      const prefix = `v1.${current.id}.`;
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', current.sealing, nonce).setAAD(Buffer.from(prefix + aad));
      const body = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
      return prefix + Buffer.concat(body).toString('base64url');
    },

    open(sealed, aad) {
      const [, id, text = ''] = /^v1\.([\w-]{8})\.([\w-]+)$/.exec(sealed) ?? [];
      const ring = rings.find((candidate) => candidate.id === id);
      const body = Buffer.from(text, 'base64url');
      if (!ring || body.length < nonceBytes + tagBytes) return undefined;
      const options = { authTagLength: tagBytes };
      const decipher = createDecipheriv('aes-256-gcm', ring.sealing, body.subarray(0, nonceBytes), options)
        .setAAD(Buffer.from(`v1.${id}.${aad}`))
        .setAuthTag(body.subarray(-tagBytes));
      try {
        const opened = [decipher.update(body.subarray(nonceBytes, -tagBytes)), decipher.final()];
        return Buffer.concat(opened).toString('utf8');
      } catch {
        return undefined; // Whoever changed it learns nothing but that it did not open.
      }
    },
  };
}

function subkey(key: Buffer, salt: Buffer | string, purpose: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, `signet bff v1 ${purpose}`, bytes));
}
