// The live server of the matrix: the real composition root, with the applications and the person of the flow tests.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { loadConfig } from '../../src/config/config.ts';
import { silentLog } from '../../src/log.ts';
import { startServer } from '../../src/server.ts';
import { openStore, type Store } from '../../src/store.ts';
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

/** Has the next key sign, whether or not everybody has seen it, and waits until it does. */
export async function rotate(server: LiveServer): Promise<string> {
  const { keyring } = server.store;
  const prepared = (await keyring.list()).find(({ state }) => state === 'prepared');
  const kid = prepared?.kid ?? (await keyring.prepare());
  await keyring.activate(kid, { force: 'the matrix does not wait until everybody has seen the key' });
  await untilSignedBy(server, kid);
  return kid;
}

export async function untilSignedBy({ issuer }: LiveServer, kid: string): Promise<void> {
  for (let tries = 0; tries < 150; tries += 1) {
    const {
      keys: [first],
    } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: Array<{ kid: string }> };
    if (first?.kid === kid) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`the server does not sign with ${kid}`);
}
