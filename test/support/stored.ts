// Time travel and a look underneath: what the server has stored, found and changed by the credential it belongs to.

import { hash } from 'node:crypto';
import { vi } from 'vitest';
import type { Queryable } from '../../src/database/database.ts';
import { decode } from './user-agent.ts';

type Model = 'AuthorizationCode' | 'RefreshToken';

/** The key of a credential's row: a refresh token is stored by the handle inside the JWT. */
export function storedId(credential: string): string {
  const handle = credential.includes('.') ? String(decode(credential).payload.jti) : credential;
  return hash('sha256', handle, 'base64url');
}

/** Lets a stored credential expire a minute ago. */
export async function expire(db: Queryable, model: Model, credential: string): Promise<void> {
  const id = storedId(credential);
  const {
    rows: [row],
  } = await db.query<{ payload: string }>('select payload from oidc_models where model = $1 and id = $2', [model, id]);
  const payload = { ...JSON.parse(row!.payload), exp: Math.floor(Date.now() / 1000) - 60 };
  await db.query('update oidc_models set payload = $3, expires_at = $4 where model = $1 and id = $2', [
    model,
    id,
    JSON.stringify(payload),
    payload.exp * 1000,
  ]);
}

/** Moves the exchange of a refresh token `seconds` into the past. */
export async function ageRotation(db: Queryable, refreshToken: string, seconds: number): Promise<void> {
  const { rowCount } = await db.query('update oidc_models set rotated_at = rotated_at - $2 where rotated_from = $1', [
    storedId(refreshToken),
    seconds * 1000,
  ]);
  if (rowCount !== 1) throw new Error('this refresh token was not exchanged');
}

export async function successorsOf(db: Queryable, refreshToken: string): Promise<number> {
  return (await db.query('select id from oidc_models where rotated_from = $1', [storedId(refreshToken)])).rowCount;
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
