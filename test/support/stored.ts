// Time travel and a look underneath: what the server has stored, found and changed by the credential it belongs to.

import { vi } from 'vitest';
import type { Queryable } from '../../src/database/database.ts';
import { chainOf, digestOf } from '../../src/grants/refresh-handle.ts';
import { decode } from './user-agent.ts';

/** What a refresh token carries; an opaque one is it. */
export function handleOf(refreshToken: string): string {
  return refreshToken.includes('.') ? String(decode(refreshToken).payload.jti) : refreshToken;
}

/** As what a credential is stored: a refresh token by the handle inside the JWT. */
export const storedId = (credential: string): string => digestOf(handleOf(credential));

/** Lets a stored credential expire a minute ago. */
export async function expire(
  db: Queryable,
  model: 'AuthorizationCode' | 'RefreshToken',
  credential: string,
): Promise<void> {
  const [table, id] =
    model === 'RefreshToken'
      ? ['refresh_tokens', chainOf(handleOf(credential))]
      : ['oidc_models', storedId(credential)];
  const {
    rows: [row],
  } = await db.query<{ payload: string }>(`select payload from ${table} where id = $1`, [id]);
  const payload = { ...JSON.parse(row!.payload), exp: Math.floor(Date.now() / 1000) - 60 };
  await db.query(`update ${table} set payload = $2, expires_at = $3 where id = $1`, [
    id,
    JSON.stringify(payload),
    payload.exp * 1000,
  ]);
}

/** Moves the exchange of a refresh token `seconds` into the past. */
export async function ageRotation(db: Queryable, refreshToken: string, seconds: number): Promise<void> {
  const { rowCount } = await db.query(
    'update refresh_tokens set rotated_at = rotated_at - $2 where previous_digest = $1',
    [storedId(refreshToken), seconds * 1000],
  );
  if (rowCount !== 1) throw new Error('this refresh token was not the last one that was exchanged');
}

/** How often a chain of refreshes turned. */
export async function rotationsOf(db: Queryable, refreshToken: string): Promise<number> {
  const { rows } = await db.query<{ payload: string }>('select payload from refresh_tokens where id = $1', [
    chainOf(handleOf(refreshToken)),
  ]);
  return (JSON.parse(rows[0]!.payload) as { rotations: number }).rotations;
}

/** Empties these tables, and begins the audit trail anew. */
export async function startAnew(db: Queryable, ...tables: string[]): Promise<void> {
  for (const table of [...tables, 'audit_events']) await db.query(`delete from ${table}`);
  await db.query(`update audit_head set seq = 0, hash = ''`);
}

/** Every value of every row of every table, as one text. */
export async function everythingIn(db: Queryable): Promise<string> {
  const tables = [
    'oidc_models',
    'refresh_tokens',
    'clients',
    'accounts',
    'audit_events',
    'sign_in_attempts',
    'signing_keys',
    'consents',
    'jwks_consumers',
  ];
  const rows = await Promise.all(tables.map(async (table) => (await db.query(`select * from ${table}`)).rows));
  return JSON.stringify(rows.flat());
}

/** What the audit trail says of these answers' requests, once it has something to say about each of them. */
export async function auditedAs(db: Queryable, answers: Array<{ headers: Headers }>): Promise<string[]> {
  const ids = answers.map(({ headers }) => headers.get('x-request-id'));
  const places = ids.map((_id, index) => `$${index + 1}`).join(', ');
  return vi.waitFor(
    async () => {
      const { rows } = await db.query<{ event: string; request_id: string }>(
        `select event, request_id from audit_events where request_id in (${places}) order by event`,
        ids,
      );
      if (new Set(rows.map((row) => row.request_id)).size < new Set(ids).size)
        throw new Error('not all are written yet');
      return rows.map(({ event }) => event);
    },
    { timeout: 5_000 },
  );
}
