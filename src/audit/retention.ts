// The retention of activity: for how long everyday events are kept, and how those whose time is over are found. Of two
// kinds: tokens issued, which are most rows by far, and all others. What is chained is kept for ever.

import type { Queryable } from '../database/database.ts';
import type { AuditEventName } from './events.ts';
import { firstRowId } from './row-ids.ts';

export interface Retention {
  /** Seconds that activity is kept. Default 90 days. */
  activity?: number;
  /** Seconds that events of tokens issued are kept; never longer than activity. Default 7 days. */
  tokens?: number;
}

export const frequentEvents: readonly AuditEventName[] = ['token.issued', 'token.issued_again'];
const day = 86_400;

/** Deletes what is over, some rows at a time; answers `limit` while there may be more. */
export function createRetention(
  db: Queryable,
  { activity = 90 * day, tokens = 7 * day }: Retention,
): (now: number, limit: number) => Promise<number> {
  const names = frequentEvents.map((name) => `'${name}'`).join(', ');
  const walks = [
    createWalk(db, activity, 'seq is null'),
    createWalk(db, Math.min(tokens, activity), `seq is null and event in (${names})`),
  ];
  return async (now, limit) => {
    const counts: number[] = [];
    for (const walk of walks) counts.push(await walk(now, limit));
    return counts.includes(limit) ? limit : counts.reduce((sum, count) => sum + count, 0);
  };
}

// What stays lies among what goes: a search from the start would pass by all of it for each batch. So each batch goes on
// where the last one ended, and looks at no more rows than it may delete. Nothing is added behind it: rows are written
// seconds after their time, and go days after it. What was there already is passed once by each process.
function createWalk(db: Queryable, keepSeconds: number, goes: string): (now: number, limit: number) => Promise<number> {
  let passed = '';
  return async (now, limit) => {
    const { rows } = await db.query<{ id: string }>(
      'select id from audit_events where id > $1 and id < $2 order by id limit $3',
      [passed, firstRowId(now - keepSeconds * 1000), limit],
    );
    const last = rows.at(-1);
    if (!last) return 0;
    const { rowCount } = await db.query(`delete from audit_events where id > $1 and id <= $2 and ${goes}`, [
      passed,
      last.id,
    ]);
    passed = last.id;
    return rows.length < limit ? Math.min(rowCount, limit - 1) : limit;
  };
}
