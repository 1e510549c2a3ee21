// Stories: an application and a person, and what happens to them in some order. Requests with whatever is unusual about them,
// time that passes, administrators, a server that died: told to both sides, and at the end each is asked what is left.

import fc from 'fast-check';
import { events, restored } from './events.ts';
import { Holder, variations } from './holder.ts';
import { nextAddress } from './one-variation.ts';
import type { Pair, Side } from './pair.ts';
import type { GrantType, Others } from './requests.ts';
import { codes, refreshTokens, spentTokens } from './variations/credentials.ts';
import { asks, type PersonName, persons, services } from './world.ts';

type Step =
  | { does: 'ask'; grantType: GrantType; varied: string[] }
  /** So often, without a pause. */
  | { does: 'refresh'; times: number }
  | { does: 'happen'; event: string };

export interface Story {
  ask: string;
  person: PersonName;
  steps: Step[];
}

const anything = fc.constantFrom(...Object.keys(variations));
const ofRefreshTokens = fc.constantFrom(...Object.keys({ ...refreshTokens, ...spentTokens }));
const spent = fc.constantFrom(...Object.keys(spentTokens));
const ofCodes = fc.constantFrom(...Object.keys(codes));

const request = (grantType: GrantType, varied: fc.Arbitrary<string[]>): fc.Arbitrary<Step> =>
  varied.map((names) => ({ does: 'ask', grantType, varied: names }));

const none = fc.constant<string[]>([]);
const one = (name: fc.Arbitrary<string>) => name.map((only) => [only]);
const some = fc.array(anything, { minLength: 2, maxLength: 3 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: request('refresh_token', none) },
  { weight: 5, arbitrary: request('refresh_token', one(spent)) },
  { weight: 2, arbitrary: request('refresh_token', one(ofRefreshTokens)) },
  { weight: 3, arbitrary: request('refresh_token', one(anything)) },
  { weight: 2, arbitrary: request('refresh_token', some) },
  { weight: 4, arbitrary: request('authorization_code', none) },
  { weight: 2, arbitrary: request('authorization_code', one(ofCodes)) },
  { weight: 2, arbitrary: request('authorization_code', one(anything)) },
  { weight: 1, arbitrary: request('authorization_code', some) },
  { weight: 1, arbitrary: fc.nat({ max: 12 }).map((times): Step => ({ does: 'refresh', times })) },
  { weight: 9, arbitrary: fc.constantFrom(...Object.keys(events)).map((event): Step => ({ does: 'happen', event })) },
);

export const stories: fc.Arbitrary<Story> = fc.record({
  ask: fc.constantFrom(...Object.keys(asks)),
  person: fc.constantFrom(...(Object.keys(persons) as PersonName[])),
  steps: fc.array(step, { minLength: 3, maxLength: 9 }),
});

/** Each thing that can happen, once: to a chain of refreshes and to a code, and each kind of authorization request. */
export function plainStories(): Story[] {
  const kinds = Object.keys(asks);
  const people = Object.keys(persons) as PersonName[];
  return [...Object.keys(events), ...kinds.slice(Object.keys(events).length)].map((event, at) => ({
    ask: kinds[at % kinds.length]!,
    person: people[at % people.length]!,
    steps: [
      { does: 'ask', grantType: 'refresh_token', varied: [] },
      { does: 'happen', event: 'another sign-in' },
      { does: 'happen', event: event in events ? event : 'a second passes' },
      { does: 'ask', grantType: 'refresh_token', varied: at % 2 === 0 ? [] : ['with its handle alone'] },
      { does: 'ask', grantType: 'refresh_token', varied: at % 3 === 0 ? ['with the token before'] : [] },
      { does: 'ask', grantType: 'authorization_code', varied: [] },
    ],
  }));
}

export interface Counts {
  sent: number;
  accepted: number;
}

/** @returns how many requests there were. @throws where the two sides differ */
export async function tell(pair: Pair, { ask, person, steps }: Story, others: Map<Side, Others>): Promise<Counts> {
  await pair.advance(180);
  const holder = new Holder(pair, asks[ask]!.clientId, others, nextAddress());
  const situation = { pair, holder, person, ask };
  try {
    await holder.authorize(person, ask);
    // Who has a refresh token has more to tell.
    if (steps[0]?.does !== 'ask' || steps[0].grantType !== 'authorization_code') await holder.ask('authorization_code');
    for (const each of steps) {
      if (each.does === 'ask') await holder.ask(each.grantType, each.varied);
      else if (each.does === 'happen') await happen(each.event, situation);
      else for (let turn = 0; turn < each.times; turn += 1) await holder.ask('refresh_token');
    }
    for (const grantType of ['refresh_token', 'refresh_token', 'authorization_code'] as const)
      await holder.ask(grantType);
  } finally {
    await restored(situation);
    await pair.advance(6);
  }
  const inRows = await pair.differencesInRows();
  const found = [...holder.mismatches.map(({ request, differences }) => [request, ...differences]), inRows].filter(
    (lines) => lines.length > 0,
  );
  if (found.length > 0) throw new Error(found.map((lines) => lines.join('\n    ')).join('\n'));
  return holder;
}

// Nobody signs in who is disabled, or with an application that is: that is how the story goes on.
async function happen(event: string, situation: Parameters<(typeof events)[string]>[0]): Promise<void> {
  try {
    await events[event]!(situation);
  } catch (error) {
    if (event !== 'another sign-in' && event !== 'they sign out') throw error;
  }
}

/** Requests of services, with some things unusual about each. */
export const serviceRequests = fc.record({
  clientId: fc.constantFrom(...services, 'spa', 'web'),
  requests: fc.array(fc.array(anything, { maxLength: 3 }), { minLength: 2, maxLength: 6 }),
});

export async function tellOfService(
  pair: Pair,
  { clientId, requests }: { clientId: string; requests: string[][] },
  others: Map<Side, Others>,
): Promise<Counts> {
  await pair.advance(180);
  const holder = new Holder(pair, clientId, others, nextAddress());
  for (const varied of [[], ...requests]) await holder.ask('client_credentials', varied);
  if (holder.mismatches.length > 0) throw new Error(JSON.stringify(holder.mismatches, undefined, 2));
  return holder;
}
