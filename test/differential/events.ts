// What happens to an application and a person beside token requests, on both sides alike.

import { randomUUID } from 'node:crypto';
import type { Holder } from './holder.ts';
import type { Pair, Side } from './pair.ts';
import { type PersonName, persons } from './world.ts';

export interface Situation {
  pair: Pair;
  holder: Holder;
  person: PersonName;
  ask: string;
}

type Happening = (situation: Situation) => Promise<unknown>;

const passing =
  (seconds: number): Happening =>
  ({ pair }) =>
    pair.advance(seconds);

const account = (act: (side: Side, accountId: string) => Promise<unknown>): Happening => {
  return ({ pair, person }) => pair.onEach((side) => act(side, side.accounts[person]));
};

const sql = (statement: string): Happening =>
  account((side, accountId) => side.server.store.db.query(statement, [accountId]));

/** What no way leads to, unless the database is changed by hand. */
const grants = (changed: () => object): Happening =>
  account(async (side, id) => {
    const { db } = side.server.store;
    const { rows } = await db.query<{ id: string; payload: string }>(
      `select id, payload from oidc_models where model = 'Grant' and account_id = $1`,
      [id],
    );
    for (const row of rows) {
      const payload = { ...JSON.parse(row.payload), ...changed() };
      await db.query('update oidc_models set payload = $2 where id = $1', [row.id, JSON.stringify(payload)]);
    }
  });

export const events: Readonly<Record<string, Happening>> = {
  'a second passes': passing(1),
  'six seconds pass': passing(6),
  'the grace is nearly over': passing(29),
  'the grace is over': passing(31),
  'the code has expired': passing(125),
  'the refresh token has expired': passing(601),
  'another sign-in': ({ holder, person, ask }) => holder.authorize(person, ask),
  'they sign out': ({ pair, person }) => pair.onEach((side) => side.signOut(person)),
  'they are signed out everywhere': account((side, id) => side.server.store.accounts.signOut(id, 'test')),
  'they are disabled': account((side, id) => side.server.store.accounts.setDisabled(id, true, 'test')),
  'they are enabled': account((side, id) => side.server.store.accounts.setDisabled(id, false, 'test')),
  'they are disabled, and nothing ends with it': sql('update accounts set disabled_at = 1 where id = $1'),
  'they get another role': account((side, id) => side.server.store.accounts.setRoles(id, ['buyer', 'auditor'], 'test')),
  'they lose their roles': account((side, id) => side.server.store.accounts.setRoles(id, [], 'test')),
  'their address is no longer vouched for': account((side, id) =>
    side.server.store.accounts.setEmailVerified(id, false, 'test'),
  ),
  'their address is vouched for': account((side, id) => side.server.store.accounts.setEmailVerified(id, true, 'test')),
  'they get another name': account((side, id) =>
    side.server.store.accounts.setNames(id, { name: 'Somebody', givenName: 'Some', familyName: '' }, 'test'),
  ),
  'their grants are revoked': account(async (side, id) => {
    const { grants } = side.server.store;
    for (const { grantId } of await grants.list(id)) await grants.revoke(grantId, { actor: 'test' });
  }),
  'their grants are gone': sql(`delete from oidc_models where model = 'Grant' and account_id = $1`),
  'their grants expire': grants(() => ({ exp: Math.floor(Date.now() / 1000) })),
  "their grants are another application's": grants(() => ({ clientId: 'another' })),
  "their grants are somebody else's": grants(() => ({ accountId: 'somebody else' })),
  'their sessions are gone': sql(`delete from oidc_models where model = 'Session' and account_id = $1`),
  'their sessions expire': sql(
    `update oidc_models set expires_at = 1, payload = replace(payload, '"exp":', '"exp":1,"before":') where model = 'Session' and account_id = $1`,
  ),
  "their sessions are somebody else's": sql(
    `update oidc_models set account_id = 'somebody else', payload = replace(payload, '"accountId":"', '"accountId":"x') where model = 'Session' and account_id = $1`,
  ),
  'their application is disabled': async ({ pair, holder }) => {
    await pair.onEach(({ server }) => server.store.clients.setDisabled(holder.clientId, true, 'test'));
    await pair.advance(6); // what is known of applications is so old at the most
  },
  'their application is enabled': async ({ pair, holder }) => {
    await pair.onEach(({ server }) => server.store.clients.setDisabled(holder.clientId, false, 'test'));
    await pair.advance(6);
  },
  'a server died': async ({ pair }) => {
    const [id, at] = [randomUUID(), Date.now()];
    await pair.onEach(({ server }) =>
      server.store.db.query('insert into server_runs (id, alive_at, found_dead_at) values ($1, $2, $3)', [
        id,
        at,
        at + 15_000,
      ]),
    );
  },
};

/** As it was before any story. */
export async function restored({ pair, holder, person }: Situation): Promise<void> {
  const { roles, emailVerified, name, ...names } = { givenName: '', familyName: '', ...persons[person] };
  await pair.onEach(async (side) => {
    const { accounts, clients, db } = side.server.store;
    const id = side.accounts[person];
    await accounts.setDisabled(id, false, 'test');
    await accounts.setRoles(id, [...roles], 'test');
    await accounts.setEmailVerified(id, emailVerified, 'test');
    await accounts.setNames(id, { name, ...names }, 'test');
    await clients.setDisabled(holder.clientId, false, 'test');
    await db.query('delete from server_runs where found_dead_at is not null');
    // Whoever comes back with such a session signs in anew.
    await db.query(
      `delete from oidc_models where model = 'Session' and (expires_at = 1 or account_id = 'somebody else')`,
    );
  });
}
