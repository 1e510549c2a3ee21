// Our short way of the token endpoint is held equal to oidc-provider's: thousands of requests, good and bad, go to two servers
// in the same state, one each way, and nobody can tell the two apart: not by an answer, not by a row, not by the audit trail.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engines } from '../support/engines.ts';
import { crowdOn, crowds } from './crowds.ts';
import type { Mismatch } from './holder.ts';
import { playSpent, playVariations, type Report } from './one-variation.ts';
import { othersOf } from './others.ts';
import { type Pair, startPair } from './pair.ts';
import { type Counts, plainStories, serviceRequests, stories, tell, tellOfService } from './stories.ts';

// To look for more than each run does: SIGNET_TEST_DIFFERENTIAL=20 SIGNET_TEST_SEED=7 npm test -- test/differential
const thoroughness = Number(process.env.SIGNET_TEST_DIFFERENTIAL ?? 1);
const seed = Number(process.env.SIGNET_TEST_SEED ?? 1);

const grantTypes = ['client_credentials', 'refresh_token', 'authorization_code'] as const;

function expectNone({ mismatches, sent, accepted }: Report): void {
  if (mismatches.length > 0) {
    const lines = mismatches
      .slice(0, 40)
      .map(({ request, differences }) => `- ${request}\n    ${differences.slice(0, 6).join('\n    ')}`);
    const [first] = mismatches.map((one: Mismatch) => JSON.stringify(one, undefined, 2));
    throw new Error(
      `${mismatches.length} of ${sent} requests are answered differently:\n${lines.join('\n')}\nthe first: ${first}`,
    );
  }
  expect(accepted).toBeGreaterThan(0);
  expect(accepted).toBeLessThan(sent);
}

describe.each(engines)('the short way and oidc-provider, on $name', (engine) => {
  const isSqlite = engine.name === 'sqlite';
  let pair: Pair;
  beforeAll(async () => {
    pair = await startPair(engine);
  });
  afterAll(() => pair?.close());

  test.each(grantTypes)('answer %s alike, whatever one thing is different about it', async (grantType) => {
    expectNone(await playVariations(pair, grantType, { thorough: thoroughness > 1, part: isSqlite ? 2 : 8 }));
  });

  test.each([0, 20, 40])('answer a refresh token alike that was spent %i seconds ago', async (seconds) => {
    expectNone(await playSpent(pair, seconds, thoroughness > 1 ? 1 : isSqlite ? 2 : 4));
  });

  test('answer alike after each thing that can happen', async () => {
    const others = await othersOf(pair);
    for (const [at, story] of plainStories().entries()) {
      if (!isSqlite && thoroughness === 1 && at % 5 !== 0) continue;
      const { accepted } = await tell(pair, story, others);
      expect(accepted, JSON.stringify(story)).toBeGreaterThan(0);
    }
  });

  test('tell the same stories, whatever happens in them', async () => {
    let others = await othersOf(pair);
    const counts = { sent: 0, accepted: 0 };
    const add = ({ sent, accepted }: Counts) => {
      counts.sent += sent;
      counts.accepted += accepted;
    };
    let told = 0;
    const options = {
      seed,
      numRuns: (isSqlite ? 20 : 6) * thoroughness,
      endOnFailure: thoroughness > 1,
    };
    await fc.assert(
      fc.asyncProperty(stories, async (story) => {
        if ((told += 1) % 10 === 0) others = await othersOf(pair);
        add(await tell(pair, story, others));
      }),
      options,
    );
    await fc.assert(
      fc.asyncProperty(serviceRequests, async (story) => add(await tellOfService(pair, story, others))),
      options,
    );
    expect(counts.accepted).toBeGreaterThan(counts.sent / 5);
    expect(counts.accepted).toBeLessThan(counts.sent);
    if (thoroughness > 1) console.log(`${counts.sent} requests of stories, ${counts.accepted} of them granted`);
  });

  test('say the same of it in the audit trail', async () => {
    expect(await pair.differencesInAudit()).toEqual([]);
  });

  describe('asked the same by many at the same moment', () => {
    beforeAll(() => pair.letTimePass()); // which of them came first, the clock has to say

    test.each(crowds)('%s', async (_promise, crowd) => {
      const [one, other] = await crowdOn(pair, crowd, await othersOf(pair));
      expect(one).toEqual(other);
      expect(one).toMatchObject(crowd.outcome);
    });
  });
});
