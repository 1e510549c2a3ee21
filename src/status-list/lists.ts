// The signed status lists (Token Status List, draft-ietf-oauth-status-list-21 §5.1): made from what was revoked, kept
// in memory. A request for one asks nobody. A list says in `iat` when the database was read (dated back as all that we
// sign is), and in `exp` how long that may be believed; while the database is away the last one is served, until it
// has expired.

import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { coalesce } from '../database/coalesce.ts';
import type { Database } from '../database/database.ts';
import { subscribe } from '../database/subscribe.ts';
import { signCompact } from '../keys/compact-jws.ts';
import { issuedAt } from '../keys/dating.ts';
import type { SigningKeys } from '../keys/keyring.ts';
import type { Log } from '../log.ts';
import { endpoints } from '../web/endpoints.ts';
import { entityTag } from '../web/etag.ts';
import { encodeBits, hasBit, setBit } from './encoding.ts';
import type { StatusIndex, StatusIndexes } from './indexes.ts';
import { indexesPerList } from './permutation.ts';
import { type RevokedStatus, type RevokedStatuses, statusChannel } from './revoked.ts';

export interface SignedList {
  /** The JWT, of type statuslist+jwt. */
  token: string;
  gzipped: Buffer;
  etag: string;
  kid: string;
  /** Epoch seconds. */
  expiresAt: number;
}

export interface StatusListPublisher {
  /** The list as it was last read, unless this process knows of none, or it has expired. */
  current(list: number): SignedList | undefined;
  /** The same, after a look at the database where this process knows of none. */
  find(list: number): Promise<SignedList | undefined>;
  /** Whether there is a list of this number, signed or expired. */
  has(list: number): boolean;
  numbers(): number[];
  uriOf(list: number): string;
  /** Whether an index is revoked, as far as this process knows. */
  isRevoked(index: StatusIndex): boolean;
  /** Reads what was revoked and signs what changed; never rejects: what failed is in the log, and tried again. */
  refresh(): Promise<void>;
  /** Signs with other keys from now on. Before the first ones there is nothing to serve, and nothing is read. */
  useKeys(keys: SigningKeys): Promise<void>;
  /**
   * Calls `listener` after each reading with what was revoked lately, some of it again; every five minutes with all of
   * which a token may be alive.
   */
  onRead(listener: ReadListener): void;
}

type ReadListener = (revoked: readonly RevokedStatus[], isEverything: boolean) => void;

interface StatusListPublisherOptions {
  issuer: string;
  indexes: Pick<StatusIndexes, 'lists' | 'invalidate'>;
  revoked: Pick<RevokedStatuses, 'list'>;
  /** Seconds a verifier may keep a list. */
  ttl: number;
  log: Log;
  now?: () => number;
  /**
   * What a list says of its time: the database's clock, which replicas share. A verifier takes no list for an older
   * one, and by their own clocks a newer list of a replica that is slow would look older. Default: ours.
   */
  sharedNow?: () => number | Promise<number>;
}

export const statusListType = 'statuslist+jwt';
export const aggregationPath = endpoints.status_lists.path;

const compress = promisify(gzip);

// A transaction that was open for a while, or in a process whose clock is behind, is found by looking back this far.
const lookBackMs = 180_000;
// A bit that was set is set until everything is read anew: its tokens have expired by then.
const readAllEveryMs = 300_000;
// The longest that an access token may live: while the database or the issuer is away, verifiers go on until their
// tokens are over anyway.
const shortestLifeSeconds = 3600;
// Who asks for lists that do not exist makes us look no more often than this.
const lookAgainMs = 250;

/** How long a list may be believed, in seconds: it is what verifiers go by while the database is away. */
const listLifeOf = (ttl: number) => Math.max(4 * ttl, shortestLifeSeconds);

interface Kept {
  bits: Uint8Array;
  changed: boolean;
  signed: SignedList | undefined;
}

export function createStatusListPublisher(options: StatusListPublisherOptions): StatusListPublisher {
  const { issuer, indexes, revoked, ttl, log, now = Date.now, sharedNow = now } = options;
  const listeners: ReadListener[] = [];
  const life = listLifeOf(ttl);
  let lists = new Map<number, Kept>();
  let keys: SigningKeys | undefined;
  let readAt = 0;
  let sharedReadAt = 0;
  let readAllAt = 0;
  let failing = false;

  const uriOf = (list: number) => `${issuer}${aggregationPath}/${list}`;

  const refreshes = coalesce(async () => {
    if (!keys) return;
    try {
      await read();
      await signDue(keys);
      failing = false;
    } catch (error) {
      if (!failing) log.error('status_lists.failed', { error, servedUntil: servedUntil() });
      failing = true;
    }
  });

  async function read(): Promise<void> {
    const at = now();
    const all = at - readAllAt >= readAllEveryMs;
    const sharedAt = await sharedNow();
    const numbers = await indexes.lists();
    const rows = await revoked.list(all ? 0 : readAt - lookBackMs);
    const bits = new Map(
      numbers.map((list) => [
        list,
        all || !lists.has(list) ? new Uint8Array(indexesPerList / 8) : lists.get(list)!.bits,
      ]),
    );
    const changed = new Set<number>();
    for (const {
      index: { list, idx },
    } of rows) {
      const known = bits.get(list);
      if (!known || hasBit(known, idx)) continue;
      setBit(known, idx);
      changed.add(list);
    }
    lists = new Map(
      [...bits].map(([list, current]) => {
        const before = lists.get(list);
        // Read anew and found the same is no news: verifiers keep what they have.
        const isNews = all ? !before || !Buffer.from(before.bits).equals(current) : changed.has(list);
        return [list, { bits: current, changed: isNews || (before?.changed ?? false), signed: before?.signed }];
      }),
    );
    readAt = at;
    sharedReadAt = sharedAt;
    if (all) readAllAt = at;
    indexes.invalidate(isRevoked);
    for (const listener of listeners) listener(rows, all);
  }

  async function signDue(keys: SigningKeys): Promise<void> {
    for (const [list, kept] of lists) {
      const { signed } = kept;
      const isFresh = signed && signed.kid === keys.active.kid && signed.expiresAt * 1000 - readAt > life * 500;
      if (isFresh && !kept.changed) continue;
      // Cleared first: what is set while this one is compressed and signed is the next one's.
      kept.changed = false;
      kept.signed = await sign(list, kept.bits, keys);
    }
  }

  async function sign(list: number, bits: Uint8Array, { active }: SigningKeys): Promise<SignedList> {
    const expiresAt = Math.floor(sharedReadAt / 1000) + life;
    const lst = await encodeBits(bits);
    const token = await signCompact(active, statusListType, {
      iss: issuer,
      sub: uriOf(list),
      iat: issuedAt(sharedReadAt),
      exp: expiresAt,
      ttl,
      status_list: { bits: 1, lst, aggregation_uri: `${issuer}${aggregationPath}` },
    });
    // Weak, since the same list travels in two encodings (RFC 9110 §8.8.1).
    const etag = `W/${entityTag(token)}`;
    return { token, gzipped: await compress(token, { level: 1 }), etag, kid: active.kid, expiresAt };
  }

  function isRevoked({ list, idx }: StatusIndex): boolean {
    const kept = lists.get(list);
    return kept !== undefined && hasBit(kept.bits, idx);
  }

  function current(list: number): SignedList | undefined {
    const signed = lists.get(list)?.signed;
    return signed && signed.expiresAt * 1000 > now() ? signed : undefined;
  }

  function servedUntil(): Date | undefined {
    const ends = [...lists.values()].flatMap(({ signed }) => signed?.expiresAt ?? []);
    return ends.length === 0 ? undefined : new Date(Math.min(...ends) * 1000);
  }

  return {
    current,

    async find(list) {
      // Another process may have begun the list, and its first token be checked here before we looked.
      if (!lists.has(list))
        await (refreshes.underWay() ?? (now() - readAt > lookAgainMs ? refreshes.run() : undefined));
      return current(list);
    },

    has: (list) => lists.has(list),
    numbers: () => [...lists.keys()],
    uriOf,
    isRevoked,
    refresh: refreshes.run,

    async useKeys(next) {
      keys = next;
      await refreshes.run();
    },

    onRead(listener) {
      listeners.push(listener);
    },
  };
}

/**
 * Keeps `lists` up to date: at once when a revocation is announced, and every third of `ttl` seconds in any case.
 * Call the returned function to stop.
 */
export async function subscribeToRevocations(
  db: Pick<Database, 'listen'>,
  lists: Pick<StatusListPublisher, 'refresh'>,
  ttl: number,
): Promise<() => Promise<void>> {
  const { stop } = await subscribe(db, statusChannel, (ttl * 1000) / 3, lists.refresh);
  return async () => {
    await stop();
    await lists.refresh(); // ends after one that somebody else has asked for
  };
}
