// What expires goes by itself, while the server serves: every table that has rows which expire, in the real server.

import { Agent } from 'undici';
import { describe, expect, test, vi } from 'vitest';
import { startEntraSim } from '../../entra-sim/index.ts';
import type { Database } from '../../src/database/database.ts';
import { engines, sqlite } from '../support/engines.ts';
import { startSignet } from '../support/signet.ts';

const day = 86_400_000;

/** For each table a row that is named so, and whose time is `at`. */
const rows: Record<string, (name: string, at: number) => Record<string, string | number | null>> = {
  oidc_models: (id, at) => ({ model: 'Interaction', id, payload: '{}', expires_at: at }),
  refresh_tokens: (id, at) => ({
    id,
    current_digest: '',
    grant_id: '',
    account_id: '',
    payload: '{}',
    expires_at: at,
  }),
  upstream_sessions: (id, at) => ({
    id,
    method: 'entra',
    external_id: id,
    account_id: id,
    checked_at: at,
    expires_at: at,
  }),
  revoked_statuses: (name, at) => ({
    list: 1,
    idx: name === 'over' ? 1 : 2,
    grant_id: name,
    revoked_at: at,
    expires_at: at,
  }),
  sign_in_attempts: (key, at) => ({ key, failures: 1, blocked_until: 0, expires_at: at }),
  entra_states: (id, at) => ({ id, browser: '', begun: '', expires_at: at }),
  // These go some time after what they say: what was last seen, written or filled so long ago.
  jwks_consumers: (name, at) => ({
    kind: 'named',
    name,
    address: '',
    first_seen_at: at,
    last_seen_at: at,
    fetches: 2,
    newest_prepared_at: 0,
  }),
  audit_events: (name, at) => ({
    id: at.toString(16).padStart(12, '0') + name,
    at,
    event: 'token.issued',
    detail: '{}',
  }),
  status_lists: (name, at) => ({ list: name === 'over' ? 8 : 9, seed: name, next: 0, filled_at: at }),
};

const isOver = Date.now() - 3650 * day;
const isNotOver = Date.now() + day;

async function insert(db: Database, table: string, row: Record<string, string | number | null>): Promise<void> {
  const columns = Object.keys(row);
  const places = columns.map((_column, at) => `$${at + 1}`);
  await db.query(`insert into ${table} (${columns.join(', ')}) values (${places.join(', ')})`, Object.values(row));
}

/** How many rows of the test are there: those that are over, those that are not. */
async function counted(db: Database, table: string): Promise<[over: number, notOver: number]> {
  const ofTest = async (name: string, at: number) => {
    const known = Object.entries(rows[table]!(name, at)).filter(([, value]) => value !== null);
    const conditions = known.map(([column], place) => `${column} = $${place + 1}`);
    const { rows: found } = await db.query(
      `select 1 from ${table} where ${conditions.join(' and ')}`,
      known.map(([, value]) => value),
    );
    return found.length;
  };
  return [await ofTest('over', isOver), await ofTest('not over', isNotOver)];
}

test('every table whose rows say when they expire is one of these', async () => {
  const db = await sqlite.freshDatabase();
  const { rows: expiring } = await db.query<{ name: string }>(
    `select t.name from sqlite_master t, pragma_table_info(t.name) c where t.type = 'table' and c.name = 'expires_at'`,
  );
  await db.close();
  expect(expiring.length).toBeGreaterThan(4);
  expect(Object.keys(rows)).toEqual(expect.arrayContaining(expiring.map(({ name }) => name)));
});

describe.each(engines)('a server that runs, on $name', ({ freshUrl }) => {
  test('deletes what has expired in every table, and nothing else', async () => {
    const sim = await startEntraSim();
    const { id: tenant } = sim.app.home;
    const server = await startSignet({
      database: await freshUrl(),
      values: { entra: { tenant, clientId: sim.app.clientId, clientSecret: sim.app.secret } },
      parts: { dispatcher: new Agent({ connect: sim.connector() }), sweepEveryMs: 20 },
    });
    const { db } = server.store;
    for (const [table, row] of Object.entries(rows)) {
      await insert(db, table, row('over', isOver));
      await insert(db, table, row('not over', isNotOver));
    }
    const all = Object.fromEntries(Object.keys(rows).map((table) => [table, [0, 1]]));
    await vi.waitFor(
      async () => {
        const now: typeof all = {};
        for (const table of Object.keys(rows)) now[table] = await counted(db, table);
        expect(now).toEqual(all);
      },
      { timeout: 20_000, interval: 20 },
    );

    await server.close();
    await sim.close();
  });
});
