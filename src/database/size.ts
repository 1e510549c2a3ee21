// How large the database is: a figure that both engines have ready, so that asking costs nothing however much is in it.

import type { Database } from './database.ts';

const queries = {
  sqlite: `select page_count * page_size as bytes from pragma_page_count(), pragma_page_size()`,
  postgres: 'select pg_database_size(current_database()) as bytes',
};

/** Bytes, indexes and what is free for new rows included. */
export async function databaseBytes(db: Pick<Database, 'engine' | 'query'>): Promise<number> {
  const { rows } = await db.query<{ bytes: number }>(queries[db.engine]);
  return Number(rows[0]?.bytes);
}
