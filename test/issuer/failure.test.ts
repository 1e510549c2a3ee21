import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWatchedIssuer, type WatchedIssuer } from '../support/issuer.ts';
import type { TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, redemption, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
let issuer: WatchedIssuer;
beforeAll(async () => {
  issuer = await startWatchedIssuer();
  server = issuer.server;
});
afterAll(() => issuer.close());

describe('a database that fails in the middle of a token request', () => {
  test.each([
    ['as the refresh is written', 'update refresh_tokens'],
    ['as the refresh token is read', 'from refresh_tokens token'],
    ['as the account is read', 'join accounts'],
  ])('leaves the refresh token good: %s', async (_name, statement) => {
    const { tokens } = await signIn(server.issuer);
    const refresh = () =>
      tokenRequest(issuer.url, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
    issuer.forget();
    issuer.breakOn((sql) => sql.includes(statement));
    const failed = await refresh();
    issuer.breakOn(() => false);

    expect(failed).toMatchObject({ status: 500, body: { error: 'server_error' } });
    expect(JSON.stringify(failed.body)).not.toContain('database');
    expect(issuer.logged()).toContain('"request.failed"');
    expect(issuer.logged()).toContain('the database is gone');
    expect(await refresh()).toMatchObject({ status: 200 });
  });

  test('leaves the code good: as it is spent', async () => {
    const request = authorizationRequest(server.issuer);
    const code = (await authorize(new UserAgent(server.issuer), request.url)).get('code')!;
    const redeem = () => tokenRequest(issuer.url, redemption(request, code));

    issuer.breakOn((sql) => sql.includes('set consumed_at'));
    expect(await redeem()).toMatchObject({ status: 500, body: { error: 'server_error' } });
    issuer.breakOn(() => false);
    expect(await redeem()).toMatchObject({ status: 200 });
  });
});

describe('a database that fails under the browser of somebody who is signed in', () => {
  const signedIn = async () => new UserAgent(server.issuer, issuer.url, (await signIn(server.issuer)).agent);
  const paths = () => [authorizationRequest(server.issuer).url, '/session/end', '/auth/somebody'];

  test('shows a page, and JSON to a program', async () => {
    const agent = await signedIn();
    for (const path of paths()) {
      issuer.forget();
      issuer.breakOn(() => true);
      const page = await agent.request(path);
      const program = await agent.request(path, { headers: { Accept: 'application/json' } });
      issuer.breakOn(() => false);
      expect([page.status, page.headers.get('content-type')], path).toEqual([500, 'text/html; charset=utf-8']);
      expect(page.body).toContain('Something went wrong on our side');
      expect([program.status, JSON.parse(program.body)], path).toMatchObject([500, { error: 'server_error' }]);
      expect(issuer.logged().match(/"request.failed"/g), path).toHaveLength(2);
    }
  });

  test('sends nobody on when only the session cannot be written any more', async () => {
    // An application that is new to the session, which would be as it was otherwise.
    const ask = async () => (await signedIn()).request(authorizationRequest(server.issuer, { client_id: 'web' }).url);
    const inserts = (sql: string) => sql.includes('insert into oidc_models');
    let all = 0;
    issuer.breakOn((sql) => {
      all += Number(inserts(sql));
      return false;
    });
    expect((await ask()).headers.get('location')).toContain('code=');
    let left = all;
    issuer.breakOn((sql) => inserts(sql) && --left === 0);
    const { status, headers } = await ask();
    issuer.breakOn(() => false);
    expect([status, headers.get('location')]).toEqual([500, null]);
  });
});
