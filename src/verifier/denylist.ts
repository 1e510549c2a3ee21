// What was revoked, as the issuer writes it to a Redis: one key per grant, token or person, there for as long as its
// tokens could live. It makes a revocation immediate; the status lists remain the truth, for what a Redis may lose.

import type { AccessToken } from './claims.ts';

/**
 * The one command of a Redis client that is used: how many of the keys exist. Clients of node-redis fit as they are; of
 * ioredis: `{ exists: (keys) => client.exists(...keys) }`.
 */
export interface RedisReader {
  exists(keys: string[]): Promise<number>;
}

export interface DenylistReader {
  /** Whether the issuer put the token, its grant or its subject there. Rejects when Redis does not say. */
  has(token: AccessToken): Promise<boolean>;
}

interface DenylistReaderOptions {
  redis: RedisReader;
  onRefreshError: (error: unknown) => void;
  now: () => number;
}

const timeoutMs = 500;
// After a failure the others need not each wait for one of their own.
const awayMs = 1000;

export function createDenylistReader({ redis, onRefreshError, now }: DenylistReaderOptions): DenylistReader {
  let awayUntil = -Infinity;

  return {
    async has({ jti, sub }) {
      if (now() < awayUntil) throw new Error('Redis did not answer a moment ago');
      const [grant = ''] = jti.split('.', 1);
      const keys = [`signet:revoked:grant:${grant}`, `signet:revoked:jti:${jti}`, `signet:revoked:sub:${sub}`];
      try {
        return readCount(await inTime(redis.exists(keys)));
      } catch (error) {
        awayUntil = now() + awayMs;
        onRefreshError(error);
        throw error;
      }
    },
  };
}

// A client may be wrapped wrongly, or a proxy answer in its place; "undefined is not more than 0" must open nothing.
function readCount(count: unknown): boolean {
  if (count === 0) return false;
  if (typeof count === 'number' && count > 0) return true;
  throw new Error('Redis answered EXISTS with something that is no count');
}

// Clients queue what they are told while there is no connection, for as long as it takes.
async function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('Redis did not answer in time')), timeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
