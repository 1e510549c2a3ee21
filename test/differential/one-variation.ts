// Every variation of a token request by itself, of each grant: with one thing wrong, or merely unusual.

import { Holder, type Mismatch, variations } from './holder.ts';
import { othersOf } from './others.ts';
import type { Pair, Side } from './pair.ts';
import type { GrantType, Others, Variations } from './requests.ts';
import { clientAuth } from './variations/client-auth.ts';
import { codes, refreshTokens, spentTokens } from './variations/credentials.ts';
import { forms } from './variations/forms.ts';
import { parameters } from './variations/parameters.ts';

export interface Report {
  sent: number;
  accepted: number;
  mismatches: Mismatch[];
}

/** Who asks for what, and what of it is varied. */
interface Case {
  grantType: GrantType;
  clientId: string;
  ask: string;
  varied: Variations;
}

const usual = { ...forms, ...clientAuth, ...parameters };

const cases: Record<GrantType, Case[]> = {
  client_credentials: [
    { grantType: 'client_credentials', clientId: 'service', ask: '', varied: usual },
    { grantType: 'client_credentials', clientId: 'odd:service +/%', ask: '', varied: usual },
    { grantType: 'client_credentials', clientId: 'service-two-apis', ask: '', varied: parameters },
    { grantType: 'client_credentials', clientId: 'service-default', ask: '', varied: parameters },
  ],
  refresh_token: [
    { grantType: 'refresh_token', clientId: 'spa', ask: 'spa: one API', varied: { ...usual, ...refreshTokens } },
    { grantType: 'refresh_token', clientId: 'web', ask: 'web: its only API', varied: { ...usual, ...refreshTokens } },
    {
      grantType: 'refresh_token',
      clientId: 'spa',
      ask: 'spa: two APIs, all of the person',
      varied: parameters,
    },
    { grantType: 'refresh_token', clientId: 'web-two-apis', ask: 'web-two-apis: three', varied: parameters },
  ],
  authorization_code: [
    { grantType: 'authorization_code', clientId: 'spa', ask: 'spa: one API', varied: { ...usual, ...codes } },
    { grantType: 'authorization_code', clientId: 'web', ask: 'web: its only API', varied: { ...usual, ...codes } },
    {
      grantType: 'authorization_code',
      clientId: 'web-no-pkce',
      ask: 'web-no-pkce: without PKCE',
      varied: codes,
    },
    { grantType: 'authorization_code', clientId: 'web-two-apis', ask: 'web-two-apis: three', varied: parameters },
  ],
};

const atOnce = 8;
const latest = new WeakMap<Pair, Map<Side, Others>>();

/** Good ones, where any of these variations presents them. */
async function othersFor(pair: Pair, names: string[]): Promise<Map<Side, Others>> {
  const known = latest.get(pair);
  if (known && !names.some((name) => name in refreshTokens || name in codes)) return known;
  const others = await othersOf(pair);
  latest.set(pair, others);
  return others;
}

interface Extent {
  /** Every case sees every variation of its own. Otherwise one case of a grant sees each. */
  thorough: boolean;
  /** Of those that other grants see as well, one in so many; a code and a refresh token take turns. */
  part: number;
}

export async function playVariations(pair: Pair, grantType: GrantType, { thorough, part }: Extent): Promise<Report> {
  const report: Report = { sent: 0, accepted: 0, mismatches: [] };
  const all = cases[grantType];
  const order = Object.keys(variations);
  const phase = grantType === 'refresh_token' ? 1 : 0;
  for (const one of all) {
    const names = Object.keys(one.varied).filter((name) => {
      const able = all.filter(({ varied }) => name in varied);
      const turn = order.indexOf(name);
      const isItsTurn = turn % able.length === able.indexOf(one);
      const isAlsoOfOthers = name in usual && (grantType !== 'client_credentials' || part > 2);
      return thorough || (isItsTurn && (!isAlsoOfOthers || (Math.floor(turn / able.length) + phase) % part === 0));
    });
    for (let from = 0; from < names.length; from += atOnce) {
      await playBatch(pair, one, names.slice(from, from + atOnce), report, nextAddress());
    }
  }
  return report;
}

let batches = 0;
/** Refusals are counted by network, and few of one have a row in the audit trail. */
export const nextAddress = () => `10.${(batches += 1) >> 8}.${batches & 255}.1`;

async function playBatch(
  pair: Pair,
  { grantType, clientId, ask }: Case,
  names: string[],
  report: Report,
  address: string,
) {
  await pair.advance(180);
  const holder = new Holder(pair, clientId, await othersFor(pair, names), address);
  const isOfPerson = grantType !== 'client_credentials';
  if (isOfPerson) await holder.authorize('ada', ask);
  // The first one from an address; a refresh token comes with it.
  if (grantType !== 'authorization_code') await holder.ask(isOfPerson ? 'authorization_code' : grantType);
  for (const name of names) {
    await pair.advance(6);
    const { answers } = await holder.ask(grantType, [name]);
    if (grantType === 'authorization_code' && answers[0].status === 200) await holder.authorize('ada', ask);
  }
  await holder.ask(grantType);
  if (isOfPerson) await holder.ask('refresh_token');
  const inRows = await pair.differencesInRows();
  if (inRows.length > 0) {
    holder.mismatches.push({
      request: `${grantType}: rows after ${names.join(', ')}`,
      differences: inRows,
    } as Mismatch);
  }
  report.sent += holder.sent;
  report.accepted += holder.accepted;
  report.mismatches.push(...holder.mismatches);
}

/** What was spent, presented again so many seconds later; and what is then left of the grant. */
export async function playSpent(pair: Pair, seconds: number, part: number): Promise<Report> {
  const report: Report = { sent: 0, accepted: 0, mismatches: [] };
  for (const [at, name] of Object.keys(spentTokens).entries()) {
    if ((at + seconds / 20) % part !== 0) continue;
    await pair.advance(180);
    const [clientId, ask] = at % 2 === 0 ? (['spa', 'spa: one API'] as const) : (['web', 'web: its only API'] as const);
    const holder = new Holder(pair, clientId, await othersFor(pair, []), nextAddress());
    await holder.authorize('ada', ask);
    await holder.ask('authorization_code');
    for (let turn = 0; turn < 2; turn += 1) await holder.ask('refresh_token');
    await pair.advance(seconds);
    for (let turn = 0; turn < 2; turn += 1) await holder.ask('refresh_token', [name]);
    await holder.ask('refresh_token');
    await holder.ask('refresh_token');
    const inRows = await pair.differencesInRows();
    if (inRows.length > 0) holder.mismatches.push({ request: `rows after ${name}`, differences: inRows } as Mismatch);
    report.sent += holder.sent;
    report.accepted += holder.accepted;
    report.mismatches.push(...holder.mismatches);
  }
  return report;
}
