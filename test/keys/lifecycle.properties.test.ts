// The life cycle against a model of the world: replicas that notice late, verifiers that keep a JWKS as long as they
// may, an operator who acts at random moments. The model takes the steps; only the rules are the product's.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { checkPolicy, isPublished, nextStep, readyAt, stateOf } from '../../src/keys/lifecycle.ts';
import type { KeyTimes, Policy } from '../../src/keys/lifecycle.ts';

const soundPolicy: fc.Arbitrary<Policy> = fc.record({
  jwksMaxAge: fc.integer({ min: 0, max: 600 }),
  pollEvery: fc.integer({ min: 1, max: 120 }),
  clockSkew: fc.integer({ min: 0, max: 120 }),
  longestLife: fc.integer({ min: 1, max: 5_000 }),
  spareAhead: fc.integer({ min: 0, max: 2_000 }),
  spareRotation: fc.integer({ min: 0, max: 5_000 }),
  patience: fc.option(fc.integer({ min: 0, max: 5_000 }), { nil: undefined }),
}).map(({ spareAhead, spareRotation, ...rest }) => {
  const publishAhead = rest.jwksMaxAge + rest.pollEvery + rest.clockSkew + spareAhead;
  return { ...rest, publishAhead, rotateEvery: publishAhead + spareRotation };
});

type Command = {
  after: number;
  act: 'tick' | 'activate' | 'revoke' | 'revoke twice' | 'revoke the next' | 'longer lives';
  /** Who has not fetched the prepared key at that moment. */
  unseenBy: string[];
};
const commands = fc.array(fc.record({
  after: fc.integer({ min: 0, max: 4_000_000 }),
  act: fc.constantFrom<Command['act'][]>(
    'tick', 'tick', 'tick', 'activate', 'revoke', 'revoke twice', 'revoke the next', 'longer lives'),
  unseenBy: fc.constantFrom<string[][]>([], ['orders']),
}), { minLength: 1, maxLength: 40 });

interface World {
  keys: KeyTimes[];
  policy: Policy;
  end: number;
  activeCounts: number[];
  unseenBy: string[];
  /** The keys that an emergency put to use, with how long after the last change of what signs or is next. */
  emergencies: Map<string, number>;
  /** For each key that the schedule put to use: how long after its time, and whether somebody had not fetched it. */
  promotions: Array<{ lateBy: number; missing: boolean }>;
}

const start = 1_700_000_000_000;

function live(initial: Policy, script: Command[]): World {
  const policy = { ...initial };
  const keys: KeyTimes[] = [];
  const activeCounts: number[] = [];
  const promotions: World['promotions'] = [];
  const emergencies: World['emergencies'] = new Map();
  let unseenBy: string[] = [];
  let now = start;
  /** When a key last came to sign, or the next one was given up. */
  let lastChange = start;

  const inState = (state: string) => keys.find((key) => stateOf(key) === state);
  const add = (activatedAt: number | null) => keys.push({
    kid: `k${keys.length}`, preparedAt: now, activatedAt, retiredAt: null, destroyedAt: null, revokedAt: null,
    longestLife: policy.longestLife,
  });
  const promote = (key: KeyTimes) => {
    const before = inState('active');
    if (before) before.retiredAt = now;
    key.activatedAt = lastChange = now;
    key.longestLife = Math.max(key.longestLife, policy.longestLife);
  };
  const emergency = () => {
    inState('active')!.revokedAt = now;
    if (!inState('prepared')) add(null);
    const successor = inState('prepared')!;
    emergencies.set(successor.kid, now - lastChange);
    promote(successor);
  };
  const tick = () => {
    const due = () => nextStep(keys, now, policy, unseenBy);
    for (let step = due(); step.do !== 'wait'; step = due()) {
      const { kid } = { kid: undefined, ...step };
      const key = keys.find((candidate) => candidate.kid === kid);
      if (step.do === 'bootstrap') add(now);
      if (step.do === 'prepare') add(null);
      if (step.do === 'activate') {
        const active = inState('active');
        if (active) {
          const time = Math.max(readyAt(key!, policy), active.activatedAt! + policy.rotateEvery * 1000);
          promotions.push({ lateBy: now - time, missing: unseenBy.length > 0 });
        }
        promote(key!);
      }
      if (step.do === 'destroy') key!.destroyedAt = now;
    }
  };

  tick();
  for (const { after, act, unseenBy: unseen } of script) {
    now += after;
    unseenBy = unseen;
    const next = inState('prepared')!;
    if (act === 'activate' && readyAt(next, policy) <= now) promote(next);
    if (act === 'revoke the next') next.revokedAt = lastChange = now;
    if (act === 'longer lives') {
      policy.longestLife += 1_000;
      inState('active')!.longestLife = policy.longestLife;
    }
    if (act === 'revoke' || act === 'revoke twice') emergency();
    if (act === 'revoke twice') emergency(); // and no server has looked in between
    tick();
    activeCounts.push(keys.filter((key) => stateOf(key) === 'active').length);
  }
  return { keys, policy, end: now, activeCounts, unseenBy, promotions, emergencies };
}

const propagation = ({ jwksMaxAge, pollEvery, clockSkew }: Policy) => (jwksMaxAge + pollEvery + clockSkew) * 1000;

/** What every verifier that obeys the max-age can verify: the key precedes its first token, and outstays its last. */
function expectVerifiable(key: KeyTimes, { policy, end }: World): void {
  const lag = policy.pollEvery * 1000;
  const staleness = policy.jwksMaxAge * 1000 + lag; // a cache at its oldest, filled by a replica at its latest
  // The first token that any replica signs with it, and the last: by one that notices late, its clock fast.
  const firstIssue = key.activatedAt!;
  const lastIssue = (key.retiredAt ?? end) + lag;
  const lastExpiry = lastIssue + (policy.clockSkew + key.longestLife) * 1000;
  // Before the first key there was no JWKS to hold: who fetches then, fetches it.
  if (key.preparedAt !== start) expect(firstIssue - staleness).toBeGreaterThanOrEqual(key.preparedAt);
  // What a revoked key signed is not good any more.
  if (key.revokedAt === null) expect(lastExpiry).toBeLessThanOrEqual(key.destroyedAt ?? Infinity);
}

describe('whatever the policy, the moments and the commands', () => {
  test('a token is verifiable from its issue to its expiry by any verifier that obeys the JWKS max-age', () => {
    let signingKeys = 0;
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      expect(checkPolicy(policy)).toEqual([]);
      const world = live(policy, script.filter(({ act }) => act !== 'revoke' && act !== 'revoke twice'));
      for (const key of world.keys.filter(({ activatedAt }) => activatedAt !== null)) {
        expectVerifiable(key, world);
        signingKeys += 1;
      }
    }), { numRuns: 500 });
    expect(signingKeys).toBeGreaterThan(1_000);
  });

  test('also after an emergency, at any moment later than the propagation time after the last change', () => {
    let promised = 0;
    let hasty = 0;
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      const world = live(policy, script);
      const isPromised = ({ kid }: KeyTimes) => (world.emergencies.get(kid) ?? Infinity) >= propagation(policy);
      for (const key of world.keys.filter(({ activatedAt }) => activatedAt !== null)) {
        if (isPromised(key)) expectVerifiable(key, world);
        if (!world.emergencies.has(key.kid)) continue;
        if (isPromised(key)) promised += 1;
        else hasty += 1;
      }
    }), { numRuns: 500 });
    expect(promised).toBeGreaterThan(200);
    expect(hasty).toBeGreaterThan(100);
  });

  test('behind the key that signs there is always the next one', () => {
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      const { keys } = live(policy, script);
      expect(keys.map(stateOf).filter((state) => state === 'active' || state === 'prepared').sort())
        .toEqual(['active', 'prepared']);
    }), { numRuns: 200 });
  });

  test('one key is active, never two and never none, also through revocations', () => {
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      expect(new Set(live(policy, script).activeCounts)).toEqual(new Set([1]));
    }), { numRuns: 500 });
  });

  test('waiting until the moment it names makes something due, and nothing is due before', () => {
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      const world = live(policy, script);
      const at = (now: number) => nextStep(world.keys, now, world.policy, world.unseenBy);
      const step = at(world.end);
      expect(step.do).toBe('wait');
      if (step.do !== 'wait') return;
      const before = at(step.until - 1);
      expect(before).toMatchObject({ do: 'wait', next: step.next });
      // A key that comes to wait for verifiers on the way has its limit named then.
      const then = at(step.until);
      if (then.do === 'wait') expect(then.waitingFor).toEqual(world.unseenBy);
      else expect(then.do).toBe(step.next);
    }), { numRuns: 500 });
  });

  test('a key that somebody has not fetched signs when the patience is over and not before', () => {
    let waited = 0;
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      const patience = (policy.patience ?? 0) * 1000;
      for (const { lateBy, missing } of live(policy, script).promotions) {
        expect(lateBy).toBeGreaterThanOrEqual(missing ? patience : 0);
        if (missing && patience > 0) waited += 1;
      }
    }), { numRuns: 300 });
    expect(waited).toBeGreaterThan(10);
  });

  test('spent keys do leave: a quiet year ends with no more than the keys that can still matter', () => {
    fc.assert(fc.property(soundPolicy, commands, (policy, script) => {
      const world = live(policy, [...script, { after: 365 * 86_400_000, act: 'tick', unseenBy: [] }]);
      // The long silence makes one rotation due at once and one retirement fresh; all older ones are gone.
      expect(world.keys.filter(isPublished).length).toBeLessThanOrEqual(3);
    }), { numRuns: 200 });
  });
});
