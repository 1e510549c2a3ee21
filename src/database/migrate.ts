// Brings the schema to the version of this code. Migrations are numbered, forward only and frozen: what was applied
// anywhere is never edited, so the same number means the same tables everywhere. What is pending is one transaction.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { AppError } from '../errors.ts';
import type { Database, Queryable } from './database.ts';
import { databaseMissing } from './open.ts';

interface Migrated {
  /** What this call applied; empty when there was nothing to do. */
  applied: number[];
  /** The version the database is at now. */
  version: number;
}

interface Migration {
  version: number;
  name: string;
  sql: string;
  checksum: string;
}

// Works from src/ and from the compiled dist/, where the build puts the same .sql files.
const shipped = fileURLToPath(new URL('./migrations/', import.meta.url));
// Any constant: it says "Signet migrates" to other replicas. On SQLite, `begin immediate` already lets only one in.
const advisoryLock = 5_741_203_118;

interface MigrateOptions {
  /** Whether a database without tables of ours gets them. Default true. */
  create?: boolean;
  directory?: string;
}

/**
 * Applies the pending migrations. Replicas may call it at the same moment: one works, the others find it done.
 * @throws {AppError} `database_too_new` | `migration_changed` | `database_missing`; the database is untouched then.
 */
export async function migrate(
  db: Database,
  { create = true, directory = shipped }: MigrateOptions = {},
): Promise<Migrated> {
  const known = await readMigrations(directory);
  const appliedAt = await db.now();
  return db.transaction(
    async (tx) => {
      if (db.engine === 'postgres') await tx.query('select pg_advisory_xact_lock($1)', [advisoryLock]);
      await tx.query(`create table if not exists schema_migrations (
      version bigint primary key, name text not null, checksum text not null, applied_at bigint not null)`);
      const done = await appliedVersions(tx, known);
      if (done.size === 0 && !create) throw databaseMissing('the database is empty: no server has used it');
      const pending = known.filter(({ version }) => !done.has(version));
      for (const { version, name, checksum, sql } of pending) {
        for (const statement of splitStatements(sql)) await tx.query(statement);
        await tx.query('insert into schema_migrations (version, name, checksum, applied_at) values ($1, $2, $3, $4)', [
          version,
          name,
          checksum,
          appliedAt,
        ]);
      }
      return { applied: pending.map(({ version }) => version), version: known.at(-1)?.version ?? 0 };
    },
    { slow: true },
  );
}

/** The versions already there, once it is certain that they are ours and unchanged. */
async function appliedVersions(tx: Queryable, known: Migration[]): Promise<Set<number>> {
  const { rows } = await tx.query<{ version: number; name: string; checksum: string }>(
    'select version, name, checksum from schema_migrations order by version',
  );
  const newest = known.at(-1)?.version ?? 0;
  for (const { version, name, checksum } of rows) {
    if (version > newest) {
      const versions = `the database is at version ${version}, this release knows ${newest}`;
      throw new AppError('database_too_new', 500, versions, {
        hint: 'Run the newer release, or restore the backup made before the upgrade.',
      });
    }
    if (known.find((migration) => migration.version === version)?.checksum === checksum) continue;
    throw new AppError('migration_changed', 500, `the tables of this database are of another making: ${name} differs`, {
      hint:
        'The database comes from an unreleased or modified Signet. Run the release that made it, or start with an ' +
        'empty database; a released Signet never changes a migration that it shipped.',
    });
  }
  return new Set(rows.map(({ version }) => version));
}

async function readMigrations(directory: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => /^\d{4}_\w+\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      // A checkout with CRLF line ends is the same migration.
      const sql = (await readFile(join(directory, name), 'utf8')).replaceAll('\r\n', '\n');
      return { version: Number(name.slice(0, 4)), name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

// In a migration a statement ends with a semicolon at the end of a line, and a comment has a line of its own.
function splitStatements(sql: string): string[] {
  const withoutComments = sql.replace(/^\s*--.*$/gm, '');
  const statements = withoutComments.split(/;[ \t]*$/m).map((statement) => statement.trim());
  return statements.filter((statement) => statement !== '');
}
