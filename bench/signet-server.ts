// Signet as `npm start` runs it, on the database given. Run by issuer.ts as a process of its own.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { loadConfig } from '../src/config/config.ts';
import { createLog } from '../src/log.ts';
import { startServer } from '../src/server.ts';
import { openStore } from '../src/store.ts';
import { declared, person } from '../test/support/signet.ts';
import { signIn } from '../test/support/user-agent.ts';
import { report } from './process.ts';

const port = Number(process.argv[2]);
const directory = mkdtempSync(join(tmpdir(), 'signet-bench-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

const config = loadConfig({
  env: {},
  cwd: directory,
  values: {
    listen: { port, host: '127.0.0.1' },
    passwords: { bcryptCost: 4 },
    ...declared,
    // Each worker refreshes as fast as it can, and each time for a token of its own.
    tokens: { refreshSpacing: 0 },
    ...(process.argv[3] ? { database: { url: process.argv[3] } } : {}),
  },
});
const log = createLog('warn');
const store = await openStore(config, log);
await store.accounts.create(
  { email: person.email, roles: ['buyer'], passwordHash: await bcrypt.hash(person.password, 4) },
  'bench',
);
await store.close();
await startServer(config, log);

async function seedRefreshTokens(count: number): Promise<string[]> {
  const tokens: string[] = [];
  for (let made = 0; made < count; made += 1) {
    tokens.push((await signIn(config.issuer, { clientId: 'web' })).tokens.refresh_token);
  }
  return tokens;
}

report(seedRefreshTokens);
