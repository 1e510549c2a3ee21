// Chooses the engine by the scheme of the URL. A driver is loaded only when chosen: SQLite starts without `pg`.

import { AppError } from '../errors.ts';
import type { Database } from './database.ts';

/**
 * Opens `sqlite:data/signet.db` (relative to the working directory, or absolute), `postgres://…` or `postgresql://…`.
 * @throws {AppError} `database_url` for any other form, `database_unavailable` when nothing answers there.
 */
export async function openDatabase(url: string): Promise<Database> {
  const [, scheme, rest] = /^([a-z]+):(.*)$/s.exec(url) ?? [];
  if (scheme === 'sqlite' && rest && !rest.startsWith('//')) {
    const { openSqlite } = await import('./sqlite.ts');
    return openSqlite(rest);
  }
  if ((scheme === 'postgres' || scheme === 'postgresql') && rest?.startsWith('//') && URL.canParse(url)) {
    const { openPostgres } = await import('./postgres.ts');
    return openPostgres(url);
  }
  // The URL itself stays out of the message: it may carry a password.
  throw new AppError('database_url', 500, 'the database URL has none of the accepted forms', {
    hint: 'Write sqlite:path/to/file.db, postgres://user:password@host:5432/name or postgresql://…',
  });
}
