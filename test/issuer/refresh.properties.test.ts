// Owner and thief of one grant, in random order, on a clock that is set: whenever both have used one token, the grant
// ends or the thief learned nothing that the owner's own answer does not say; and by repeating what got lost the owner
// is never signed out.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { engines } from '../support/engines.ts';
import { ordersApi, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import { asClient, signIn, tokenRequest } from '../support/user-agent.ts';

const graceMs = 30_000;

type Step =
  | { who: 'owner'; does: 'refresh' | 'repeat' }
  /** With a token from `back` generations ago; asking `ask`. */
  | { who: 'thief'; does: 'try'; back: number; ask: number }
  | { who: 'time'; ms: number };

/** What a thief may ask with; the first is what the owner asks. Those that are wrong are refused in any state. */
const asks: Array<{ parameters: Record<string, string>; isWrong: boolean }> = [
  { parameters: {}, isWrong: false },
  { parameters: { scope: 'openid' }, isWrong: false },
  { parameters: { resource: 'https://nothing.example.com' }, isWrong: true },
  { parameters: { resource: stockApi }, isWrong: true },
  { parameters: { scope: 'orders:write' }, isWrong: true },
];

const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom<Step>({ who: 'owner', does: 'refresh' }, { who: 'owner', does: 'repeat' }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        who: fc.constant('thief' as const),
        does: fc.constant('try' as const),
        back: fc.nat({ max: 2 }),
        ask: fc.nat({ max: asks.length - 1 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ who: fc.constant('time' as const), ms: fc.constantFrom(10, 1_000, 29_000, 31_000) }),
    },
  ),
  { minLength: 4, maxLength: 14 },
);

describe.each(engines)('owner and thief of a refresh token, on $name', ({ name, freshUrl }) => {
  let server: TestServer;
  const time = Date.now;
  let shift = 0;
  beforeAll(async () => {
    vi.spyOn(Date, 'now').mockImplementation(() => time() + shift);
    server = await startSignet({ database: await freshUrl() });
  });
  afterAll(async () => {
    await server.close();
    vi.restoreAllMocks();
  });

  const ask = (token: string, parameters: Record<string, string> = {}) =>
    tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token, ...parameters }, asClient('spa'));

  async function play(story: Step[]): Promise<void> {
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    // The owner's chain: what it used, and what it holds.
    const chain: string[] = [tokens.refresh_token];
    let isOver = false;
    let thiefWasHere = false;
    let repetitions = 0;
    let rotatedAt = -Infinity;

    for (const step of story) {
      if (step.who === 'time') {
        // The database has a clock of its own on PostgreSQL: there time passes by itself.
        if (name === 'sqlite') shift += step.ms;
        continue;
      }
      if (step.who === 'owner' && step.does === 'refresh') {
        const { status, body } = await ask(chain.at(-1)!);
        if (isOver) expect(status).toBe(400);
        else if (!thiefWasHere) expect(status).toBe(200);
        if (status !== 200) {
          isOver = true;
          continue;
        }
        chain.push(body.refresh_token);
        [repetitions, rotatedAt] = [0, Date.now()];
        continue;
      }
      if (step.who === 'owner') {
        const age = Date.now() - rotatedAt;
        // Honest: soon, and a few times. At the edge of the grace nobody says what it is.
        if (chain.length < 2 || repetitions >= 3 || age > graceMs - 2_000) continue;
        const { status, body } = await ask(chain.at(-2)!);
        repetitions += 1;
        if (isOver) expect(status).toBe(400);
        else if (!thiefWasHere) expect([status, body.refresh_token]).toEqual([200, chain.at(-1)]);
        if (status !== 200) isOver = true;
        continue;
      }
      const { parameters, isWrong } = asks[step.ask]!;
      const at = chain.length - 1 - step.back;
      const stolen = chain[at];
      if (stolen === undefined) continue;
      const isSpent = step.back > 0;
      const { status, body } = await ask(stolen, parameters);
      if (isOver) {
        expect(status).toBe(400);
        continue;
      }
      if (isWrong) {
        // The same in every state, and it costs the owner nothing.
        expect([status, body.error]).toEqual([400, 'resource' in parameters ? 'invalid_target' : 'invalid_scope']);
        continue;
      }
      thiefWasHere = true;
      if (isSpent && status === 200) {
        // The owner's own answer: its repetition, of its words, in the grace, of the last exchange, a few times.
        expect([step.ask, step.back, body.refresh_token]).toEqual([0, 1, chain.at(-1)]);
        expect(Date.now() - rotatedAt).toBeLessThan(graceMs + 2_000);
        expect((repetitions += 1)).toBeLessThanOrEqual(3);
        continue;
      }
      if (isSpent) {
        // Told that it was spent: the grant is the price.
        expect((await ask(chain.at(-1)!)).status).toBe(400);
        isOver = true;
        continue;
      }
      // The thief was first. After the grace, or with other words, the owner's use of the same token reveals it.
      expect(status).toBe(200);
      if (name === 'sqlite') shift += graceMs + 1_000;
      else if (step.ask === 0) return;
      expect((await ask(stolen)).status).toBe(400);
      expect((await ask(body.refresh_token)).status).toBe(400);
      isOver = true;
    }
  }

  test('both used one token: the grant ends, or nothing was learned; honest repetition signs nobody out', async () => {
    await fc.assert(fc.asyncProperty(steps, play), { numRuns: name === 'sqlite' ? 25 : 8 });
  });
});
