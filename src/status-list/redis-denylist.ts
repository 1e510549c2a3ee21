// Revocations in Redis, for verifiers that look there: they refuse within milliseconds and not within a list's ttl. One
// key per grant that ended, `signet:revoked:grant:<id>`: the first half of each of its tokens' jti, and gone when the
// last of them has expired. Redis is told behind everything else, and what it missed when it comes back: the truth is
// in the table revoked_statuses. Nobody waits for it, and nothing fails without it.

import { setTimeout } from 'node:timers/promises';
import { createClient } from '@redis/client';
import type { Log } from '../log.ts';
import type { RevokedStatus } from './revoked.ts';

export interface RedisDenylist {
  /**
   * Passes on what is not yet known there; `isEverything`: all of it, known or not, as Redis may have lost keys while
   * it was connected (FLUSHALL, eviction). Returns at once.
   */
  add(revoked: readonly RevokedStatus[], isEverything?: boolean): void;
  /** Resolves when all that was told is there, or cannot be delivered now. */
  delivered(): Promise<void>;
  close(): Promise<void>;
}

interface RedisDenylistOptions {
  url: string;
  /** Everything that is revoked, read anew: for a Redis that was away or lost its memory. */
  everything: () => Promise<readonly RevokedStatus[]>;
  log: Log;
  now?: () => number;
}

export const grantKey = (grantId: string) => `signet:revoked:grant:${grantId}`;

const keysPerRound = 1_000;
const longestPauseMs = 2_000;
const connectWithinMs = 2_000;
// A Redis that has not said a word for so long, not even to a ping, is away.
const silenceMs = 5_000;
const closeWithinMs = 1_000;

export function openRedisDenylist({ url, everything, log, now = Date.now }: RedisDenylistOptions): RedisDenylist {
  const client = createClient({
    url,
    // What is written while it is away would wait in memory; `everything` brings it instead.
    disableOfflineQueue: true,
    pingInterval: silenceMs / 3,
    socket: {
      connectTimeout: connectWithinMs,
      socketTimeout: silenceMs,
      reconnectStrategy: (tries) => Math.min(50 * 2 ** Math.min(tries, 10), longestPauseMs),
    },
  });
  // What is there already, so that looking back (see lists.ts) does not write the same again and again.
  const known = new Map<string, number>();
  const waiting = new Map<string, number>();
  let writing: Promise<void> | undefined;
  let away = false;
  let closed = false;

  client.on('ready', () => {
    if (away) log.info('denylist.back');
    away = false;
    known.clear();
    writing = everything()
      .then(
        (revoked) => add(revoked),
        (error: unknown) => failed(error),
      )
      .then(write);
  });
  client.on('error', (error: Error) => {
    if (!away && !closed) log.error('denylist.away', { error });
    away = true;
  });
  // Rejects only when it is closed before it ever connected.
  client.connect().catch(() => undefined);

  function add(revoked: readonly RevokedStatus[], isEverything = false): void {
    if (isEverything) known.clear();
    for (const { grantId, expiresAt } of revoked) if (!known.has(grantId)) waiting.set(grantId, expiresAt);
    // A turn later: with nothing to write, write() would end before its promise is noted, and none would follow.
    writing ??= Promise.resolve().then(write);
  }

  async function write(): Promise<void> {
    try {
      while (waiting.size > 0 && client.isReady) {
        const round = [...waiting].slice(0, keysPerRound);
        await Promise.all(
          round.map(([grantId, expiresAt]) =>
            client.set(grantKey(grantId), '1', { expiration: { type: 'PXAT', value: expiresAt } }),
          ),
        );
        for (const [grantId, expiresAt] of round) {
          waiting.delete(grantId);
          known.set(grantId, expiresAt);
        }
      }
      for (const [grantId, expiresAt] of known) if (expiresAt <= now()) known.delete(grantId);
    } catch (error) {
      failed(error);
    } finally {
      waiting.clear(); // what is left is in the table, and told again at the next look or when it is back
      writing = undefined;
    }
  }

  function failed(error: unknown): void {
    if (!closed) log.warn('denylist.not_written', { error });
  }

  return {
    add,
    delivered: async () => writing,
    async close() {
      closed = true;
      await Promise.race([writing, setTimeout(closeWithinMs, undefined, { ref: false })]);
      client.destroy();
      await writing;
    },
  };
}
