// What a request costs tells nothing either: whoever is not authenticated has nothing looked up, a wrong secret and an unknown
// application take the same turns, and what one way looks up or writes for, the other does as well.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engines } from '../support/engines.ts';
import { Holder, variations } from './holder.ts';
import { nextAddress } from './one-variation.ts';
import { othersOf } from './others.ts';
import { type Draft, type Pair, type Side, startPair } from './pair.ts';
import { basic, type GrantType, ownOf, plainRequest, type Variation } from './requests.ts';
import { type Statements, watchStatements } from './statements.ts';
import { clientAuth } from './variations/client-auth.ts';
import { codes, refreshTokens } from './variations/credentials.ts';

/** Some ten are free (web/secret-throttle.ts). */
const mostTurns = 30;

const strangers = [
  'as an application that there is not',
  'as an application that there is not, by its name alone',
  'as a disabled application',
  'as a disabled application with a wrong secret',
  'with a wrong secret in the form',
  'with a wrong secret in the header',
  'with its name alone',
  'without any authentication',
  'with its credentials in both ways',
  'with "Basic" alone',
  'with a Bearer token',
];

describe.each(engines)('what a request costs either way, on $name', (engine) => {
  let pair: Pair;
  let holder: Holder;
  let statements: Statements;
  beforeAll(async () => {
    pair = await startPair(engine);
    holder = new Holder(pair, 'web', await othersOf(pair), '10.255.0.1');
    statements = watchStatements();
    await renew();
  });
  afterAll(async () => {
    statements?.stop();
    await pair?.close();
  });

  async function renew(): Promise<void> {
    await pair.advance(60);
    await holder.authorize('ada', 'web: its only API');
    await holder.ask('authorization_code');
    await holder.authorize('ada', 'web: its only API');
  }

  async function cost(side: Side, grantType: GrantType, variation: Variation) {
    const draft = plainRequest(grantType, holder.ownOn(side), '10.255.0.1');
    variation(draft, holder.ownOn(side));
    statements.taken();
    const { status } = await side.send(draft);
    const { reads, writes } = statements.taken();
    return { status, reads, writes };
  }

  test.each(strangers)('nothing is looked up for a request %s', async (name) => {
    for (const side of pair.both) {
      for (const grantType of ['refresh_token', 'authorization_code', 'client_credentials'] as const) {
        const { status, reads, writes } = await cost(side, grantType, variations[name]!);
        expect([status >= 400, reads, writes], grantType).toEqual([true, 0, 0]);
      }
    }
  });

  test('the two ways are two: a plain refresh and a plain code are read in one statement, and in several', async () => {
    for (const grantType of ['refresh_token', 'authorization_code'] as const) {
      await renew();
      const [one, other] = [
        await cost(pair.short, grantType, () => {}),
        await cost(pair.provider, grantType, () => {}),
      ];
      expect([one.status, other.status, one.reads], grantType).toEqual([200, 200, 1]);
      expect(other.reads, grantType).toBeGreaterThan(1);
    }
  });

  const kinds = [
    ['refresh_token', { ...clientAuth, ...refreshTokens }],
    ['authorization_code', codes],
  ] as const;

  test.each(kinds)(
    'of %s: what is looked up one way is so the other way, and so is what is written',
    async (grantType, all) => {
      const different: string[] = [];
      for (const [at, name] of Object.keys(all).entries()) {
        if (engine.name !== 'sqlite' && at % 8 !== 0) continue;
        const [one, other] = [
          await cost(pair.short, grantType, variations[name]!),
          await cost(pair.provider, grantType, variations[name]!),
        ];
        const kind = ({ status, reads, writes }: typeof one) => [status, reads > 0, writes > 0].join(' ');
        if (kind(one) !== kind(other)) different.push(`${name}: ${JSON.stringify([one, other])}`);
        if (one.status === 200) await renew();
      }
      expect(different).toEqual([]);
    },
  );

  test.runIf(engine.name === 'sqlite').each(['refresh_token', 'authorization_code'] as const)(
    'where the database fails, %s is answered alike, and good afterwards',
    async (grantType) => {
      await renew();
      statements.fail(true);
      const failed = await holder.ask(grantType).finally(() => statements.fail(false));
      expect(failed.differences).toEqual([]);
      expect(failed.answers[0].status).toBeGreaterThanOrEqual(500);
      const good = await holder.ask(grantType);
      expect([good.differences, good.answers[0].status]).toEqual([[], 200]);
    },
  );

  /** How often a wrong secret of an application is looked at, from an address that has sent this `times` before. */
  async function turnsLeft(side: Side, name: string | undefined, times: number): Promise<number> {
    const address = addresses.shift()!;
    const own = ownOf({ others: holder.ownOn(side).others }, 'web');
    const asked = (variation: Variation): Draft => {
      const draft = plainRequest('client_credentials', own, address);
      variation(draft, own);
      return draft;
    };
    let client = 'web';
    for (let turn = 0; turn < times; turn += 1) {
      const draft = asked(variations[name!]!);
      client = clientOf(draft);
      await side.send(draft);
    }
    const wrong: Variation = (draft) => {
      draft.headers.authorization = basic(client, 'another wrong secret, which nobody has');
    };
    for (let left = 0; left < mostTurns; left += 1) if ((await side.send(asked(wrong))).status === 429) return left;
    throw new Error(`whoever sends wrong secrets of ${client} is never slowed`);
  }
  let addresses: string[] = [];

  // Counted in memory, whatever the engine.
  test
    .runIf(engine.name === 'sqlite')
    .each([...strangers, 'with its credentials in the header', 'with its secret and one letter more'])(
    'a request %s takes as many turns of whoever may try secrets',
    async (name) => {
      const turns: number[][] = [];
      for (const side of pair.both) {
        addresses = [nextAddress(), nextAddress()];
        turns.push([await turnsLeft(side, undefined, 0), await turnsLeft(side, name, 3)]);
      }
      const [[before, after], theirs] = turns as [[number, number], number[]];
      expect([before, after]).toEqual(theirs);
      const isWrong = /wrong secret|that there is not|one letter more|disabled/.test(name);
      expect(before - after, 'turns').toBe(isWrong ? 3 : 0);
    },
  );
});

function clientOf({ headers: { authorization }, fields }: Draft): string {
  const encoded = /^Basic (.+)$/.exec(String(authorization))?.[1] ?? '';
  const [name] = Buffer.from(encoded, 'base64').toString().split(':');
  return name || (fields.find(([field]) => field === 'client_id')?.[1] ?? 'web');
}
