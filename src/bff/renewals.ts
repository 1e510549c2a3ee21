// One renewal per refresh token, however many requests ask at once. Its outcome is kept for a while, for the requests
// that the browser sent before it had the new cookies. What another process does at the same time, the issuer evens
// out: within its grace the same refresh gets the same answer.

import { hash } from 'node:crypto';
import { BffError } from './errors.ts';

/** Whose token is renewed: the session's id, which stays, and its refresh token, which does not. */
interface Renewable {
  readonly id: string;
  readonly refreshToken: string;
}

interface Renewals<T> {
  /** What `work` makes of this refresh token, done once. @throws {BffError} `signed_out` after `end` */
  renew(session: Renewable, work: () => Promise<T>): Promise<T>;
  /**
   * No token of the session is renewed from now on, nor is anybody handed what an earlier one came to: whoever copied
   * cookies before a renewal would get the latest. Returns what the renewal of this one, under way or a moment ago,
   * came to.
   */
  end(session: Renewable): Promise<T | undefined>;
}

const keptSeconds = 30;

export function createRenewals<T>(now: () => number): Renewals<T> {
  // By hash: the map outlives the requests, and a heap dump should not be a list of refresh tokens.
  const known = new Map<string, { id: string; outcome: Promise<T>; keepUntil: number }>();
  // Until the issuer has revoked them for certain.
  const ended = new Map<string, { keepUntil: number }>();
  const keyOf = (refreshToken: string) => hash('sha256', refreshToken, 'base64url');

  function dropOld(): void {
    for (const map of [known, ended]) for (const [key, { keepUntil }] of map) if (keepUntil < now()) map.delete(key);
  }

  return {
    async renew({ id, refreshToken }, work) {
      dropOld();
      if (ended.has(id)) throw new BffError('signed_out', 'you are signed out');
      const key = keyOf(refreshToken);
      const found = known.get(key);
      if (found) return found.outcome;
      const entry = { id, outcome: work(), keepUntil: Infinity };
      known.set(key, entry);
      const kept = () => {
        entry.keepUntil = now() + keptSeconds * 1000;
      };
      // A failure is nobody's to keep: the next request may find the issuer back.
      entry.outcome.then(kept, () => {
        if (known.get(key) === entry) known.delete(key);
      });
      return entry.outcome;
    },

    async end({ id, refreshToken }) {
      dropOld();
      const before = known.get(keyOf(refreshToken))?.outcome;
      for (const [key, entry] of known) if (entry.id === id) known.delete(key);
      ended.set(id, { keepUntil: now() + keptSeconds * 1000 });
      return before?.catch(() => undefined);
    },
  };
}
