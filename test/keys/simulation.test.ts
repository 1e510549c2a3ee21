import { describe, expect, test } from 'vitest';
import { habitsInTheWild, type KeySpan, simulate } from '../../src/keys/simulation.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const never = Number.MAX_SAFE_INTEGER;

const old: KeySpan = {
  kid: 'old',
  publishedAt: -90 * day,
  signsFrom: -90 * day,
  signsUntil: 0,
  withdrawnAt: 15 * day,
  tokenLife: 1800,
};
/** The next key signs from 0 on, published so long ahead. */
const rotation = (aheadMs: number): KeySpan[] => [
  old,
  { kid: 'new', publishedAt: -aheadMs, signsFrom: 0, signsUntil: 90 * day, withdrawnAt: never, tokenLife: 1800 },
];
const refusedBy = (keys: KeySpan[]) =>
  habitsInTheWild.filter((habit) => simulate(keys, habit).length > 0).map(({ name }) => name);

describe('a rotation published a day ahead', () => {
  test('is refused by nobody but a verifier that never fetches again', () => {
    expect(refusedBy(rotation(day))).toEqual(['fetched once at start']);
  });

  test('that verifier never recovers', () => {
    const [refusal] = simulate(rotation(day), habitsInTheWild.at(-1)!);
    expect(refusal).toEqual({ kid: 'new', from: 0, until: null });
  });
});

describe('a JWKS that is old when it is fetched', () => {
  const lag = 370;
  const refusedLate = (aheadMs: number) =>
    habitsInTheWild.filter((habit) => simulate(rotation(aheadMs), habit, lag).length > 0).map(({ name }) => name);

  test('makes a day ahead too little for verifiers that cache for a day: they refuse for as long as that', () => {
    expect(refusedLate(day)).toEqual([
      '.NET (24 h, refresh on unknown key)',
      '24-hour cache, no refetch',
      'fetched once at start',
    ]);
    const [refusal] = simulate(rotation(day), habitsInTheWild.at(-2)!, lag);
    expect(refusal).toMatchObject({ kid: 'new', from: 0, until: expect.any(Number) });
    expect(refusal!.until).toBeGreaterThanOrEqual(300_000);
    expect(refusal!.until).toBeLessThanOrEqual(370_000);
  });

  test('is what the hour above a day is for', () => {
    expect(refusedLate(25 * hour)).toEqual(['fetched once at start']);
  });
});

describe('a key that signs the moment it is made', () => {
  test('breaks caches that do not fetch for an unknown key, and jose in its cool-down; our verifier waits', () => {
    const refused = refusedBy(rotation(0));
    expect(refused).toEqual([
      'jose (10 min, 30 s cool-down)',
      '.NET (24 h, refresh on unknown key)',
      'one-hour cache, no refetch',
      '24-hour cache, no refetch',
      'fetched once at start',
    ]);
  });

  test('jose recovers after its cool-down, an hour-long cache after its hour', () => {
    const until = (name: string) =>
      simulate(rotation(0), habitsInTheWild.find((habit) => habit.name.startsWith(name))!)[0]!.until!;
    expect(until('jose')).toBeLessThanOrEqual(30_000);
    expect(until('one-hour')).toBeGreaterThan(10 * minute);
    expect(until('one-hour')).toBeLessThanOrEqual(hour);
  });
});

describe('a retired key withdrawn before its tokens expire', () => {
  test('makes verifiers refuse the old tokens, and says which', () => {
    const keys = rotation(day);
    keys[0] = { ...old, withdrawnAt: minute };
    const [refusal] = simulate(keys, habitsInTheWild[1]!);
    expect(refusal).toMatchObject({ kid: 'old' });
  });
});
