import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAccounts } from '../../src/accounts.ts';
import type { Database, Value } from '../../src/database/database.ts';
import { AppError } from '../../src/errors.ts';
import { createIssuer, type Issuer } from '../../src/issuer/issuer.ts';
import { createLog } from '../../src/log.ts';
import { createPages } from '../../src/web/pages.ts';
import { createProviderPages } from '../../src/web/refusals.ts';
import { callback, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

/** The database, until `broken` finds a statement that it does not like. */
function fragile(db: Database, isBroken: (sql: string) => boolean): Database {
  const query = <Row>(sql: string, values?: readonly Value[]) => {
    if (isBroken(sql)) throw new AppError('database_unavailable', 503, 'the database is gone');
    return db.query<Row>(sql, values);
  };
  return { ...db, query };
}

describe('a database that fails in the middle of a token request', () => {
  let server: TestServer;
  let issuer: Issuer;
  let listening: Server;
  let url: string;
  let isBroken: (sql: string) => boolean = () => false;
  const lines: string[] = [];

  beforeAll(async () => {
    server = await startSignet();
    const { config, store } = server;
    const pages = createProviderPages(createPages({ branding: config.branding, issuer: config.issuer }));
    const db = fragile(store.db, (sql) => isBroken(sql));
    issuer = createIssuer({
      ...store, db, accounts: createAccounts(db, store.audit), config, pages,
      log: createLog('debug', (line) => lines.push(line)),
    }, await store.keyring.signingKeys());
    const app = new Koa();
    app.use((ctx) => issuer.handle(ctx));
    listening = createServer(app.callback());
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await new Promise((resolve) => listening.close(resolve));
    issuer.close();
    await server.close();
  });

  test.each([
    ['as the refresh is written', (sql: string) => sql.includes('rotated_from, rotated_at')],
    ['as the refresh token is read', (sql: string) => sql.includes("token.model = 'RefreshToken'")],
    ['as the account is read', (sql: string) => sql.includes('from accounts')],
  ])('leaves the refresh token good: %s', async (_name, broken) => {
    const { tokens } = await signIn(server.issuer);
    const refresh = () => tokenRequest(url, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });

    isBroken = broken;
    lines.length = 0;
    const failed = await refresh();
    isBroken = () => false;

    expect(failed).toMatchObject({ status: 500, body: { error: 'server_error' } });
    expect(JSON.stringify(failed.body)).not.toContain('database');
    expect(lines.join('')).toContain('"request.failed"');
    expect(lines.join('')).toContain('the database is gone');
    expect(await refresh()).toMatchObject({ status: 200 });
  });

  test('leaves the code good: as it is spent', async () => {
    const request = authorizationRequest(server.issuer);
    const code = (await authorize(new UserAgent(server.issuer), request.url)).get('code')!;
    const redeem = () => tokenRequest(url,
      { grant_type: 'authorization_code', code, code_verifier: request.verifier, redirect_uri: callback });

    isBroken = (sql) => sql.includes('set consumed_at');
    expect(await redeem()).toMatchObject({ status: 500, body: { error: 'server_error' } });
    isBroken = () => false;
    expect(await redeem()).toMatchObject({ status: 200 });
  });
});
