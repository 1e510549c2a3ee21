// The database engines a test can run on: `describe.each(engines)('… on $name', ({ freshUrl }) => …)`.

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';

import { createDatabase } from './postgres.ts';

export interface Engine {
  name: 'sqlite' | 'postgres';
  /** The URL of an empty database of its own, gone when the run ends. */
  freshUrl(): Promise<string>;
}

export const sqlite: Engine = {
  name: 'sqlite',
  freshUrl: async () => `sqlite:${join(mkdtempSync(join(setting('SIGNET_TEST_DIRECTORY'), 'sqlite-')), 'signet.db')}`,
};

export const postgres: Engine = {
  name: 'postgres',
  async freshUrl() {
    const answer = await fetch(setting('SIGNET_TEST_POSTGRES'));
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return createDatabase(text);
  },
};

/** Both; only SQLite where `npm test` could not get PostgreSQL, which it says, and which fails on CI. */
export const engines: Engine[] = process.env.SIGNET_TEST_NO_POSTGRES ? [sqlite] : [sqlite, postgres];

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests with vitest, whose global setup sets it`);
  return value;
}
