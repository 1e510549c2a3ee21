// What a failure of either engine means, in one table: whether it is the caller's news, whether the same may be tried
// again at once, whether the connection is still good, and what an operator reads. Drivers' errors go in, AppErrors
// come out.

import { AppError } from '../errors.ts';

interface Meaning {
  code: 'unique_violation' | 'database_busy' | 'database_unavailable';
  /** What happened, in words; the driver's own follow. */
  says: string;
  hint?: string;
  /** Nothing was done: the same statement may be sent again, on another connection. */
  undone?: true;
  /** It may be over in a moment: a restart, a fail-over, a network. */
  passing?: true;
  /** The connection, or the server at its other end, is not one to use again. */
  drop?: true;
  /** The connection is not to ourselves: statements must not be prepared under a name on it. */
  shared?: true;
}

/** A failure whose meaning is known. */
export class DatabaseFailure extends AppError {
  readonly meaning: Meaning;

  constructor(meaning: Meaning, message: string, cause: unknown) {
    super(meaning.code, meaning.code === 'unique_violation' ? 409 : 503, message, { cause, hint: meaning.hint });
    this.meaning = meaning;
  }
}

const unavailable = (says: string, hint: string, more: Omit<Meaning, 'code' | 'says' | 'hint'> = {}): Meaning => ({
  code: 'database_unavailable',
  says,
  hint,
  ...more,
});
const busy = (says: string, hint: string, more: Omit<Meaning, 'code' | 'says' | 'hint'> = {}): Meaning => ({
  code: 'database_busy',
  says,
  hint,
  ...more,
});

const isUnique: Meaning = { code: 'unique_violation', says: 'a row with this value already exists' };
const away = { passing: true, drop: true } as const;

const readOnlyServer = unavailable(
  'PostgreSQL takes no writes: it is a standby, or was made read-only',
  'Name the primary in the database URL, or all servers (postgres://user@one,two/database): the one that takes writes ' +
    'is found.',
  { ...away, undone: true },
);
const tlsRefused = unavailable(
  'PostgreSQL and Signet do not agree about TLS',
  'sslmode=verify-full in the database URL asks for TLS, sslmode=disable does without; sslrootcert=<file> names the ' +
    'certificate authority.',
);
const wrongLogin = unavailable(
  'PostgreSQL does not accept user and password',
  'Check user and password of the database URL. With a password file, only one line break at its end is removed.',
);
const outOfConnections = unavailable(
  'PostgreSQL is out of connections',
  'Raise max_connections there, put a pooler before it, or let each server hold fewer: pool_max_conns=5 in the ' +
    'database URL.',
  { passing: true },
);
const diskFull = (where: string) =>
  unavailable(
    `the disk of ${where} is full`,
    'Free space there. Nothing is lost, and nothing needs a restart: writes go on as soon as there is room.',
  );
const check = 'Check that the server runs and that host and port of the database URL are right.';

/** By SQLSTATE, the longest prefix first: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const sqlStates: Record<string, Meaning> = {
  23505: isUnique,
  40001: busy('other requests kept changing the same rows', 'Try again.'),
  '40P01': busy('other requests kept changing the same rows', 'Try again.'),
  '55P03': busy('another session holds a lock on the same rows', 'Try again; pg_locks tells who holds it.'),
  55006: busy('another session uses the same object', 'Try again.'),
  57014: busy(
    'a statement took longer than statement_timeout allows and was cancelled',
    'Look for locks and for a slow disk at the database; statement_timeout (milliseconds) in the database URL sets ' +
      'the limit.',
  ),
  25006: readOnlyServer,
  '25P03': unavailable('PostgreSQL ended a transaction that was idle', 'Try again.', away),
  // Prepared on another server connection than this one: a pooler stands between, whatever it said of itself.
  '42P05': unavailable('a pooler mixes prepared statements', 'Try again.', { ...away, undone: true, shared: true }),
  26000: unavailable('a pooler mixes prepared statements', 'Try again.', { ...away, undone: true, shared: true }),
  '3D000': unavailable(
    'the database does not exist',
    'Create it (createdb -O <user> <name>), or check the name at the end of the database URL.',
  ),
  28000: unavailable(
    'PostgreSQL does not let this user in from here',
    'The user may not exist there, or pg_hba.conf keeps it out: it decides by user, database, address and TLS. Where it ' +
      'says hostssl, the database URL needs sslmode=verify-full.',
  ),
  28: wrongLogin,
  42501: unavailable(
    'the user of the database URL may not do this',
    'Make it the owner of the database, or: grant create, usage on schema public to <user>.',
  ),
  53100: diskFull('PostgreSQL'),
  53200: unavailable('PostgreSQL is out of memory', 'Look at its log.', { passing: true }),
  53300: outOfConnections,
  53: unavailable('PostgreSQL is short of resources', 'Look at its log.', { passing: true }),
  58: unavailable('PostgreSQL cannot read or write its files', 'Look at its log and at its disk.'),
  XX001: unavailable('PostgreSQL found damaged data', 'Look at its log; restore a backup.'),
  XX002: unavailable('PostgreSQL found damaged data', 'Look at its log; restore a backup.'),
  '57P': unavailable('PostgreSQL is stopping, starting or was restarted', 'Wait a moment; then look at its log.', away),
  '57P03': unavailable('PostgreSQL is starting', 'Wait a moment; then look at its log.', { ...away, undone: true }),
  // PgBouncer's word for nearly everything.
  '08P01': unavailable(
    'the pooler before PostgreSQL refused',
    'Look at its log: the name of the database, auth_file, max_client_conn, ignore_startup_parameters.',
    away,
  ),
  '08': unavailable('the connection to PostgreSQL was lost', check, away),
};

/** By what the system or the driver says, where PostgreSQL itself said nothing. */
const transports: Array<[RegExp, Meaning]> = [
  [/SSL|TLS|certificate|CERT|SELF_SIGNED/i, tlsRefused],
  [/SASL|password must be a string/i, wrongLogin],
  [
    /^ENOTFOUND$/,
    unavailable('the host of the database URL is not known', 'Check its name, and DNS here.', { passing: true }),
  ],
  [/^(EACCES|EPERM)$/, unavailable('this process may not connect there', check)],
  [
    /^timeout exceeded when trying to connect$/,
    unavailable(
      'no connection became free in time',
      'All connections are in use: raise pool_max_conns in the database URL, or look for slow statements.',
    ),
  ],
  [/./, unavailable('PostgreSQL is not available', check, away)],
];

/** What became of a connection that answered nothing for longer than any statement may take. */
export function silence(afterMs: number): DatabaseFailure {
  const meaning = unavailable('PostgreSQL does not answer', check, away);
  return new DatabaseFailure(meaning, `${meaning.says}: nothing was heard for ${afterMs / 1000} s`, undefined);
}

/** A server that takes no writes, found out before anything was asked of it. */
export function readOnly(where: string): DatabaseFailure {
  return new DatabaseFailure(readOnlyServer, `${readOnlyServer.says} (${where})`, undefined);
}

/** `sqlState` where PostgreSQL, or what stands before it, answered with an error. What is our own fault stays as it is. */
export function ofPostgres(cause: unknown, sqlState: string | undefined, connecting: boolean): unknown {
  if (cause instanceof AppError) return cause;
  if (sqlState === undefined) {
    // An attempt at several addresses of one name fails with an AggregateError, which has a code and no message.
    const { message = '', code = '' } = cause as { message?: string; code?: string };
    const [, meaning] = transports.find(([words]) => words.test(code) || words.test(message))!;
    return new DatabaseFailure(meaning, `${meaning.says}: ${message || code}`, cause);
  }
  // As a mere ERROR this one is ours: the statement had the wrong number of values.
  if (sqlState === '08P01' && !connecting && (cause as { severity?: string }).severity !== 'FATAL') return cause;
  const prefix = [5, 3, 2].map((length) => sqlState.slice(0, length)).find((each) => Object.hasOwn(sqlStates, each));
  if (prefix === undefined) return cause;
  const meaning = sqlStates[prefix]!;
  const said = meaning === isUnique ? '' : `: ${(cause as Error).message}`;
  return new DatabaseFailure(meaning, meaning.says + said, cause);
}

const noBackup = 'Stop the server. Look at the disk and the system log, then restore a backup.';

/** By primary result code: https://www.sqlite.org/rescode.html */
const sqliteCodes: Record<number, Meaning> = {
  5: busy(
    'another process holds the database file',
    'Try again; if it stays, look for a long-running backup or command on the same file.',
  ),
  6: busy('another connection holds a table', 'Try again.'),
  8: unavailable(
    'the database file cannot be written',
    'Give it, and its directory, to the user that runs Signet, on a file system that is not mounted read-only.',
  ),
  10: unavailable('the disk of the database file fails, or is full', 'Look at its free space and at the system log.'),
  11: unavailable('the database file is damaged', noBackup),
  13: diskFull('the database file'),
  14: unavailable('the database file cannot be opened', 'Check that it is there, and who may read and write it.'),
  26: unavailable('the file is no SQLite database', 'Check database.url; another file may have taken its place.'),
};
// SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE
const sqliteUnique = [1555, 2067];

/** What node:sqlite threw; what has no result code of SQLite is our own fault, and stays as it is. */
export function ofSqlite(cause: unknown): unknown {
  const code = (cause as { errcode?: unknown }).errcode;
  if (typeof code !== 'number') return cause;
  if (sqliteUnique.includes(code)) return new DatabaseFailure(isUnique, isUnique.says, cause);
  const meaning = sqliteCodes[code & 0xff]; // the low byte of an extended code is the primary code
  return meaning ? new DatabaseFailure(meaning, `${meaning.says}: ${(cause as Error).message}`, cause) : cause;
}

const fileCodes: Record<string, Meaning> = {
  EROFS: unavailable('the file system is read-only', 'Mount it so that it can be written, or set database.url.'),
  EACCES: unavailable('this user may not write there', 'Give the directory to the user that runs Signet.'),
  EPERM: unavailable('this user may not write there', 'Give the directory to the user that runs Signet.'),
  ENOSPC: diskFull('the database file'),
  EDQUOT: diskFull('the database file'),
  ENOTDIR: unavailable('part of its path is a file', 'Check database.url.'),
  EEXIST: unavailable('part of its path is a file', 'Check database.url.'),
  EISDIR: unavailable('it is a directory', 'Name a file in database.url.'),
  EMFILE: unavailable('this process has too many files open', 'Raise the limit (ulimit -n).'),
};

/** What the file system said about `file`. */
export function ofFile(file: string, cause: unknown): DatabaseFailure {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  const meaning = fileCodes[code] ?? sqliteCodes[14]!;
  return new DatabaseFailure(
    meaning,
    `the database file ${file} cannot be used: ${fileCodes[code]?.says ?? message}`,
    cause,
  );
}

/** The file that was opened is not the one that has its name now: what is written would be gone at the next start. */
export function fileReplaced(file: string): DatabaseFailure {
  const meaning = unavailable(
    'replaced',
    'Stop the server; put the right file in its place, with its -wal file where ' +
      'it has one, and start again. If it was only moved, moving it back is enough.',
  );
  return new DatabaseFailure(
    meaning,
    `the database file ${file} was deleted, moved or replaced while it was in use`,
    undefined,
  );
}

/** Whether the database is away or overloaded, which `error`, or what caused it, says. */
export function databaseFailureIn(error: unknown): DatabaseFailure | undefined {
  for (let each = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth += 1) {
    if (each instanceof DatabaseFailure && each.status === 503) return each;
  }
  return undefined;
}
