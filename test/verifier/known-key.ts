// A database whose signing key is one of the fixture, made before the server starts on it: so a test can sign what the
// server never would.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/config.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import { silentLog } from '../../src/log.ts';
import { openStore } from '../../src/store.ts';
import { fromTestKeys } from '../support/keys.ts';

/** A directory to start a server in, which signs with the first of the test keys. */
export async function directoryWithKnownKey(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'signet-test-'));
  const values = { issuer: 'http://localhost:9', passwords: { bcryptCost: 4 } };
  const config = loadConfig({ env: {}, cwd: directory, values });
  const store = await openStore(config, silentLog);
  await createKeyring({ ...store, generate: fromTestKeys() }).bootstrap();
  await store.close();
  return directory;
}
