// Where verification keys come from: a fixed set, or the issuer's JWKS kept fresh in the background. A known key is
// found without waiting, as long as the copy is usable; everything slow happens on the paths beside that one. And the
// one thing that is done with a key: RS256, which is fixed here, whatever a header says.

import { type KeyObject, verify } from 'node:crypto';
import type { CompactJws } from './compact.ts';
import { VerificationError } from './errors.ts';
import { checkAddress, fetchJson, type Question, withDeadline } from './fetch.ts';
import { importKeys, verificationJwks } from './jwks.ts';

export interface KeySource {
  /** The key named `kid` where it is here and may be used, else undefined. Asks nobody. */
  known(kid: string): KeyObject | undefined;
  /**
   * The key named `kid`: at once when it is here, else a promise.
   * @throws {VerificationError} `unknown_key`, `keys_unavailable`
   */
  find(kid: string): KeyObject | Promise<KeyObject>;
  /** Resolves when there are keys to verify with. @throws {VerificationError} `keys_unavailable` */
  ready(): Promise<void>;
  close(): void;
}

interface RemoteKeysOptions {
  issuer: string;
  /** Skips discovery. */
  jwksUri: string | undefined;
  allowHttp: boolean;
  userAgent: string;
  maxCacheSeconds: number;
  lastKnownGoodSeconds: number;
  cooldownSeconds: number;
  timeoutSeconds: number;
  onRefreshError: (error: unknown) => void;
  now: () => number;
}

// A shorter max-age would have every service ask all the time; without one, this is a middle.
const minCacheSeconds = 30;
const usualCacheSeconds = 300;
// A refresh begins when three quarters of the time are over, so that a usual copy never expires.
const refreshAfter = 0.75;
// The least time from an answer to a question of the background: without a cool-down, an issuer that is down would be
// asked without pause.
export const leastPauseMs = 500;
// Tokens that may wait for an unknown key at one time: some 10 MB at most.
const maxWaiting = 1000;

interface KeysCopy {
  keys: Map<string, KeyObject>;
  etag: string | undefined;
  /** Epoch milliseconds: the end of "last known good". */
  usableUntil: number;
}

/** @throws {TypeError} when `jwks` is not a JWK Set */
export function createStaticKeys(jwks: unknown): KeySource {
  let keys: Map<string, KeyObject> | undefined;
  const loading = importKeys(verificationJwks(jwks)).then((loaded) => (keys = loaded));
  return {
    known: (kid) => keys?.get(kid),
    find: (kid) => (keys === undefined ? loading.then((loaded) => named(loaded, kid)) : named(keys, kid)),
    ready: async () => {
      await loading;
    },
    close() {},
  };
}

export function createRemoteKeys(options: RemoteKeysOptions): KeySource {
  const { issuer, now } = options;
  const cooldownMs = options.cooldownSeconds * 1000;
  let jwksUri = options.jwksUri;
  let copy: KeysCopy | undefined;
  let flight: Promise<void> | undefined; // the one load under way, whoever began it
  let dueAt = 0; // when the next planned load may begin: near the end of the copy's freshness, or soon after a failure
  let lastFailure: unknown;
  let refetch: Promise<void> | undefined; // the load that tokens with an unknown key wait for, before it begins
  let lastRefetchAt = -Infinity;
  let waiting = 0;
  let timer: NodeJS.Timeout | undefined;
  const closing = new AbortController();

  function known(kid: string): KeyObject | undefined {
    const usable = usableCopy();
    if (usable !== undefined && now() >= dueAt) refreshInBackground();
    return usable?.keys.get(kid);
  }

  function find(kid: string): KeyObject | Promise<KeyObject> {
    return known(kid) ?? (usableCopy() === undefined ? loadThenFind(kid) : findNew(kid));
  }

  function usableCopy(): KeysCopy | undefined {
    if (closing.signal.aborted) throw unavailable(new Error('the verifier is closed'));
    return copy !== undefined && now() < copy.usableUntil ? copy : undefined;
  }

  async function loadThenFind(kid: string): Promise<KeyObject> {
    // After a failure nobody asks again until dueAt, however many requests come in: an issuer that is down stays down
    // longer under a flood from its own services.
    if (flight === undefined && now() < dueAt) throw unavailable(lastFailure);
    await loadOrFail();
    return usableCopy()?.keys.get(kid) ?? findNew(kid);
  }

  // An unknown kid is a new key or a forgery, and only the issuer can tell. Forgeries are free, so refetches are
  // rationed: one per cool-down, shared. A genuine token must not pay for that with a refusal, so it waits for the next
  // refetch instead, which begins after the token came in and therefore shows its key. Only when too many wait, or the
  // issuer does not answer, it hears 503 and may come again; never 401.
  async function findNew(kid: string): Promise<KeyObject> {
    if (waiting >= maxWaiting) throw unavailable(new Error('too many tokens name keys that are not known'));
    waiting++;
    try {
      if (flight !== undefined) {
        // It may have been answered before the key was published, so it can only say yes.
        await flight.catch(() => {}); // its failure was reported; the refetch below decides
        const key = usableCopy()?.keys.get(kid);
        if (key !== undefined) return key;
      }
      refetch ??= refetchAfterCooldown();
      await refetch.catch((cause) => {
        throw unavailable(cause);
      });
      return named(usableCopy()?.keys ?? new Map(), kid);
    } finally {
      waiting--;
    }
  }

  async function refetchAfterCooldown(): Promise<void> {
    await pause(Math.min(lastRefetchAt + cooldownMs - now(), cooldownMs));
    refetch = undefined; // whoever comes from here on needs a later one
    lastRefetchAt = now();
    await load(); // or joins one that began during the pause: after every token that waits for this came in
  }

  async function loadOrFail(): Promise<void> {
    try {
      await load();
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  function refreshInBackground(): void {
    load().catch(() => {}); // reported in load(); the copy we have is still good
  }

  function load(): Promise<void> {
    flight ??= fetchKeys().finally(() => {
      flight = undefined;
      plan();
    });
    return flight;
  }

  async function fetchKeys(): Promise<void> {
    const askedAt = now(); // an answer is as old as its question
    try {
      const answer = await withDeadline(options.timeoutSeconds, closing.signal, async (signal) => {
        const request = { userAgent: options.userAgent, signal };
        jwksUri ??= await discover(request);
        return fetchJson(jwksUri, { ...request, etag: copy?.etag });
      });
      const unchanged = answer.document === undefined ? copy?.keys : undefined;
      const keys = unchanged ?? (await importKeys(verificationJwks(answer.document)));
      const allowed = Math.max(answer.maxAgeSeconds ?? usualCacheSeconds, minCacheSeconds);
      const fresh = Math.min(allowed, options.maxCacheSeconds);
      copy = { keys, etag: answer.etag, usableUntil: askedAt + options.lastKnownGoodSeconds * 1000 };
      dueAt = askedAt + fresh * 1000 * refreshAfter;
    } catch (error) {
      jwksUri = options.jwksUri; // it may have moved: ask discovery again
      dueAt = now() + cooldownMs;
      lastFailure = error;
      if (!closing.signal.aborted) options.onRefreshError(error);
      throw error;
    }
  }

  async function discover(request: Question): Promise<string> {
    const { document } = await fetchJson(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, request);
    const found = document as { issuer?: unknown; jwks_uri?: unknown } | null;
    // Mix-up: a document that speaks for another issuer must not lend it this one's trust. (OpenID Discovery §4.3)
    if (found?.issuer !== issuer) throw new Error(`the discovery document is not that of ${issuer}: "issuer" differs`);
    if (typeof found.jwks_uri !== 'string') throw new Error('the discovery document has no "jwks_uri"');
    return checkAddress('jwks_uri', found.jwks_uri, options.allowHttp).href;
  }

  // The timer bounds how long an idle service believes in a key that was taken away. It keeps no process alive.
  function plan(): void {
    clearTimeout(timer);
    if (!closing.signal.aborted) timer = setTimeout(refreshInBackground, Math.max(dueAt - now(), leastPauseMs)).unref();
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = setTimeout(
        () => {
          closing.signal.removeEventListener('abort', giveUp);
          resolve();
        },
        Math.max(ms, 0),
      );
      const giveUp = () => {
        clearTimeout(end);
        reject(new Error('the verifier is closed'));
      };
      closing.signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  function unavailable(cause: unknown): VerificationError {
    const retryAfterSeconds = Math.max(1, Math.ceil(options.cooldownSeconds));
    const message = 'the keys of the issuer are not available at the moment';
    return new VerificationError('keys_unavailable', message, { cause, retryAfterSeconds });
  }

  return {
    known,
    find,
    async ready() {
      if (usableCopy() === undefined) await loadOrFail();
    },
    close() {
      clearTimeout(timer);
      closing.abort();
    },
  };
}

function named(keys: Map<string, KeyObject>, kid: string): KeyObject {
  const key = keys.get(kid);
  if (key !== undefined) return key;
  throw new VerificationError('unknown_key', 'the token names a key that the issuer does not publish');
}

/** @throws {VerificationError} `bad_signature` */
export function checkSignature({ signed, signature }: Pick<CompactJws, 'signed' | 'signature'>, key: KeyObject): void {
  // Synchronous on purpose: with 2048 bits it takes some 35 µs, and the hop to WebCrypto's thread pool costs more than
  // that, in time and in CPU.
  if (verify('sha256', signed, key, signature)) return;
  throw new VerificationError('bad_signature', 'the signature is not valid');
}
