// The database engines a test can run on: `describe.each(engines)('… on $name', ({ freshUrl }) => …)`.

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';

import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { createDatabase } from './postgres.ts';

export interface Engine {
  name: 'sqlite' | 'postgres';
  /** The URL of an empty database of its own, gone when the run ends. */
  freshUrl(): Promise<string>;
  /** Such a database with all our tables, open: to be closed by whoever asked. */
  freshDatabase(): Promise<Database>;
}

export const sqlite = engine(
  'sqlite',
  async () => `sqlite:${join(mkdtempSync(join(setting('SIGNET_TEST_DIRECTORY'), 'sqlite-')), 'signet.db')}`,
);

export const postgres = engine(
  'postgres',
  async () => createDatabase(await sharedPostgres('/')),
  async () => createDatabase(await sharedPostgres('/'), await sharedPostgres('/template')),
);

/** The URL of the server that all test files share, or of its database with all our tables. */
async function sharedPostgres(path: '/' | '/template'): Promise<string> {
  const answer = await fetch(new URL(path, setting('SIGNET_TEST_POSTGRES')));
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}

/** Both; only SQLite where `npm test` could not get PostgreSQL, which it says, and which fails on CI. */
export const engines: Engine[] = process.env.SIGNET_TEST_NO_POSTGRES ? [sqlite] : [sqlite, postgres];

function engine(name: Engine['name'], freshUrl: Engine['freshUrl'], migratedUrl = freshUrl): Engine {
  return {
    name,
    freshUrl,
    async freshDatabase() {
      const db = await openDatabase(await migratedUrl());
      await migrate(db);
      return db;
    },
  };
}

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests with vitest, whose global setup sets it`);
  return value;
}
