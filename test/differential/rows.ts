// What two servers have stored, and what their audit trails say of the same requests.

import { vi } from 'vitest';
import type { Queryable } from '../../src/database/database.ts';
import { secret, type TestServer } from '../support/signet.ts';
import { clockTable } from './set-clock.ts';

export type Rows = Record<string, Array<Record<string, unknown>>>;

/** Not of the requests: of the server, its keys and its schema, or compared by request. */
const notCompared = new Set([
  'audit_events',
  'audit_head',
  'announcements',
  'database_mark',
  'jwks_consumers',
  'schema_migrations',
  'server_runs',
  'signing_keys',
  'sign_in_attempts',
  'status_lists',
  clockTable,
]);

/** A sign-in that somebody did not finish is nothing that a token request knows of. */
const withoutInteractions = ` where model <> 'Interaction'`;

export async function rowsIn(db: Queryable & { engine: string }): Promise<Rows> {
  const found: Rows = {};
  for (const table of await tablesIn(db)) {
    const { rows } = await db.query<Record<string, unknown>>(
      `select * from ${table}${table === 'oidc_models' ? withoutInteractions : ''}`,
    );
    found[table] = rows.map((row) => withoutPassword(row));
  }
  return found;
}

async function tablesIn(db: Queryable & { engine: string }): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    db.engine === 'sqlite'
      ? `select name from sqlite_master where type = 'table' and name not like 'sqlite%'`
      : `select table_name as name from information_schema.tables where table_schema = 'public'`,
  );
  return rows
    .map(({ name }) => name)
    .filter((name) => !notCompared.has(name))
    .sort();
}

/** Which for the first administrator is drawn. */
function withoutPassword(row: Record<string, unknown>): Record<string, unknown> {
  const { password_hash: _hash, ...rest } = row;
  return Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, plain(value)]));
}

// Moments in milliseconds are compared by the second: a server that knows the time from its database knows it within a few.
function plain(value: unknown): unknown {
  if (typeof value === 'number' && value > 1e12) return Math.floor(value / 1000);
  if (typeof value !== 'string' || !/^[[{]/.test(value)) return value;
  return JSON.parse(value, (_name, inner: unknown) => (typeof inner === 'number' ? plain(inner) : inner)) as unknown;
}

/** Forgets what token requests left, so that the next ones are compared alone; sessions go on. */
export async function sweptRows(db: Queryable & { engine: string }): Promise<void> {
  await db.query(`delete from oidc_models where model <> 'Session'`);
  const tables = await tablesIn(db);
  if (tables.includes('refresh_tokens')) await db.query('delete from refresh_tokens');
}

interface AuditRow {
  event: string;
  actor: string | null;
  subject: string | null;
  client_id: string | null;
  address: string | null;
  detail: string;
  request_id: string;
}

/** By request; once whatever these requests are to be remembered for is written. */
export async function auditOf(server: TestServer, requestIds: readonly string[]): Promise<Map<string, object[]>> {
  // What is written comes in rounds. A row that was asked for when another one was there belongs to a later round.
  for (let round = 0; round < 2; round += 1) await markAndWait(server);
  const of = new Map<string, object[]>();
  const step = 500;
  for (let at = 0; at < requestIds.length; at += step) {
    const some = requestIds.slice(at, at + step);
    const { rows } = await server.store.db.query<AuditRow>(
      `select event, actor, subject, client_id, address, detail, request_id from audit_events
       where request_id in (${some.map((_, index) => `$${index + 1}`).join(', ')}) order by at, id`,
      some,
    );
    for (const { request_id: id, detail, ...row } of rows) {
      of.set(id, [...(of.get(id) ?? []), { ...row, detail: JSON.parse(detail) as unknown }]);
    }
  }
  return of;
}

async function markAndWait({ url, store }: TestServer): Promise<void> {
  const answer = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`service:${secret}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  await answer.text();
  await vi.waitFor(
    async () => {
      const { rowCount } = await store.db.query('select 1 as is_there from audit_events where request_id = $1', [
        answer.headers.get('x-request-id'),
      ]);
      if (rowCount === 0) throw new Error('it is not written yet');
    },
    { timeout: 15_000, interval: 20 },
  );
}
