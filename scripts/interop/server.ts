// The live server of the matrix: the real composition root, with the applications and the person of the flow tests.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { loadConfig } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import { openStore, startServer, type Store } from '../../src/server.ts';
import { freePort } from '../../test/support/ports.ts';
import { declared, person } from '../../test/support/signet.ts';

export interface LiveServer {
  issuer: string;
  store: Store;
  /** May be called again. */
  close(): Promise<void>;
}

export async function startLive(values: Record<string, unknown>): Promise<LiveServer> {
  const home = await mkdtemp(join(tmpdir(), 'signet-interop-'));
  const listen = { port: await freePort(), host: '127.0.0.1' };
  const config = loadConfig({ env: {}, cwd: home, values: { listen, ...declared, ...values } });
  const server = await startServer(config, silentLog);
  const store = await openStore(config, silentLog);
  const passwordHash = await bcrypt.hash(person.password, 4);
  await store.accounts.create({ email: person.email, name: 'Ada', roles: ['buyer'], passwordHash }, 'interop');
  let closing: Promise<void> | undefined;
  async function closeAll(): Promise<void> {
    await store.close();
    await server.close();
    await rm(home, { recursive: true, force: true });
  }
  return { issuer: config.issuer, store, close: () => (closing ??= closeAll()) };
}
