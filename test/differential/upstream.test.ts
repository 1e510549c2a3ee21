// A grant that rests on a session at Microsoft (issuer/upstream-session.ts): while that holds, when it has ended, when nobody
// can say. Either way a refresh is answered alike.

import { Agent } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createUpstreamSessions } from '../../src/entra/upstream-sessions.ts';
import { sqlite } from '../support/engines.ts';
import { Holder } from './holder.ts';
import { nextAddress } from './one-variation.ts';
import { othersOf } from './others.ts';
import { type Pair, type Side, startPair } from './pair.ts';

const [tenant, clientId, person] = ['1', '2', '3'].map((digit) => `00000000-0000-4000-8000-00000000000${digit}`);
const minutes = 60_000;

let pair: Pair;
beforeAll(async () => {
  const dispatcher = new Agent({ connect: (_options, callback) => callback(new Error('there is no network'), null) });
  const entra = { tenant, clientId, clientSecret: 'a secret of nobody, which opens nothing' };
  pair = await startPair(sqlite, { more: { entra }, parts: { dispatcher } });
});
afterAll(() => pair?.close());

/** Has the grants of ada rest on a session of hers, of which Microsoft last said `age` ago that all is well. */
async function restOn(
  { server: { store }, accounts: { ada } }: Side,
  age: number,
  refreshToken?: string,
): Promise<void> {
  const sessions = createUpstreamSessions(store.db, store.seal, 86_400);
  const externalId = `entra|https://login.microsoftonline.com|${tenant}|${person}`;
  const id = await sessions.open({ method: 'entra', externalId, accountId: ada, refreshToken });
  await store.db.query('update upstream_sessions set checked_at = checked_at - $2 where id = $1', [id, age]);
  const { rows } = await store.db.query<{ id: string; payload: string }>(
    `select id, payload from oidc_models where model = 'Grant' and account_id = $1`,
    [ada],
  );
  for (const row of rows) {
    const payload = JSON.stringify({ ...JSON.parse(row.payload), upstream: id });
    await store.db.query('update oidc_models set payload = $2 where id = $1', [row.id, payload]);
  }
}

const ended = `update upstream_sessions set ended_at = 1`;
const gone = 'delete from upstream_sessions';

test.each([
  ['that was checked a moment ago', 0, 'theirs', undefined, 200],
  ['that nobody has to check yet', 14 * minutes, undefined, undefined, 200],
  ['that cannot be checked, as Microsoft gave nothing to ask with', 16 * minutes, undefined, undefined, 400],
  ['of which Microsoft cannot be asked, for a while', 16 * minutes, 'theirs', undefined, 200],
  ['of which Microsoft cannot be asked, for long', 600 * minutes, 'theirs', undefined, 503],
  ['that has ended', 0, 'theirs', ended, 400],
  ['of which nothing is known', 0, 'theirs', gone, 400],
])('a grant rests on a session %s', async (_what, age, refreshToken, then, status) => {
  for (const ask of ['spa: one API', 'web: offline']) {
    await pair.advance(180);
    const holder = new Holder(pair, ask.split(':')[0]!, await othersOf(pair), nextAddress());
    await holder.authorize('ada', ask);
    await holder.ask('authorization_code');
    await holder.authorize('ada', ask);
    await pair.onEach((side) => restOn(side, age, refreshToken));
    if (then) await pair.onEach(({ server }) => server.store.db.query(then));
    expect((await holder.ask('refresh_token')).answers.map((answer) => answer.status)).toEqual([status, status]);
    for (const varied of [[], ['with scope=openid'], ['with the token before']])
      await holder.ask('refresh_token', varied);
    await holder.ask('authorization_code');
    await holder.ask('refresh_token');
    expect(holder.mismatches).toEqual([]);
    expect(await pair.differencesInRows()).toEqual([]);
    await pair.onEach(({ server }) => server.store.db.query(gone));
  }
});

/**
 * Known, and wanted. The short way asks first whether the session holds, and where that ends the grant, oidc-provider finds
 * it gone when it looks for what to say: the same refusal, and of two reasons for it the other one.
 */
const otherReason = /detail\.reason: "grant not found" and "refresh token invalid \(referenced account not found\)"$/;

test('the audit trail says the same of it, but for the reason where the question itself ended the grant', async () => {
  const found = await pair.differencesInAudit();
  expect(found.filter((one) => !otherReason.test(one))).toEqual([]);
  expect(found.length).toBeLessThanOrEqual(2);
});
