// Once per run: a temporary directory for the databases, and the one PostgreSQL server that all test files share. It
// starts when the first test asks for it, so a run that needs none does not wait for one.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PostgresServer } from './postgres.ts';
import { startPostgres } from './postgres.ts';
import { onProcessEnd } from './process-end.ts';

export default async function setup(): Promise<() => Promise<void>> {
  let postgres: Promise<PostgresServer> | undefined;
  const door = createServer((_request, response) => {
    postgres ??= startPostgres();
    postgres.then(
      ({ url }) => response.end(url),
      (error: Error) => response.writeHead(500).end(error.message),
    );
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const directory = mkdtempSync(join(tmpdir(), 'signet-test-'));
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
  };
}
