// A whole server for flow tests: the real composition root on a port of its own, with a database of its own.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcrypt';
import { vi } from 'vitest';
import { type Config, loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { type RunningServer, type ServerParts, startServer } from '../../src/server.ts';
import { openStore, type Store } from '../../src/store.ts';
import { makeKey } from './keys.ts';
import { freePort } from './ports.ts';
import { leaksIn, notePrivateHalf, noteSecret } from './secrets.ts';

export const ordersApi = 'https://orders.example.com';
export const stockApi = 'https://stock.example.com';
export const callback = 'https://app.example.com/callback';
export const spaOrigin = 'https://app.example.com';
export const secret = 'correct-horse-battery-staple-0123456789';
export const person = { email: 'ada@example.com', password: 'a long enough password' };

/** Applications and APIs that the flow tests use; a test adds its own with `values`. */
export const declared = {
  applications: [
    {
      clientId: 'spa',
      name: 'Orders',
      type: 'spa',
      redirectUris: [callback],
      origins: [spaOrigin],
      firstParty: true,
      postLogoutRedirectUris: ['https://app.example.com/'],
      access: { [ordersApi]: ['orders:read', 'orders:write'], [stockApi]: ['stock:read'] },
    },
    {
      clientId: 'web',
      name: 'Back office',
      type: 'web',
      secret,
      redirectUris: [callback],
      firstParty: true,
      access: { [ordersApi]: ['orders:read'] },
    },
    {
      clientId: 'web-no-pkce',
      name: 'Old portal',
      type: 'web',
      secret,
      redirectUris: [callback],
      firstParty: true,
      pkce: 'optional',
    },
    {
      clientId: 'third-party',
      name: 'Reports',
      type: 'web',
      secret,
      redirectUris: ['https://reports.example.net/cb'],
      access: { [ordersApi]: ['orders:read'] },
    },
    {
      clientId: 'device',
      name: 'Desktop',
      type: 'native',
      firstParty: true,
      redirectUris: ['http://127.0.0.1/callback', 'com.example.desktop:/callback'],
      access: { [ordersApi]: ['orders:read'] },
    },
    { clientId: 'service', name: 'Nightly job', type: 'service', secret, access: { [ordersApi]: ['orders:read'] } },
  ],
  apis: [
    {
      audience: ordersApi,
      name: 'Orders',
      scopes: { 'orders:read': 'See your orders', 'orders:write': 'Place orders' },
    },
    { audience: stockApi, name: 'Stock', scopes: { 'stock:read': 'See the stock' }, accessTokenLife: '5m' },
  ],
};

export interface TestServer extends RunningServer {
  issuer: string;
  config: Config;
  /** Where keys and SQLite live; a second server is given it to share them. */
  directory: string;
  /** The account of `person`. */
  accountId: string;
  /** The same modules on the same database, as the command line has them. */
  store: Store;
  /** Everything logged so far. */
  logged(): string;
}

export interface TestServerOptions {
  /** A database URL; by default a fresh SQLite file. */
  database?: string;
  /** Goes over what is declared here, section by section. */
  values?: Record<string, unknown>;
  /** Where keys and SQLite live; by default a fresh directory, removed at close. */
  directory?: string;
  /** What a server is given beside its configuration. */
  parts?: ServerParts;
}

export async function startSignet({
  database,
  values = {},
  directory,
  parts,
}: TestServerOptions = {}): Promise<TestServer> {
  const home = directory ?? (await mkdtemp(join(tmpdir(), 'signet-test-')));
  const port = await freePort();
  const config = loadConfig({
    env: {},
    cwd: home,
    values: {
      listen: { port, host: '127.0.0.1' },
      passwords: { bcryptCost: 4 },
      ...(database ? { database: { url: database } } : {}),
      ...declared,
      ...values,
    },
  });
  const lines: string[] = [];
  const log = createLog('debug', (line) => lines.push(line));
  const server = await startServer(config, log, { makeKey, ...parts });
  // The next key is made while the server already listens; with it, what a test reads does not change under its eyes.
  await vi.waitFor(
    () => {
      if (!lines.some((line) => JSON.parse(line).published?.length > 1)) throw new Error('no next key is published');
    },
    { timeout: 15_000, interval: 10 },
  );
  const store = await openStore(config, log, { makeKey });
  const known = await store.accounts.findByEmail(person.email);
  const account =
    known ??
    (await store.accounts.create(
      {
        email: person.email,
        name: 'Ada',
        roles: ['buyer'],
        passwordHash: await bcrypt.hash(person.password, 4),
      },
      'test',
    ));

  /** The private halves that there are now, to be looked for in whatever is written. */
  async function notePrivateHalves(): Promise<void> {
    const { rows } = await store.db.query<{ kid: string; sealed_private: string }>(
      'select kid, sealed_private from signing_keys where sealed_private is not null',
    );
    for (const row of rows) notePrivateHalf(store.seal.open(row.sealed_private, `signing key ${row.kid}`));
  }

  await notePrivateHalves();
  noteSecret('password', person.password);
  noteSecret('client secret', secret);

  return {
    ...server,
    config,
    issuer: config.issuer,
    directory: home,
    accountId: account.id,
    store,
    logged: () => lines.join(''),
    async close() {
      await server.close();
      await notePrivateHalves().catch(() => undefined); // a test may have taken the database or the master key away
      // A test may have taken the database away.
      const { rows: trail } = await store.db.query('select * from audit_events').catch(() => ({ rows: [] }));
      await store.close();
      if (!directory) await rm(home, { recursive: true, force: true });
      for (const [where, text] of [
        ['log', lines.join('')],
        ['audit trail', JSON.stringify(trail)],
      ] as const) {
        const found = leaksIn(text);
        if (found.length > 0) throw new Error(`the ${where} shows ${found.join(', ')}`);
      }
    },
  };
}
