// Our short way of the token endpoint is held equal to oidc-provider's: thousands of requests, good and bad, go to two servers
// in the same state, one each way, and nobody can tell the two apart: not by an answer, not by a row, not by the audit trail.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engines } from '../support/engines.ts';
import type { Mismatch } from './holder.ts';
import { playSpent, playVariations, type Report } from './one-variation.ts';
import { type Pair, startPair } from './pair.ts';

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
  let pair: Pair;
  beforeAll(async () => {
    pair = await startPair(engine);
  });
  afterAll(() => pair?.close());

  test.each(grantTypes)('answer %s alike, whatever one thing is different about it', async (grantType) => {
    const report = await playVariations(pair, grantType, { part: engine.name === 'sqlite' ? 1 : 3 });
    expectNone(report);
  });

  test.each([0, 20, 40])('answer a refresh token alike that was spent %i seconds ago', async (seconds) => {
    expectNone(await playSpent(pair, seconds));
  });

  test('say the same of it in the audit trail', async () => {
    expect(await pair.differencesInAudit()).toEqual([]);
  });
});
