// One portable SQL on two engines. Statements use $1 parameters, `text`, `bigint` (epoch milliseconds, read back as
// number), JSON as text, `insert … on conflict … do update` and `returning`. Invariants live in the statement, and
// rowCount says who won. SQLite: sqlite.ts. PostgreSQL: postgres.ts. Only this folder imports either driver.

export type Value = string | number | null;

export interface Result<Row> {
  rows: Row[];
  /** Rows returned, or rows changed where the statement returns none. */
  rowCount: number;
}

/** Where a statement can run: the database itself (a transaction of its own), or an open transaction. */
/** The row of a statement that always has one: what it asks for is written before it, or made by it. */
export function theRow<Row>({ rows: [row] }: Result<Row>): Row {
  if (row === undefined) throw new Error('a statement that always has a row had none');
  return row;
}

export interface Queryable {
  /** @throws {AppError} `unique_violation` (409), `database_busy` or `database_unavailable` (503). */
  query<Row = Record<string, Value>>(sql: string, values?: readonly Value[]): Promise<Result<Row>>;
}

/** Where a database stands: of two looks at one, the later never has less. */
export interface DatabasePosition {
  /** Which server and which database of it. */
  server: string;
  /** Counts promotions and recoveries. */
  timeline: number;
  /** The length of its write-ahead log, bytes. */
  log: number;
}

export interface Database extends Queryable {
  readonly engine: 'sqlite' | 'postgres';
  /**
   * Runs `work` in one transaction: committed when it resolves, rolled back when it rejects or when any of its
   * statements failed. Inside, everything goes through `tx`: not to be nested. PostgreSQL may run `work` again after a
   * deadlock, or after a connection was lost before the commit, so it does nothing that a rollback would not undo.
   * `slow`: for a migration, whose statements may take minutes.
   */
  transaction<T>(work: (tx: Queryable) => Promise<T>, options?: { slow?: boolean }): Promise<T>;
  /** The database's own clock, epoch milliseconds. */
  now(): Promise<number>;
  /**
   * Tells every process on this database that `channel` changed. (On SQLite any commit is the announcement.) Never
   * rejects: what it tells of is committed, and whoever misses it notices at the next poll.
   */
  announce(channel: string): Promise<void>;
  /**
   * Calls `listener` soon after any process announced `channel` (on SQLite: wrote anything), until the returned
   * function is called. A hint, never a guarantee: it may come twice or, after a lost connection, not at all, so
   * callers also poll.
   */
  listen(channel: string, listener: () => void): Promise<() => Promise<void>>;
  /**
   * Proves that a write works, by a small one; what is there and takes no writes is of no use to us.
   * @throws {AppError} as any statement
   */
  checkWrite(): Promise<void>;
  /** The process is about to end: what is still to be written is, but nobody waits any more for a server that is away. */
  hurry(): void;
  /** Undefined where there is no such thing (SQLite), or the database does not tell. */
  position(): Promise<DatabasePosition | undefined>;
  /** Ends within seconds, whether or not the other side answers. */
  close(): Promise<void>;
}
