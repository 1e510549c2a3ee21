// What a sign-in through Microsoft costs, counted where the driver is asked. The audit trail is written behind the
// requests and does not count, nor does what runs by the clock.

import { DatabaseSync, StatementSync } from 'node:sqlite';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { engines, postgres } from '../support/engines.ts';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { asClient, redemption, tokenRequest } from '../support/user-agent.ts';

let world: EntraWorld;
const statements: string[] = [];
beforeAll(async () => {
  for (const method of ['all', 'run', 'get'] as const) {
    const original = StatementSync.prototype[method] as (...values: unknown[]) => unknown;
    const spy = vi.spyOn(StatementSync.prototype, method);
    spy.mockImplementation(function count(this: StatementSync, ...values: unknown[]) {
      statements.push(this.sourceSQL);
      return original.apply(this, values);
    } as never);
  }
  const exec = DatabaseSync.prototype.exec;
  vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function count(this: DatabaseSync, sql: string) {
    statements.push(sql);
    return exec.call(this, sql);
  });
  const query = pg.Client.prototype.query as (...values: unknown[]) => unknown;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function count(this: pg.Client, ...values: unknown[]) {
    statements.push(typeof values[0] === 'string' ? values[0] : (values[0] as { text: string }).text);
    return query.apply(this, values);
  } as never);
  world = await startEntraWorld({ entra: { roles: { appRoles: { Reader: ['reader'] } } } });
});
afterAll(async () => {
  await world.close();
  vi.restoreAllMocks();
});

/** By the clock, or behind the request. */
const elsewhere = new RegExp(
  [
    'pragma',
    'audit_events',
    'audit_head',
    'signing_keys',
    'jwks_consumers',
    'revoked_statuses',
    'status_lists',
    'entra_key_refreshes',
    'backchannel_logouts',
    'from clients order by',
    'server_runs',
    'clock_timestamp',
    'database_mark',
    'announcements',
  ].join('|'),
);
// Around what is written together, and on SQLite around whatever is written in one turn of the event loop.
const frame = /^(begin|commit)/;
const counted = () => statements.filter((sql) => !elsewhere.test(sql) && !frame.test(sql)).length;
const frames = () => statements.filter((sql) => frame.test(sql)).length;

/** From the application's request to its tokens. */
async function signIn(world: EntraWorld, whom: string) {
  statements.length = 0;
  const { agent, page, request } = await world.arrive();
  const left = await agent.visit(buttonOn(page));
  const back = await world.passMicrosoft(agent, left.url, whom);
  const code = new URL(back.url).searchParams.get('code')!;
  const untilCode = counted();
  const { body } = await tokenRequest(world.server.issuer, redemption(request, code), asClient('spa'));
  // Each JWT is one signature; nothing else is signed on the way.
  const signed = ['access_token', 'id_token', 'refresh_token'].filter((name) => body[name].split('.').length === 3);
  return { statements: counted(), frames: frames(), untilCode, signed };
}

/**
 * The first sign-in and a later one, of the cheapest of two people: on a busy machine something that the clock runs
 * can fall into one, and can only add to it.
 */
async function signIns(world: EntraWorld) {
  const seen = [];
  for (const whom of ['alice', 'bob']) seen.push([await signIn(world, whom), await signIn(world, whom)] as const);
  const least = (costs: Awaited<ReturnType<typeof signIn>>[]) =>
    costs.reduce((one, other) => (other.statements < one.statements ? other : one));
  return [least(seen.map(([first]) => first)), least(seen.map(([, later]) => later))] as const;
}

test('a sign-in through Microsoft, from request to tokens: 24 statements, the first one and every later', async () => {
  const [first, later] = await signIns(world);
  expect([first, later].map(({ untilCode }) => untilCode)).toEqual([21, 21]);
  expect([first, later].map((cost) => cost.statements)).toEqual([24, 24]);
});

test.skipIf(!engines.includes(postgres))(
  'on PostgreSQL as well, where only the first one has a transaction',
  async () => {
    const there = await startEntraWorld({ sim: world.sim, database: await postgres.freshUrl() });
    const [first, later] = await signIns(there);
    expect([first, later].map((cost) => cost.statements)).toEqual([24, 24]);
    expect([first, later].map((cost) => cost.frames)).toEqual([2, 0]);
    await there.close();
  },
);

test('and one signature for each token: two, and a third where refresh tokens are signed as well', async () => {
  expect((await signIn(world, 'alice')).signed).toEqual(['access_token', 'id_token', 'refresh_token']);
  const opaque = await startEntraWorld({ sim: world.sim, values: { tokens: { refreshTokenFormat: 'opaque' } } });
  expect((await signIn(opaque, 'alice')).signed).toEqual(['access_token', 'id_token']);
  await opaque.close();
});
