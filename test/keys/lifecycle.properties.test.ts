// The life cycle in a random life (world.ts), judged by whoever verifies: not by the inequalities that the product
// holds, but by every copy of a JWKS that somebody could have who obeys its max-age.

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import type { Milliseconds } from '../../src/keys/lifecycle.ts';
import { nextStep, spentAt } from '../../src/keys/lifecycle.ts';
import type { KeyPolicy } from '../../src/keys/policy.ts';
import { checkPolicy, followedWithin } from '../../src/keys/policy.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { sqlite } from '../support/engines.ts';
import type { Command, Life, World } from './world.ts';
import { acts, begin, live } from './world.ts';

// With the extremes more often than chance has them: what is wrong by a second shows there.
const soundPolicy: fc.Arbitrary<KeyPolicy> = fc
  .record({
    jwksMaxAge: fc.oneof(fc.constant(30), fc.integer({ min: 30, max: 600 })),
    pollEvery: fc.integer({ min: 1, max: 120 }),
    clockSkew: fc.oneof(fc.constant(120), fc.integer({ min: 0, max: 120 })),
    longestLife: fc.integer({ min: 1, max: 5_000 }),
    spareAhead: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2_000 })),
    spareRotation: fc.integer({ min: 600, max: 5_000 }), // or a life has thousands of keys, and takes as long
    patience: fc.option(fc.integer({ min: 0, max: 5_000 }), { nil: undefined }),
  })
  .map(({ spareAhead, spareRotation, ...rest }) => {
    const publishAhead = rest.jwksMaxAge + rest.pollEvery + rest.clockSkew + spareAhead;
    return { ...rest, publishAhead, rotateEvery: publishAhead + spareRotation };
  });

const share = (min: number) => fc.oneof(fc.constantFrom(min, 1), fc.double({ min, max: 1, noNaN: true }));

const commandsOf = (...among: readonly Command['act'][]): fc.Arbitrary<Command[]> =>
  fc.array(
    fc.record({
      after: fc.oneof(
        fc.integer({ min: 0, max: 4_000_000 }),
        fc.record({
          for: fc.constantFrom('ready' as const, 'spent' as const),
          early: fc.oneof(fc.constant(0), fc.constant(1), fc.integer({ min: 0, max: 600_000 })),
        }),
      ),
      act: fc.constantFrom<Command['act'][]>(...among),
      pick: fc.nat({ max: 5 }),
      isHeard: fc.boolean(),
      unseenBy: fc.constantFrom<string[][]>([], ['orders']),
    }),
    { minLength: 5, maxLength: 20 },
  );

const lives = (commands: fc.Arbitrary<Command[]>): fc.Arbitrary<Life> =>
  fc.record({
    policy: soundPolicy,
    servers: fc.array(fc.record({ offset: share(-1), phase: share(0) }), { minLength: 2, maxLength: 3 }),
    commands,
  });
const anyLife = lives(commandsOf(...acts));

interface Token {
  kid: string;
  issuedAt: Milliseconds;
  /** By the clock of the server that signed it; a verifier's own is right. */
  expiresAt: Milliseconds;
}

/** Of what each server signed with each key: the first, the last, and one in between. All have the longest life. */
function tokensOf({ servers, end }: World): Token[] {
  return servers.flatMap(({ offset, served }) =>
    served.flatMap(({ at, signs, life }, index) => {
      const last = (served[index + 1]?.at ?? end) - 1;
      return [at, Math.floor((at + last) / 2), last]
        .filter((issuedAt) => issuedAt >= at && issuedAt <= last)
        .map((issuedAt) => ({ kid: signs, issuedAt, expiresAt: issuedAt + offset + life * 1000 }));
    }),
  );
}

/** The moments in a token's life at which it is verified here: the first, the last, and one in between. */
function momentsOf({ issuedAt, expiresAt }: Token, end: Milliseconds): Milliseconds[] {
  const last = Math.min(expiresAt - 1, end);
  return [issuedAt, Math.floor((issuedAt + last) / 2), last].filter((moment) => moment >= issuedAt && moment <= last);
}

/**
 * What a verifier may hold at `moment`: the answer of any server, fetched just now, as long ago as the max-age allows,
 * or in between. Before the first server there was none to ask.
 */
function copiesAt({ servers, policy: { jwksMaxAge } }: World, moment: Milliseconds): ReadonlySet<string>[] {
  const oldest = Math.max(begin, moment - Math.max(0, jwksMaxAge * 1000 - 1));
  return [oldest, Math.floor((oldest + moment) / 2), moment].flatMap((fetchedAt) =>
    servers.map(({ served }) => served.findLast(({ at }) => at <= fetchedAt)!.published),
  );
}

const emergencies = ['revoke the active', 'revoke the prepared', 'revoke a retired'] as const;

/** What a verifier knows in the end that is shown everything signed, and asks whoever signed it for an unknown key. */
function knownToFetcherForUnknown({ servers }: World): ReadonlySet<string> {
  let known: ReadonlySet<string> = new Set();
  const signed = servers.flatMap(({ served }) => served).sort((one, other) => one.at - other.at);
  for (const { signs, published } of signed) if (!known.has(signs)) known = published;
  return known;
}

let db: Database;
beforeAll(async () => {
  const path = (await sqlite.freshUrl()).slice('sqlite:'.length);
  db = await openSqlite(path, { sync: async () => {} }); // nobody cuts the power of this one
  await migrate(db);
});
afterAll(() => db.close());

const seal = createSeal([randomBytes(32)]);

async function always(life: fc.Arbitrary<Life>, numRuns: number, judge: (world: World) => void): Promise<void> {
  await fc.assert(
    fc.asyncProperty(life, async (given) => {
      expect(checkPolicy(given.policy)).toEqual([]);
      judge(await live(db, seal, given));
    }),
    { numRuns, interruptAfterTimeLimit: 60_000 },
  ); // or it would look for a smaller example for minutes
}

describe('whatever the policy, the clocks, the moments and the commands', () => {
  test('a token is verifiable from its issue to its expiry by any verifier that obeys the JWKS max-age', async () => {
    const seen = { tokens: 0, verifications: 0, keys: 0, hasty: 0, over: 0, refused: new Set<string>() };
    await always(anyLife, 60, (world) => {
      const followed = followedWithin(world.policy) * 1000;
      const keyOf = new Map(world.keys.map((key) => [key.kid, key]));
      for (const code of world.refused) seen.refused.add(code);
      seen.keys += world.keys.length;
      const broken = [];
      for (const token of tokensOf(world)) {
        const { preparedAt, revokedAt } = keyOf.get(token.kid)!;
        seen.tokens += 1;
        for (const moment of momentsOf(token, world.end)) {
          const answers = copiesAt(world, moment).map((copy) => copy.has(token.kid));
          seen.verifications += answers.length;
          // In an emergency right after a change, nobody can have fetched the key before it existed.
          const isHasty = world.emergencies.has(token.kid) && moment < preparedAt + followed;
          const isGood = revokedAt === null && !isHasty;
          // The other half of the promise: a revoked key is followed within the stated bound.
          const isOver = revokedAt !== null && moment >= revokedAt + followed;
          if (isGood && answers.includes(false)) broken.push({ refused: token, moment });
          if (isOver && answers.includes(true)) broken.push({ accepted: token, moment });
          if (isHasty) seen.hasty += 1;
          if (isOver) seen.over += 1;
        }
      }
      expect(broken).toEqual([]);
    });
    expect(seen.tokens).toBeGreaterThan(1_000);
    expect(seen.hasty).toBeGreaterThan(5);
    expect(seen.over).toBeGreaterThan(50);
    expect([...seen.refused]).toEqual(expect.arrayContaining(['key_step_unsafe', 'key_already_prepared']));
  }, 120_000);

  test('a verifier that keeps what it knows and fetches for an unknown key alone, too, drops a revoked one by itself', async () => {
    const seen = { dropped: 0, believed: 0 };
    await always(lives(commandsOf('wait', 'wait', 'wait', 'rotate', ...emergencies)), 60, (world) => {
      const {
        keys,
        end,
        policy: { publishAhead, pollEvery },
      } = world;
      const revoked = keys.filter(({ revokedAt }) => revokedAt !== null);
      const last = Math.max(...revoked.map(({ revokedAt }) => revokedAt!));
      // A look to make a key, its time, a look to sign with it; and all that before it once for a key that was there.
      const isOver = end >= last + 2 * (publishAhead + 2 * pollEvery) * 1000;
      const believes = revoked.filter(({ kid }) => knownToFetcherForUnknown(world).has(kid));
      // Of two emergencies within one millisecond no timestamp says which key was prepared between them; nobody fetches
      // between them either.
      const isAlone = ({ revokedAt }: { revokedAt: number | null }) =>
        revoked.filter((other) => other.revokedAt === revokedAt).length === 1;
      if (isOver) expect(believes.filter(isAlone)).toEqual([]);
      if (isOver && revoked.length > 0) seen.dropped += 1;
      if (believes.length > 0) seen.believed += 1;
    });
    expect(seen.dropped).toBeGreaterThan(5);
    expect(seen.believed).toBeGreaterThan(0);
  }, 120_000);

  test('one key is active, never two and never none, and behind it is the next one', async () => {
    await always(anyLife, 15, ({ counts }) => expect([...counts]).toEqual(['1 active, 1 prepared']));
  }, 120_000);

  test('waiting until the moment it names makes something due, and nothing is due before', async () => {
    await always(anyLife, 15, ({ keys, end, policy, unseenBy }) => {
      const at = (now: number) => nextStep(keys, now, policy, unseenBy);
      const step = at(end);
      if (step.do !== 'wait') return; // a server looks in a moment
      expect(at(step.until - 1)).toMatchObject({ do: 'wait', next: step.next });
      // A key that comes to wait for verifiers on the way has its limit named then.
      const then = at(step.until);
      if (then.do === 'wait') expect(then.waitingFor).toEqual(unseenBy);
      else expect(then.do).toBe(step.next);
    });
  }, 120_000);

  test('a key that somebody has not fetched signs when the patience is over and not before', async () => {
    let waited = 0;
    await always(lives(commandsOf('wait')), 20, ({ policy, promotions }) => {
      const patience = (policy.patience ?? 0) * 1000;
      for (const { lateBy, missing } of promotions) {
        expect(lateBy).toBeGreaterThanOrEqual(missing ? patience : 0);
        if (missing && patience > 0) waited += 1;
      }
    });
    expect(waited).toBeGreaterThan(3);
  }, 120_000);

  test('a key leaves as soon as nothing that it signed can matter: at the next look of a server', async () => {
    let left = 0;
    await always(anyLife, 20, ({ keys, end, policy }) => {
      for (const key of keys.filter(({ revokedAt, retiredAt }) => revokedAt === null && retiredAt !== null)) {
        const latest = spentAt({ ...key, retiredAt: key.retiredAt! }, policy) + policy.pollEvery * 1000;
        expect(key.destroyedAt ?? end).toBeLessThanOrEqual(latest);
        if (key.destroyedAt !== null) left += 1;
      }
    });
    expect(left).toBeGreaterThan(10);
  }, 120_000);
});
