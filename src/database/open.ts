// Chooses the engine by the scheme of the URL. A driver is loaded only when chosen: SQLite starts without `pg`.

import { existsSync } from 'node:fs';

import { AppError } from '../errors.ts';
import type { Database } from './database.ts';

interface OpenOptions {
  /** Whether a database that is not there may be made. Default true. */
  create?: boolean;
}

/**
 * Opens `sqlite:data/signet.db` (relative to the working directory, or absolute), `postgres://…` or `postgresql://…`.
 * @throws {AppError} `database_url` for any other form, `database_unavailable` when nothing answers there,
 *   `database_missing` where there is no file and none is to be made.
 */
export async function openDatabase(url: string, { create = true }: OpenOptions = {}): Promise<Database> {
  const [, scheme, rest] = /^([a-z]+):(.*)$/s.exec(url) ?? [];
  if (scheme === 'sqlite' && rest && !rest.startsWith('//')) {
    if (!create && !existsSync(rest)) throw databaseMissing(`there is no database file ${rest}`);
    const { openSqlite } = await import('./sqlite.ts');
    return openSqlite(rest);
  }
  if ((scheme === 'postgres' || scheme === 'postgresql') && rest?.startsWith('//')) {
    const { openPostgres } = await import('./postgres.ts');
    return openPostgres(url);
  }
  // The URL itself stays out of the message: it may carry a password.
  throw new AppError('database_url', 500, 'the database URL has none of the accepted forms', {
    hint: 'Write sqlite:path/to/file.db, postgres://user:password@host:5432/name or postgresql://…',
  });
}

/** For whoever looked in the wrong place, most likely. */
export function databaseMissing(message: string): AppError {
  return new AppError('database_missing', 503, message, {
    hint: 'Run this where the server runs, or with its --config; the first "signet serve" makes the database.',
  });
}
