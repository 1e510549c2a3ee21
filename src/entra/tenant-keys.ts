// Entra's signing keys (JWKS). Microsoft asks to reload them hourly, to keep the last known good ones for a day while
// they cannot be had, and to look for a new key when a token names one that is not known, but not at every such token.
// (https://learn.microsoft.com/entra/identity-platform/signing-key-rollover)

import { type CryptoKey, importJWK } from 'jose';
import type { Log } from '../log.ts';

export interface TenantKey {
  key: CryptoKey;
  /** Whose tokens it may sign; may hold the template {tenantid}. */
  issuer?: string;
}

export interface TenantKeys {
  /**
   * Undefined: Entra publishes no such key.
   * @throws {KeysUnavailable} nobody can tell
   */
  find(kid: string): Promise<TenantKey | undefined>;
  /** Forgets what is known; the next token loads anew. For the moment a key was stolen from Microsoft. */
  invalidate(): void;
}

export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';

  constructor(cause: unknown) {
    super('the signing keys of Entra are not available', { cause });
  }
}

interface Jwk {
  kty: 'RSA';
  kid: string;
  n: string;
  e: string;
  issuer?: string;
}

interface Copy {
  keys: ReadonlyMap<string, Jwk>;
  at: number;
}

const reloadAfterMs = 3_600_000;
const lastKnownGoodMs = 86_400_000;
/** Between two looks for a key that is not known. */
const lookForNewMs = 30_000;
const afterFailureMs = 5_000;

interface TenantKeysOptions {
  /** Fetches the JWKS document. */
  load: () => Promise<Readonly<Record<string, unknown>>>;
  log: Log;
  now?: () => number;
}

export function createTenantKeys({ load, log, now = Date.now }: TenantKeysOptions): TenantKeys {
  let copy: Copy | undefined;
  let flight: Promise<void> | undefined;
  let lookedAt = -Infinity;
  let failedAt = -Infinity;
  let lastFailure: unknown;
  let timesForgotten = 0;

  const usable = () => (copy !== undefined && now() - copy.at < lastKnownGoodMs ? copy : undefined);

  /** One load at a time, shared; after a failure none for some seconds, however many tokens ask. */
  function reload(): Promise<void> {
    if (now() - failedAt < afterFailureMs) return Promise.reject(lastFailure);
    if (!flight) {
      const mine = loadOnce().finally(() => {
        if (flight === mine) flight = undefined;
      });
      flight = mine;
    }
    return flight;
  }

  async function loadOnce(): Promise<void> {
    const [at, asOf] = [now(), timesForgotten]; // an answer is as old as its question
    try {
      const keys = signingKeys(await load());
      if (asOf !== timesForgotten) return reload();
      if (keys.size === 0) throw new Error('the document names no key that can sign');
      copy = { keys, at };
    } catch (error) {
      if (asOf !== timesForgotten) return reload();
      failedAt = now();
      lastFailure = error;
      log.warn('entra.keys_not_loaded', { error, lastKnownGood: usable() !== undefined });
      throw error;
    }
  }

  const reloadOrFail = () =>
    reload().catch((cause) => {
      throw new KeysUnavailable(cause);
    });

  return {
    async find(kid) {
      const current = usable();
      if (current === undefined) await reloadOrFail();
      else if (now() - current.at >= reloadAfterMs) reload().catch(() => {}); // logged; what is known is good for a day
      const known = copy?.keys.get(kid);
      if (known) return toKey(known);

      // A new key, or a forgery, and only Entra can tell. Between two looks nobody can, so that is what is said.
      if (now() - lookedAt < lookForNewMs) throw new KeysUnavailable(new Error('looked for an unknown key just now'));
      lookedAt = now();
      await reloadOrFail();
      if (!copy) throw new KeysUnavailable(new Error('forgotten just now'));
      const found = copy.keys.get(kid);
      return found && toKey(found);
    },

    invalidate() {
      copy = undefined;
      // What was asked for before is no answer any more.
      flight = undefined;
      timesForgotten += 1;
      lookedAt = -Infinity;
      failedAt = -Infinity;
    },
  };
}

async function toKey({ kty, n, e, issuer }: Jwk): Promise<TenantKey> {
  // Entra's keys carry no alg: what they may be used for is said here. (RFC 8725 §3.1)
  const key = (await importJWK({ kty, n, e }, 'RS256')) as CryptoKey;
  return issuer === undefined ? { key } : { key, issuer };
}

function signingKeys(document: Readonly<Record<string, unknown>>): Map<string, Jwk> {
  const listed = Array.isArray(document['keys']) ? document['keys'].filter(isSigningKey) : [];
  const repeated = new Set(listed.map(({ kid }) => kid).filter((kid, at, all) => all.indexOf(kid) !== at));
  // Two keys under one name: which of them a token means cannot be told, so neither is used.
  return new Map(listed.filter(({ kid }) => !repeated.has(kid)).map((jwk) => [jwk.kid, jwk]));
}

const leastModulusBytes = 256;

function isSigningKey(value: unknown): value is Jwk {
  if (typeof value !== 'object' || value === null) return false;
  const { kty, use, kid, n, e, alg, issuer } = value as Record<string, unknown>;
  return (
    kty === 'RSA' &&
    (use === undefined || use === 'sig') &&
    (alg === undefined || alg === 'RS256') &&
    typeof kid === 'string' &&
    kid !== '' &&
    typeof e === 'string' &&
    typeof n === 'string' &&
    Buffer.from(n, 'base64url').length >= leastModulusBytes &&
    (issuer === undefined || typeof issuer === 'string')
  );
}
