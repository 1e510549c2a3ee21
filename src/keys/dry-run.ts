// A dry run of a step on the keys: what will happen and when, and which verifiers would refuse a good token because of it.
// The habits are those of simulation.ts. Pure: no clock, no database; operations.ts asks before it acts.

import { propagationTime } from '../config/key-times.ts';
import type { KeyTimes, Milliseconds } from './lifecycle.ts';
import { currentKeys, handoverAt, readyAt, spentAt, stateOf } from './lifecycle.ts';
import type { KeyPolicy, Seconds } from './policy.ts';
import type { CacheHabit, KeySpan } from './simulation.ts';
import { habitsInTheWild, simulate } from './simulation.ts';

export interface Plan {
  /** What happens, in order. */
  timeline: Moment[];
  /** Each habit of caching a JWKS that was found in the wild, and what a verifier with that habit would refuse. */
  verifiers: VerifierImpact[];
}

export interface Moment {
  at: Date;
  event: 'published' | 'signs' | 'retired' | 'standby' | 'leaves';
  /** Null: a key that is yet to be made. */
  kid: string | null;
}

export interface VerifierImpact {
  verifier: string;
  /** Good tokens refused: none, if the step is safe for it. */
  refuses: Array<{
    /** The key that signed them; null: the one that is yet to be made. */
    kid: string | null;
    from: Date;
    /** Null: until the verifier is restarted. */
    until: Date | null;
  }>;
}

export interface KeyFacts {
  keys: readonly KeyTimes[];
  now: Milliseconds;
  policy: KeyPolicy;
  /** Seconds that the longest access token lives: what verifiers get to see. */
  accessTokenLife: Seconds;
}

/** Stands in for a kid that nobody knows yet. */
const unmade = 'unmade';

/** When the schedule will hand over, as far as time decides it. */
export function scheduledHandover({ keys, now, policy }: Pick<KeyFacts, 'keys' | 'now' | 'policy'>): Milliseconds {
  const { active, prepared } = currentKeys(keys);
  if (!active) return now;
  return handoverAt(active, prepared ?? { ...active, preparedAt: now }, policy, keys);
}

/** The next rotation, begun now: with the prepared key or a new one, as soon as that is safe or `at` another moment. */
export function planRotation(facts: KeyFacts, at: Milliseconds = soonest(facts)): Plan {
  const { keys, now, policy, accessTokenLife } = facts;
  const { active, prepared } = currentKeys(keys);
  const next = {
    kid: prepared?.kid ?? unmade,
    publishedAt: prepared?.preparedAt ?? now,
    signsFrom: at,
    signsUntil: at + policy.rotateEvery * 1000,
    withdrawnAt: Number.MAX_SAFE_INTEGER,
    tokenLife: accessTokenLife,
  };
  const before = active && spanOf(active, at, policy, accessTokenLife);
  const spans = [...retiredSpans(facts), ...(before ? [before] : []), next];
  const timeline: Array<Moment | undefined> = [
    prepared ? undefined : { at: new Date(now), event: 'published', kid: null },
    { at: new Date(at), event: 'signs', kid: nameOf(next.kid) },
    before && { at: new Date(at), event: 'retired', kid: before.kid },
    { at: new Date(at), event: 'standby', kid: null },
    before && { at: new Date(before.withdrawnAt), event: 'leaves', kid: before.kid },
  ];
  return {
    timeline: timeline.filter((moment) => moment !== undefined),
    verifiers: judge(spans, facts, (kid, from) => kid === next.kid || from >= now),
  };
}

/** Which verifiers would refuse what a retired key signed, if it left the JWKS now. */
export function planWithdrawal(facts: KeyFacts, kid: string): VerifierImpact[] {
  const { keys, now, policy, accessTokenLife } = facts;
  const { active } = currentKeys(keys);
  const spans = [
    ...retiredSpans(facts).map((span) => (span.kid === kid ? { ...span, withdrawnAt: now } : span)),
    ...(active ? [spanOf(active, scheduledHandover(facts), policy, accessTokenLife)] : []),
  ];
  const until = new Date(keys.find((key) => key.kid === kid)!.retiredAt! + accessTokenLife * 1000);
  // No fetch brings the key back: whoever refuses one of its tokens refuses them all, until the last has expired.
  return judge(spans, facts, (refused) => refused === kid).map((verdict) =>
    verdict.refuses.length === 0 ? verdict : { ...verdict, refuses: [{ kid, from: new Date(now), until }] },
  );
}

/** Those of `verdicts` that refuse something, and would not if the step were taken the safe way. */
export function onlyBecauseOf(
  verdicts: readonly VerifierImpact[],
  safely: readonly VerifierImpact[],
): VerifierImpact[] {
  const anyway = new Set(safely.filter(({ refuses }) => refuses.length > 0).map(({ verifier }) => verifier));
  return verdicts.filter(({ verifier, refuses }) => refuses.length > 0 && !anyway.has(verifier));
}

function soonest({ keys, now, policy }: KeyFacts): Milliseconds {
  const { active, prepared } = currentKeys(keys);
  if (!active) return now;
  return prepared ? Math.max(now, readyAt(prepared, policy)) : now + policy.publishAhead * 1000;
}

function judge(
  spans: readonly KeySpan[],
  { now, policy }: KeyFacts,
  matters: (kid: string, from: Milliseconds) => boolean,
): VerifierImpact[] {
  return habitsUnder(policy).map((habit) => ({
    verifier: habit.name,
    refuses: simulate(spans, habit, propagationTime(policy))
      .filter(({ kid, from, until }) => (until === null || until >= now) && matters(kid, from))
      .map(({ kid, from, until }) => ({
        kid: nameOf(kid),
        from: new Date(Math.max(from, now)),
        until: until === null ? null : new Date(until),
      })),
  }));
}

// Our own verifier does as we say (verifier/keys.ts: for 10 min at most); the others have their own ways.
function habitsUnder({ jwksMaxAge }: KeyPolicy): CacheHabit[] {
  const [ours, ...rest] = habitsInTheWild;
  return [{ ...ours!, keeps: Math.min(jwksMaxAge, 600) }, ...rest];
}

function retiredSpans({ keys, policy, accessTokenLife }: KeyFacts): KeySpan[] {
  const retired = keys.filter((key) => stateOf(key) === 'retired');
  return retired.map((key) => spanOf(key, key.retiredAt!, policy, accessTokenLife));
}

function spanOf(key: KeyTimes, signsUntil: Milliseconds, policy: KeyPolicy, tokenLife: Seconds): KeySpan {
  return {
    kid: key.kid,
    publishedAt: key.preparedAt,
    signsFrom: key.activatedAt!,
    signsUntil,
    tokenLife,
    withdrawnAt: spentAt({ ...key, retiredAt: signsUntil }, policy),
  };
}

function nameOf(kid: string): string | null {
  return kid === unmade ? null : kid;
}
