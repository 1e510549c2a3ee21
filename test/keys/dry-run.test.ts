import { describe, expect, test } from 'vitest';
import type { KeyFacts, VerifierImpact } from '../../src/keys/dry-run.ts';
import { onlyBecauseOf, planRotation, planWithdrawal, scheduledHandover } from '../../src/keys/dry-run.ts';
import type { KeyTimes } from '../../src/keys/lifecycle.ts';
import type { KeyPolicy } from '../../src/keys/policy.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

const policy: KeyPolicy = {
  rotateEvery: 90 * 86_400,
  publishAhead: 86_400,
  longestLife: 14 * 86_400,
  jwksMaxAge: 300,
  pollEvery: 30,
  clockSkew: 30,
};
const afterlife = 6 * minute;
const key = (kid: string, times: Partial<KeyTimes>): KeyTimes => ({
  kid,
  preparedAt: 0,
  activatedAt: null,
  retiredAt: null,
  destroyedAt: null,
  revokedAt: null,
  longestLife: 14 * 86_400,
  ...times,
});
const active = key('a', { activatedAt: 0 });
const facts = (now: number, keys: KeyTimes[]): KeyFacts => ({ keys, now, policy, accessTokenLife: 1800 });
/** As it is shipped: a cache of a day may have been filled with a JWKS that was old already. */
const shipped = (now: number, keys: KeyTimes[]): KeyFacts => ({
  ...facts(now, keys),
  policy: { ...policy, publishAhead: 25 * 3600 },
});
const refusing = (verdicts: VerifierImpact[]) =>
  verdicts.filter(({ refuses }) => refuses.length > 0).map(({ verifier }) => verifier);
const lines = ({ timeline }: ReturnType<typeof planRotation>) =>
  timeline.map(({ at, event, kid }) => `${at.getTime() / day} ${event} ${kid ?? 'new'}`);

describe('a rotation on paper', () => {
  test('with no key prepared publishes one now, and signs when it was published long enough', () => {
    expect(lines(planRotation(facts(10 * day, [active])))).toEqual([
      '10 published new',
      '11 signs new',
      '11 retired a',
      '11 standby new',
      `${25 + afterlife / day} leaves a`,
    ]);
  });

  test('with a prepared key waits for the rest of its time', () => {
    const prepared = key('b', { preparedAt: 9.5 * day });
    const begin = (now: number) => lines(planRotation(facts(now, [active, prepared]))).slice(0, 2);
    expect(begin(10 * day)).toEqual(['10.5 signs b', '10.5 retired a']);
    expect(begin(20 * day)).toEqual(['20 signs b', '20 retired a']);
  });

  test('a key that signed longer lives stays longer', () => {
    const longer = { ...active, longestLife: 30 * 86_400 };
    expect(lines(planRotation(facts(10 * day, [longer]))).at(-1)).toBe(`${41 + afterlife / day} leaves a`);
  });

  test('the first key of all signs at once', () => {
    expect(lines(planRotation(facts(5 * day, [])))).toEqual(['5 published new', '5 signs new', '5 standby new']);
  });

  test('is safe for every habit but one, also beside a key that was retired a moment ago', () => {
    const retired = key('r', { preparedAt: -90 * day, activatedAt: -90 * day, retiredAt: 0 });
    const before = key('a', { preparedAt: -2 * day, activatedAt: 0 });
    for (const now of [hour, day, 30 * day]) {
      const { verifiers } = planRotation(shipped(now, [before, retired]));
      expect(refusing(verifiers)).toEqual(['fetched once at start']);
      expect(verifiers.at(-1)!.refuses).toEqual([{ kid: null, from: new Date(now + 25 * hour), until: null }]);
    }
  });

  test('by force, breaks caches until they fetch again, and says until when', () => {
    const now = 10 * day;
    const { verifiers } = planRotation(facts(now, [active]), now);
    const until = (name: string) => {
      const [refused] = verifiers.find(({ verifier }) => verifier.startsWith(name))!.refuses;
      return refused?.until && refused.until.getTime() - now;
    };
    expect(until('jose')).toBeLessThanOrEqual(afterlife + 30_000);
    expect(until('one-hour')).toBeGreaterThanOrEqual(55 * minute);
    expect(until('one-hour')).toBeLessThanOrEqual(hour + afterlife);
    expect(until('24-hour')).toBeGreaterThanOrEqual(23 * hour);
    expect(until('fetched once')).toBeNull();
  });

  test('what is broken anyway is not the fault of haste', () => {
    const now = shipped(10 * day, [active]);
    const [safe, hasty] = [planRotation(now), planRotation(now, 10 * day)];
    const blamed = onlyBecauseOf(hasty.verifiers, safe.verifiers).map(({ verifier }) => verifier);
    expect(blamed).toContain('24-hour cache, no refetch');
    expect(blamed).not.toContain('fetched once at start');
  });
});

describe('a retired key that leaves the JWKS', () => {
  const retired = key('r', { preparedAt: -90 * day, activatedAt: -90 * day, retiredAt: 0 });
  const next = key('a', { preparedAt: -day, activatedAt: 0 });

  test('too early, breaks its access tokens for all who fetch, until the last has expired', () => {
    const verdicts = planWithdrawal(facts(10 * minute, [next, retired]), 'r');
    expect(refusing(verdicts)).toContain('@signet-idp/verifier (our max-age)');
    expect(refusing(verdicts)).not.toContain('fetched once at start');
    expect(verdicts[0]!.refuses).toEqual([{ kid: 'r', from: new Date(10 * minute), until: new Date(30 * minute) }]);
  });

  test('after its last access token has expired, breaks nobody who verifies those', () => {
    expect(refusing(planWithdrawal(facts(hour, [next, retired]), 'r'))).toEqual([]);
  });
});

describe('the schedule hands over', () => {
  test.each<[string, KeyTimes[], number, number]>([
    ['when the active key is old enough', [active, key('b', {})], 10 * day, 90 * day],
    ['when a late key was published long enough', [active, key('b', { preparedAt: 95 * day })], 95 * day, 96 * day],
    ['a day from now at the soonest, where none is prepared', [active], 200 * day, 201 * day],
    ['at its turn, where a key was prepared early', [active, key('b', { preparedAt: day })], 3 * day, 90 * day],
  ])('%s', (_when, keys, now, at) => {
    expect(scheduledHandover(facts(now, keys))).toBe(at);
  });
});
