// Once per run: a temporary directory for the databases, and the one PostgreSQL server that all test files share. It
// starts when the first test asks for it, so a run that needs none does not wait for one. Beside it there is a template
// with all our tables, since PostgreSQL copies a database sooner than it runs our migrations.

import { existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import type { PostgresServer } from './postgres.ts';
import { startPostgres } from './postgres.ts';
import { onProcessEnd } from './process-end.ts';

// The memory of this machine, where it has a file system in it: a database of a test need not survive a power cut.
const memory = '/dev/shm';
const memoryNeeded = 2 ** 31;

export default async function setup(): Promise<() => Promise<void>> {
  if (process.env.SIGNET_TEST_DIRECTORY) return async () => {}; // each project asks, and the first one has it done
  let postgres: Promise<PostgresServer> | undefined;
  let template: Promise<string> | undefined;
  const door = createServer(({ url: path }, response) => {
    postgres ??= startPostgres();
    const asked = path === '/template' ? (template ??= postgres.then(makeTemplate)) : postgres.then(({ url }) => url);
    asked.then(
      (answer) => response.end(answer),
      (error: Error) => response.writeHead(500).end(error.message),
    );
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const directory = mkdtempSync(join(inMemory() ? memory : tmpdir(), 'signet-test-'));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  const forget = onProcessEnd(remove);
  process.env.SIGNET_TEST_DIRECTORY = directory;
  process.env.SIGNET_TEST_POSTGRES = `http://127.0.0.1:${(door.address() as AddressInfo).port}/`;

  return async () => {
    door.closeAllConnections();
    door.close();
    const server = await postgres?.catch(() => undefined); // the tests have reported why it did not start
    await server?.stop();
    forget();
    remove();
    delete process.env.SIGNET_TEST_DIRECTORY;
  };
}

/** Its URL. */
async function makeTemplate(postgres: PostgresServer): Promise<string> {
  const url = await postgres.createDatabase();
  const db = await openDatabase(url);
  await migrate(db).finally(() => db.close());
  return url;
}

function inMemory(): boolean {
  if (!existsSync(memory)) return false;
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize >= memoryNeeded;
}
