// Tokens that were found genuine a moment ago, so that the next request with the same one costs no signature. Nothing
// is believed for being here: the verifier looks at the clock, the key and the revocation again at every hit. Only
// genuine tokens come in, so no stranger can push others out.

import { hash, type KeyObject } from 'node:crypto';
import type { AccessToken, Reading } from './claims.ts';

/** What a proven token's signature stands on. */
export interface Proven extends Reading {
  readonly kid: string;
  readonly key: KeyObject;
}

interface ProvenTokens {
  get(name: string): Proven | undefined;
  set(name: string, proven: Proven): void;
}

/**
 * What a token is known by: a digest, so that no table of usable bearer tokens lies in memory. One token has one
 * spelling (compact.ts), so another text is another token.
 */
export const tokenDigest = (jwt: string) => hash('sha256', jwt, 'base64url');

/** Holds at most `size`. Two generations in place of a list by last use: a hit on a recent one moves nothing. */
export function createProvenTokens(size: number): ProvenTokens {
  const half = Math.max(1, Math.floor(size / 2));
  let recent = new Map<string, Proven>();
  let older = new Map<string, Proven>();

  function set(name: string, proven: Proven): void {
    if (recent.size >= half && !recent.has(name)) {
      older = size > 1 ? recent : new Map();
      recent = new Map();
    }
    recent.set(name, proven);
  }

  return {
    get(name) {
      const found = recent.get(name);
      if (found !== undefined) return found;
      const aged = older.get(name);
      if (aged !== undefined) {
        older.delete(name);
        set(name, aged);
      }
      return aged;
    },
    set,
  };
}

/** A result for one caller: its dates are its own, and the rest is frozen. */
export function copyOf(token: AccessToken): AccessToken {
  const { issuedAt, expiresAt, authTime } = token;
  return {
    ...token,
    issuedAt: new Date(issuedAt),
    expiresAt: new Date(expiresAt),
    ...(authTime === undefined ? {} : { authTime: new Date(authTime) }),
  };
}
