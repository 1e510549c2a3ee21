// A server, and beside it the issuer alone, on the same storage but through a database that a test can watch and break.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { createAccounts } from '../../src/accounts/accounts.ts';
import type { Database } from '../../src/database/database.ts';
import { createIssuer } from '../../src/issuer/issuer.ts';
import { createProviderPages } from '../../src/issuer/pages.ts';
import { createReturnLinks } from '../../src/issuer/return-links.ts';
import { createLog } from '../../src/log.ts';
import { createPages } from '../../src/web/pages.ts';
import { createSecretThrottle } from '../../src/web/secret-throttle.ts';
import { startSignet, type TestServer } from './signet.ts';

export interface WatchedIssuer {
  url: string;
  /** Where people sign in. */
  server: TestServer;
  /** Statements sent to the database since `forget`: verb and values. */
  statements: string[];
  /** Makes every statement fail that it says yes to. */
  breakOn(isBroken: (sql: string) => boolean): void;
  logged(): string;
  forget(): void;
  close(): Promise<void>;
}

export async function startWatchedIssuer({ jwksServed }: { jwksServed?: () => void } = {}): Promise<WatchedIssuer> {
  const signet = await startSignet();
  const { config, store } = signet;
  const statements: string[] = [];
  const lines: string[] = [];
  let isBroken: (sql: string) => boolean = () => false;
  const db: Database = {
    ...store.db,
    async query(sql, values) {
      statements.push([sql.trim().split(' ', 1), ...(values ?? [])].join(' '));
      if (isBroken(sql)) throw new Error('the database is gone');
      return store.db.query(sql, values);
    },
  };
  const { accounts } = store;
  const { branding, issuer: address } = config;
  const log = createLog('debug', (line) => lines.push(line));
  const returnLinks = createReturnLinks({ ...store, issuer: address });
  const pages = createProviderPages({ log, pages: createPages({ branding, issuer: address }), returnLinks, accounts });
  const issuer = createIssuer(
    {
      ...store,
      db,
      accounts: createAccounts(db, store.audit),
      config,
      pages,
      log,
      jwksServed,
      secretThrottle: createSecretThrottle(),
    },
    await store.keyring.signingKeys(),
  );
  const app = new Koa();
  app.use((ctx) => {
    ctx.respond = false;
    const isTokenRequest = ctx.method === 'POST' && ctx.url === '/token';
    const handle = isTokenRequest ? issuer.handleToken : issuer.handle;
    return handle(ctx.req, ctx.res, { requestId: '', address: '127.0.0.1' });
  });
  const server = createServer(app.callback());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server: signet,
    statements,
    breakOn: (which) => {
      isBroken = which;
    },
    logged: () => lines.join(''),
    forget() {
      statements.length = 0;
      lines.length = 0;
    },
    async close() {
      await new Promise((resolve) => server.close(resolve));
      issuer.close();
      await signet.close();
    },
  };
}
