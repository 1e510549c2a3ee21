// One renewal per refresh token, however many requests ask at once. Its outcome is kept for a while, for the requests
// that the browser sent before it had the new cookies. What another process does at the same time, the issuer evens
// out: within its grace the same refresh gets the same answer.

import { hash } from 'node:crypto';
import { BffError } from './errors.ts';

interface Renewals<T> {
  /** What `work` makes of this refresh token, done once. @throws {BffError} `signed_out` after `end` */
  renew(refreshToken: string, work: () => Promise<T>): Promise<T>;
  /** No renewal begins from now on; what one under way, or a moment ago, came to. */
  end(refreshToken: string): Promise<T | undefined>;
}

const keptSeconds = 30;

export function createRenewals<T>(now: () => number): Renewals<T> {
  // By hash: the map outlives the requests, and a heap dump should not be a list of refresh tokens.
  const known = new Map<string, { outcome: Promise<T>; keepUntil: number }>();
  const keyOf = (refreshToken: string) => hash('sha256', refreshToken, 'base64url');

  function dropOld(): void {
    for (const [key, { keepUntil }] of known) if (keepUntil < now()) known.delete(key);
  }

  return {
    renew(refreshToken, work) {
      dropOld();
      const key = keyOf(refreshToken);
      const found = known.get(key);
      if (found) return found.outcome;
      const entry = { outcome: work(), keepUntil: Infinity };
      known.set(key, entry);
      const kept = () => { entry.keepUntil = now() + keptSeconds * 1000; };
      // A failure is nobody's to keep: the next request may find the issuer back.
      entry.outcome.then(kept, () => { if (known.get(key) === entry) known.delete(key); });
      return entry.outcome;
    },

    async end(refreshToken) {
      dropOld();
      const key = keyOf(refreshToken);
      const before = known.get(key)?.outcome;
      const over = Promise.reject(new BffError('signed_out', 'you are signed out'));
      over.catch(() => { /* whoever renews hears of it */ });
      known.set(key, { outcome: over, keepUntil: now() + keptSeconds * 1000 });
      return before?.catch(() => undefined);
    },
  };
}
