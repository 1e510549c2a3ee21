// The hash chain of the audit trail: each row's hash covers the hash before it, so a row that was changed, removed or
// moved is found. What is written, and when, is audit.ts.

import { createHash } from 'node:crypto';
import { type Database, type Queryable, theRow, type Value } from '../database/database.ts';
import type { AuditEventName } from './events.ts';

/** As the database has it. */
export interface EventRow {
  id: string;
  at: number;
  event: AuditEventName;
  actor: string | null;
  subject: string | null;
  client_id: string | null;
  request_id: string | null;
  address: string | null;
  detail: string;
}

interface ChainedRow extends EventRow {
  seq: number;
  previous_hash: string;
  hash: string;
}

export type ChainVerdict =
  /** `head` is the last row's hash. Noted elsewhere, it also betrays somebody who rewrote the whole chain. */
  | { ok: true; checked: number; head: string }
  | { ok: false; seq: number; problem: 'changed' | 'removed' | 'reordered' | 'added' };

export const eventColumns = [
  'id',
  'at',
  'event',
  'actor',
  'subject',
  'client_id',
  'request_id',
  'address',
  'detail',
] as const;
const pageRows = 500;

/** Appends a row, in the given transaction. */
export async function appendToChain(tx: Queryable, row: EventRow): Promise<void> {
  // Whoever holds this row appends; the next one waits for the commit, so the chain never forks.
  const { seq, hash: previous } = theRow(
    await tx.query<{ seq: number; hash: string }>(
      'update audit_head set seq = seq + 1 where id = 1 returning seq, hash',
    ),
  );
  const hash = hashOf(row, seq, previous);
  await tx.query(
    `insert into audit_events (${eventColumns.join(', ')}, seq, previous_hash, hash)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [...eventValues(row), seq, previous, hash],
  );
  await tx.query('update audit_head set hash = $1 where id = 1', [hash]);
}

/** Walks the whole chain and stops at the first row that is not as it was written. */
export async function verifyChain(db: Database): Promise<ChainVerdict> {
  let last = { seq: 0, hash: '' };
  for (;;) {
    const page = await chainAfter(db, last.seq);
    for (const row of page) {
      if (row.seq !== last.seq + 1) return { ok: false, seq: last.seq + 1, problem: 'removed' };
      if (row.hash !== hashOf(row, row.seq, row.previous_hash)) {
        return { ok: false, seq: row.seq, problem: await whatHappenedTo(db, row) };
      }
      // This row is as it was written, so the one before it is not: it was rewritten together with its own hash.
      if (row.previous_hash !== last.hash) return { ok: false, seq: Math.max(last.seq, 1), problem: 'changed' };
      last = row;
    }
    if (page.length > 0) continue;

    const end = await headOfChain(db);
    if (end.seq < last.seq) return { ok: false, seq: end.seq + 1, problem: 'added' };
    if (end.seq > last.seq) {
      // Either somebody appended since the last page was read, or the end was cut off.
      if ((await chainAfter(db, last.seq)).length > 0) continue;
      return { ok: false, seq: last.seq + 1, problem: 'removed' };
    }
    if (end.hash !== last.hash) return { ok: false, seq: last.seq, problem: 'changed' };
    return { ok: true, checked: last.seq, head: last.hash };
  }
}

// The hash covers the place, so a row that was only moved still tells where it belongs.
async function whatHappenedTo(db: Database, row: ChainedRow): Promise<'changed' | 'removed' | 'reordered'> {
  const { seq: end } = await headOfChain(db);
  const belongsAt = (candidate: ChainedRow, place: number) =>
    hashOf(candidate, place, candidate.previous_hash) === candidate.hash;
  let place = 1;
  while (place <= end && !belongsAt(row, place)) place += 1;
  if (place > end) return 'changed';

  // Moved here: by an exchange with the row that belongs here, or to close the gap which that row left.
  let last: ChainedRow | undefined = row;
  while (last) {
    const page: ChainedRow[] = await chainAfter(db, last.seq);
    if (page.some((candidate) => belongsAt(candidate, row.seq))) return 'reordered';
    last = page.at(-1);
  }
  return 'removed';
}

async function chainAfter(db: Database, seq: number): Promise<ChainedRow[]> {
  const { rows } = await db.query<ChainedRow>(
    `select ${eventColumns.join(', ')}, seq, previous_hash, hash from audit_events
     where seq > $1 order by seq limit ${pageRows}`,
    [seq],
  );
  return rows;
}

async function headOfChain(db: Database): Promise<{ seq: number; hash: string }> {
  const { rows } = await db.query<{ seq: number; hash: string }>('select seq, hash from audit_head where id = 1');
  return rows[0] ?? { seq: 0, hash: '' };
}

function hashOf(row: EventRow, seq: number, previous: string): string {
  // An array of eventColumns in a fixed order has one JSON form; `detail` goes in as the text that is stored.
  return createHash('sha256')
    .update(JSON.stringify([previous, seq, ...eventValues(row)]))
    .digest('base64url');
}

function eventValues(row: EventRow): Value[] {
  return eventColumns.map((column) => row[column]);
}
