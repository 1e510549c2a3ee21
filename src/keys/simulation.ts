// Before a rotation: which verifiers would refuse a good token, and when? Verifiers cache a JWKS in different ways, and
// not all obey our max-age. Each habit found in the wild is played through a timeline of keys, starting from the worst
// moments. Pure: no clock, no database.

import type { Milliseconds } from './lifecycle.ts';
import type { Seconds } from './policy.ts';

/** A key's public life: in the JWKS from `publishedAt` to `withdrawnAt`, signing from `signsFrom` to `signsUntil`. */
export interface KeySpan {
  kid: string;
  publishedAt: Milliseconds;
  signsFrom: Milliseconds;
  signsUntil: Milliseconds;
  withdrawnAt: Milliseconds;
  /** Life of the access tokens it signs: what verifiers get to see. */
  tokenLife: Seconds;
}

export interface CacheHabit {
  name: string;
  /** Seconds a fetched JWKS is used; Infinity: until the process restarts. */
  keeps: Seconds;
  /**
   * A token whose key is not in the cache: fetch again and decide then; fetch for the tokens after it; or just refuse.
   */
  onUnknownKey: 'fetch' | 'fetch for the next' | 'refuse';
  /** Seconds after a fetch in which an unknown key causes no other. */
  cooldown: Seconds;
}

interface Refusal {
  kid: string;
  /** The first good token refused, and the last one (null: it never recovers). */
  from: Milliseconds;
  until: Milliseconds | null;
}

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

// Defaults of jose 6 (createRemoteJWKSet), Microsoft.IdentityModel (ConfigurationManager: 24 h automatic refresh, an
// unknown key asks for one, at most every 5 min, and fails meanwhile), and three habits without a refetch. Our own
// waits its cool-down out before it decides on an unknown key, so to the token it is as if there were none.
export const habitsInTheWild: CacheHabit[] = [
  { name: '@signet-idp/verifier (our max-age)', keeps: 5 * minute, onUnknownKey: 'fetch', cooldown: 0 },
  { name: 'jose (10 min, 30 s cool-down)', keeps: 10 * minute, onUnknownKey: 'fetch', cooldown: 30 },
  { name: '.NET (24 h, refresh on unknown key)', keeps: day, onUnknownKey: 'fetch for the next', cooldown: 5 * minute },
  { name: 'one-hour cache, no refetch', keeps: hour, onUnknownKey: 'refuse', cooldown: 0 },
  { name: '24-hour cache, no refetch', keeps: day, onUnknownKey: 'refuse', cooldown: 0 },
  { name: 'fetched once at start', keeps: Infinity, onUnknownKey: 'refuse', cooldown: 0 },
];

/**
 * The good tokens that a verifier of this habit would refuse; empty when the timeline is safe for it.
 * @param lag seconds by which a JWKS may be old when it is fetched in its turn. A fetch for an unknown key asks a server
 *   that has it, as far as anybody can say: the one that signed with it
 */
export function simulate(keys: readonly KeySpan[], habit: CacheHabit, lag: Seconds = 0): Refusal[] {
  const tokens = goodTokens(keys);
  const refusals = new Map<string, Refusal>();
  for (const start of worstStarts(keys, habit, lag)) {
    const verify = createSimulatedVerifier(keys, habit, start, lag);
    for (const { kid, at } of tokens) {
      if (at < start || verify(kid, at)) continue;
      const known = refusals.get(kid);
      refusals.set(kid, {
        kid,
        from: Math.min(at, known?.from ?? at),
        until: Math.max(at, known?.until ?? at),
      });
    }
  }
  const lastSeen = new Map(tokens.map(({ kid, at }) => [kid, at]));
  return [...refusals.values()].map((refusal) =>
    refusal.until === lastSeen.get(refusal.kid) ? { ...refusal, until: null } : refusal,
  );
}

function createSimulatedVerifier(keys: readonly KeySpan[], habit: CacheHabit, start: Milliseconds, lag: Seconds) {
  let fetchedAt = start;
  let known = jwksAt(keys, start - lag * 1000);
  const fetch = (at: Milliseconds, old: Seconds) => {
    fetchedAt = at;
    known = jwksAt(keys, at - old * 1000);
  };

  return (kid: string, at: Milliseconds): boolean => {
    if (at >= fetchedAt + habit.keeps * 1000) fetch(at, lag);
    if (known.has(kid)) return true;
    if (habit.onUnknownKey === 'refuse' || at < fetchedAt + habit.cooldown * 1000) return false;
    fetch(at, 0);
    return habit.onUnknownKey === 'fetch' && known.has(kid);
  };
}

function jwksAt(keys: readonly KeySpan[], at: Milliseconds): Set<string> {
  return new Set(keys.filter((key) => key.publishedAt <= at && at < key.withdrawnAt).map(({ kid }) => kid));
}

const every = (step: Seconds, from: Seconds, to: Seconds) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);

// Closely where the habits above make a difference: seconds, then minutes, then hours.
const after: Seconds[] = [
  0,
  1,
  5,
  10,
  29,
  31,
  ...every(minute, minute, 10 * minute),
  ...every(5 * minute, 15 * minute, 2 * hour),
  ...every(hour, 3 * hour, day + hour),
  2 * day,
  7 * day,
  30 * day,
];

/** Tokens of each key, in order of their arrival: the first ones closely, then ever further apart, to the last. */
function goodTokens(keys: readonly KeySpan[]): Array<{ kid: string; at: Milliseconds }> {
  return keys
    .flatMap(({ kid, signsFrom, signsUntil, tokenLife }) => {
      const last = signsUntil + tokenLife * 1000 - 1000;
      return [...after.map((seconds) => signsFrom + seconds * 1000), signsUntil, last]
        .filter((at) => at <= last)
        .map((at) => ({ kid, at }));
    })
    .sort((a, b) => a.at - b.at);
}

// A cache is at its most dangerous when it was filled just before something changed; and a cool-down when it began just
// before the first new token. What is fetched then may be older by the lag.
function worstStarts(keys: readonly KeySpan[], { keeps, cooldown }: CacheHabit, lag: Seconds): Milliseconds[] {
  const changes = keys.flatMap(({ publishedAt, signsFrom, signsUntil }) => [
    publishedAt,
    publishedAt + lag * 1000,
    signsFrom,
    signsUntil,
  ]);
  const period = Number.isFinite(keeps) ? keeps * 1000 : 0;
  const starts = new Set(changes.flatMap((at) => [at - 1, at - 1 - period / 2, at - cooldown * 500]));
  // Before the first key was published there was nothing to fetch, and nobody to ask.
  return [...starts].filter((at) => jwksAt(keys, at - lag * 1000).size > 0);
}
