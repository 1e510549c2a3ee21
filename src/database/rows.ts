// Many rows in one statement: inserted in batches, and deleted some at a time (sweep.ts says when).

import type { Queryable, Value } from './database.ts';

const rowsAtMost = 256;

interface Insert<Column extends string> {
  into: string;
  columns: readonly Column[];
  onConflict: string;
}

/** Powers of two: a statement per number of rows would be hundreds for each connection to prepare and keep. */
export function inBatches<Row>(rows: readonly Row[], atMost = rowsAtMost): Row[][] {
  const batches: Row[][] = [];
  for (let at = 0; at < rows.length; ) {
    const count = Math.min(atMost, 2 ** Math.floor(Math.log2(rows.length - at)));
    batches.push(rows.slice(at, at + count));
    at += count;
  }
  return batches;
}

/** Inserts one batch (`inBatches`). */
export async function insertBatch<Column extends string>(
  db: Queryable,
  { into, columns, onConflict }: Insert<Column>,
  batch: ReadonlyArray<Readonly<Record<Column, Value>>>,
): Promise<void> {
  const tuple = (_row: unknown, row: number) =>
    `(${columns.map((_column, at) => `$${row * columns.length + at + 1}`).join(', ')})`;
  await db.query(
    `insert into ${into} (${columns.join(', ')}) values ${batch.map(tuple).join(', ')} on conflict ${onConflict}`,
    batch.flatMap((row) => columns.map((column) => row[column])),
  );
}

interface Old {
  from: string;
  /** The primary key. */
  key: string;
  /** Epoch milliseconds: the lowest go first. */
  by?: string;
  /** Which rows may go, in terms of the values. */
  where?: string;
}

/** Deletes at most `limit` rows that expired before a moment, or whose time is over otherwise; answers how many. */
export async function deleteOldest(
  db: Queryable,
  { from, key, by = 'expires_at', where = `${by} <= $1` }: Old,
  values: readonly Value[],
  limit: number,
): Promise<number> {
  const { rowCount } = await db.query(
    `delete from ${from} where (${key}) in
       (select ${key} from ${from} where ${where} order by ${by} limit $${values.length + 1})`,
    [...values, limit],
  );
  return rowCount;
}
