// Many who present one token or code at the same moment, as browsers with many tabs do, and thieves.

import { atTheSameMoment } from '../support/same-moment.ts';
import { decode } from '../support/user-agent.ts';
import { Holder, variations } from './holder.ts';
import { nextAddress } from './one-variation.ts';
import type { Pair, Side } from './pair.ts';
import { type GrantType, type Others, plainRequest } from './requests.ts';

interface Crowd {
  grantType: GrantType;
  /** What is unusual about every other request. */
  varied: readonly string[];
  outcome: Partial<CrowdOutcome>;
}

/** What can be said of a crowd, whoever of it was first. */
interface CrowdOutcome {
  /** 'some': at least one, and not all. */
  granted: 'all' | 'none' | 'some' | 'one';
  refused: string[];
  /** Different ones that the answers hold. */
  refreshTokens: number;
  accessTokens: number;
  /** Whether the newest refresh token is good afterwards; undefined where that depends on who was first. */
  goesOn: boolean | undefined;
}

const howMany = 8;

export const crowds: ReadonlyArray<[promise: string, crowd: Crowd]> = [
  [
    'a refresh token has one successor, which all of its tabs are given',
    {
      grantType: 'refresh_token',
      varied: [],
      outcome: { granted: 'all', refused: [], refreshTokens: 1, accessTokens: 1, goesOn: true },
    },
  ],
  [
    'a refresh token that is used for different things ends with its grant',
    {
      grantType: 'refresh_token',
      varied: ['with scope=openid'],
      outcome: { granted: 'some', refused: ['invalid_grant'], refreshTokens: 1, accessTokens: 1, goesOn: false },
    },
  ],
  [
    'a refresh token that others present is refused to them and good for its own',
    {
      grantType: 'refresh_token',
      varied: ['as another public application'],
      outcome: { granted: 'some', refused: ['invalid_grant'], refreshTokens: 1, accessTokens: 1, goesOn: true },
    },
  ],
  [
    'a code is redeemed once',
    {
      grantType: 'authorization_code',
      varied: [],
      outcome: { granted: 'one', refused: ['invalid_grant'], refreshTokens: 1 },
    },
  ],
  [
    'a code is redeemed once, and never with another verifier',
    {
      grantType: 'authorization_code',
      varied: ['with another verifier'],
      outcome: { granted: 'one', refused: ['invalid_grant'], refreshTokens: 1 },
    },
  ],
  [
    'a service gets a token of its own for each request',
    {
      grantType: 'client_credentials',
      varied: [],
      outcome: { granted: 'all', refreshTokens: 0, accessTokens: howMany },
    },
  ],
];

export async function crowdOn(
  pair: Pair,
  crowd: Crowd,
  others: Map<Side, Others>,
): Promise<[CrowdOutcome, CrowdOutcome]> {
  const { grantType } = crowd;
  const isService = grantType === 'client_credentials';
  const holder = new Holder(pair, isService ? 'service' : 'spa', others, nextAddress());
  if (isService) await holder.ask(grantType);
  else await holder.authorize('ada', 'spa: one API');
  if (grantType === 'refresh_token') await holder.ask('authorization_code');
  const one = await outcomeOn(pair.short, holder, crowd);
  return [one, await outcomeOn(pair.provider, holder, crowd)];
}

async function outcomeOn(side: Side, holder: Holder, { grantType, varied, outcome }: Crowd): Promise<CrowdOutcome> {
  let turn = 0;
  const address = nextAddress();
  const answers = await atTheSameMoment(Array<string>(howMany).fill(side.server.url), (_url, dispatcher) => {
    const draft = plainRequest(grantType, holder.ownOn(side), address);
    if ((turn += 1) % 2 === 0) for (const name of varied) variations[name]!(draft, holder.ownOn(side));
    return side.send(draft, dispatcher);
  });
  const bodies = answers.map(({ body }) => body as Record<string, string>);
  const granted = answers.filter(({ status }) => status === 200).length;
  const different = (name: string) =>
    new Set(bodies.flatMap((body) => (body[name] === undefined ? [] : claimsOf(body[name])))).size;
  const newest = bodies.findLast(({ refresh_token: token }) => token !== undefined)?.refresh_token;
  const afterwards =
    newest === undefined || outcome.goesOn === undefined
      ? undefined
      : await side.send(plainRequest('refresh_token', { ...holder.ownOn(side), refreshTokens: [newest] }, address));
  return {
    granted: granted === howMany ? 'all' : granted === 0 ? 'none' : granted === 1 ? 'one' : 'some',
    refused: [...new Set(bodies.flatMap(({ error }) => error ?? []))],
    refreshTokens: different('refresh_token'),
    accessTokens: different('access_token'),
    goesOn: afterwards && afterwards.status === 200,
  };
}

/** The same claims are the same token, in whatever order they were written. */
function claimsOf(token: string): string {
  const { payload } = decode(token);
  return JSON.stringify(Object.entries(payload).sort(([one], [other]) => (one < other ? -1 : 1)));
}
