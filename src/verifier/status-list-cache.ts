// The status lists that tokens name, kept fresh in the background. A check is a bit test on the copy that is here; only
// the first token of a list waits for it. A copy that cannot be renewed is used for a bounded time, and after that
// nobody can tell.

import type { StatusReference } from './claims.ts';
import { VerificationError } from './errors.ts';
import { fetchText, withDeadline } from './fetch.ts';
import { type KeySource, leastPauseMs } from './keys.ts';
import { readStatusList, type StatusList } from './status-list.ts';

export interface StatusListCache {
  /**
   * Whether the entry is set: at once when its list is here, else a promise.
   * @throws {VerificationError} `revocation_unavailable`, `invalid_claims`
   */
  isSet(reference: StatusReference): boolean | Promise<boolean>;
  close(): void;
}

interface StatusListCacheOptions {
  issuer: string;
  keys: Pick<KeySource, 'find'>;
  userAgent: string;
  clockToleranceSeconds: number;
  /** How long a list may be used beyond its `ttl` while no newer one can be had. */
  stalenessSeconds: number;
  maxCacheSeconds: number;
  cooldownSeconds: number;
  timeoutSeconds: number;
  onRefreshError: (error: unknown) => void;
  now: () => number;
}

const usualTtlSeconds = 60; // of a list that names no ttl
const minTtlSeconds = 1;
// A renewal begins when three quarters of the time are over, so that an entry is seen within `ttl` of being set.
const refreshAfter = 0.75;
// A list that no token named for this long is forgotten: nobody polls for tokens that have expired.
const idleMs = 15 * 60_000;
const maxLists = 64;
const maxWaiting = 1000;

interface ListCopy {
  list: StatusList;
  etag: string | undefined;
  /** Epoch milliseconds. */
  usableUntil: number;
}

interface Entry {
  readonly uri: string;
  copy: ListCopy | undefined;
  flight: Promise<void> | undefined;
  dueAt: number;
  usedAt: number;
  lastFailure: unknown;
  timer: NodeJS.Timeout | undefined;
}

export function createStatusListCache(options: StatusListCacheOptions): StatusListCache {
  const { issuer, now } = options;
  const origin = new URL(issuer).origin;
  const entries = new Map<string, Entry>();
  const closing = new AbortController();
  let waiting = 0;

  function isSet(reference: StatusReference): boolean | Promise<boolean> {
    const entry = entries.get(reference.uri);
    const at = now();
    if (entry?.copy === undefined || at >= entry.copy.usableUntil) return loadThenTest(reference);
    entry.usedAt = at;
    if (at >= entry.dueAt) refreshInBackground(entry);
    return test(entry.copy.list, reference.idx);
  }

  // Many tokens that name a list nobody has wait for one request. After a failure nobody asks again until dueAt: an
  // issuer that is down stays down longer under a flood from its own services.
  async function loadThenTest({ uri, idx }: StatusReference): Promise<boolean> {
    if (closing.signal.aborted) throw unavailable(new Error('the verifier is closed'));
    const entry = entryOf(uri);
    entry.usedAt = now();
    if (entry.flight === undefined && now() < entry.dueAt) throw unavailable(entry.lastFailure);
    if (waiting >= maxWaiting) throw unavailable(new Error('too many tokens wait for a status list'));
    waiting++;
    try {
      await load(entry);
    } catch (cause) {
      throw unavailable(cause);
    } finally {
      waiting--;
    }
    const { copy } = entry;
    if (copy === undefined || now() >= copy.usableUntil) throw unavailable(new Error('the status list is too old'));
    return test(copy.list, idx);
  }

  function entryOf(uri: string): Entry {
    const known = entries.get(uri);
    if (known !== undefined) return known;
    // The issuer signed the address, and still it leads to the issuer only: what a token says makes us ask nobody else.
    if (!URL.canParse(uri) || new URL(uri).origin !== origin || new URL(uri).hash !== '') {
      throw new VerificationError('invalid_claims', "the token names a status list that is not its issuer's");
    }
    if (entries.size >= maxLists) {
      forget([...entries.values()].reduce((oldest, entry) => (entry.usedAt < oldest.usedAt ? entry : oldest)));
    }
    const entry: Entry = {
      uri,
      copy: undefined,
      flight: undefined,
      dueAt: 0,
      usedAt: 0,
      lastFailure: undefined,
      timer: undefined,
    };
    entries.set(uri, entry);
    return entry;
  }

  function refreshInBackground(entry: Entry): void {
    load(entry).catch(() => {}); // reported in fetchList; until it is too old, the copy we have serves
  }

  function load(entry: Entry): Promise<void> {
    entry.flight ??= fetchList(entry).finally(() => {
      entry.flight = undefined;
      plan(entry);
    });
    return entry.flight;
  }

  async function fetchList(entry: Entry): Promise<void> {
    const askedAt = now(); // an answer is as old as its question
    const before = entry.copy;
    // One that is about to expire cannot be confirmed, only replaced.
    const etag = before !== undefined && askedAt < before.list.expiresAt * 1000 ? before.etag : undefined;
    try {
      const question = { accept: 'application/statuslist+jwt', userAgent: options.userAgent, etag };
      const answer = await withDeadline(options.timeoutSeconds, closing.signal, (signal) =>
        fetchText(entry.uri, { ...question, signal }),
      );
      const list = answer.text === undefined ? before!.list : await read(answer.text, entry.uri);
      const ttlSeconds = ttlOf(list, answer.maxAgeSeconds);
      entry.dueAt = askedAt + ttlSeconds * 1000 * refreshAfter;
      // A list older than ours says nothing new: it is a replica that lags, or a replay. Ours stays, and grows old.
      if (before !== undefined && list.issuedAt < before.list.issuedAt) {
        entry.lastFailure = new Error('the issuer answered with an older status list than before');
        return;
      }
      const staleAt = askedAt + (ttlSeconds + options.stalenessSeconds) * 1000;
      entry.copy = { list, etag: answer.etag, usableUntil: Math.min(staleAt, expiryOf(list)) };
    } catch (error) {
      entry.dueAt = now() + options.cooldownSeconds * 1000;
      entry.lastFailure = error;
      if (!closing.signal.aborted) options.onRefreshError(error);
      throw error;
    }
  }

  function read(jwt: string, uri: string): Promise<StatusList> {
    const { keys, clockToleranceSeconds } = options;
    return readStatusList(jwt, { issuer, uri, keys, clockToleranceSeconds, nowSeconds: now() / 1000 });
  }

  function ttlOf(list: StatusList, maxAgeSeconds: number | undefined): number {
    const ttl = list.ttlSeconds ?? maxAgeSeconds ?? usualTtlSeconds;
    return Math.min(Math.max(ttl, minTtlSeconds), options.maxCacheSeconds);
  }

  function expiryOf(list: StatusList): number {
    return (list.expiresAt + options.clockToleranceSeconds) * 1000;
  }

  // The timer is what makes a service with few requests see an entry in time. It keeps no process alive.
  function plan(entry: Entry): void {
    clearTimeout(entry.timer);
    if (closing.signal.aborted || entries.get(entry.uri) !== entry) return;
    entry.timer = setTimeout(
      () => {
        if (now() - entry.usedAt > idleMs) forget(entry);
        else refreshInBackground(entry);
      },
      Math.max(entry.dueAt - now(), leastPauseMs),
    ).unref();
  }

  function forget(entry: Entry): void {
    clearTimeout(entry.timer);
    entries.delete(entry.uri);
  }

  function unavailable(cause: unknown): VerificationError {
    const retryAfterSeconds = Math.max(1, Math.ceil(options.cooldownSeconds));
    const message = 'whether the token was revoked cannot be told at the moment';
    return new VerificationError('revocation_unavailable', message, { cause, retryAfterSeconds });
  }

  return {
    isSet,
    close() {
      closing.abort();
      for (const entry of entries.values()) forget(entry);
    },
  };
}

// An entry beyond the end says nothing, and a token whose status is not known must not be accepted. (§8.3)
function test(list: StatusList, idx: number): boolean {
  const set = list.isSet(idx);
  if (set !== undefined) return set;
  throw new VerificationError('invalid_claims', 'the token names an entry that its status list does not have');
}
