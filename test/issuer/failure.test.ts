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
    ['as the refresh is written', 'rotated_from, rotated_at'],
    ['as the refresh token is read', "token.model = 'RefreshToken'"],
    ['as the account is read', 'from accounts'],
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
