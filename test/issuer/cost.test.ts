import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWatchedIssuer, type WatchedIssuer } from '../support/issuer.ts';
import { ordersApi, type TestServer } from '../support/signet.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  redemption,
  signIn,
  tokenRequest,
  type UserAgent,
} from '../support/user-agent.ts';

let server: TestServer;
let issuer: WatchedIssuer;
let tokens: Record<string, string>;
let agent: UserAgent;
beforeAll(async () => {
  issuer = await startWatchedIssuer();
  server = issuer.server;
  ({ agent, tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } }));
});
afterAll(() => issuer.close());

/** How many statements `ask` costs; the audit trail is written behind the request and does not count. */
async function cost(ask: () => Promise<unknown>): Promise<number> {
  issuer.forget();
  await ask();
  return issuer.statements.length;
}

describe('how often a request asks the database', () => {
  const refresh = (token: string) => () =>
    tokenRequest(issuer.url, { grant_type: 'refresh_token', refresh_token: token });

  test('a token for a service that stands in the configuration: never', async () => {
    const ask = () => tokenRequest(issuer.url, { grant_type: 'client_credentials' }, asClient('service'));
    expect(await cost(ask)).toBe(0);
  });

  test('discovery and JWKS: never', async () => {
    expect(await cost(() => fetch(`${issuer.url}/jwks`))).toBe(0);
    expect(await cost(() => fetch(`${issuer.url}/.well-known/openid-configuration`))).toBe(0);
  });

  test('a forged refresh token, or a token of another kind in its place: never', async () => {
    const [header, payload] = tokens.refresh_token!.split('.');
    expect(await cost(refresh(`${header}.${payload}.${'A'.repeat(342)}`))).toBe(0);
    expect(await cost(refresh(tokens.access_token!))).toBe(0);
    expect(await cost(refresh(tokens.id_token!))).toBe(0);
  });

  test('an access token that is forged, or for an API, at userinfo: never', async () => {
    expect(await cost(() => askUserinfo(issuer.url, `${tokens.access_token!.slice(0, -8)}AAAAAAAA`))).toBe(0);
    expect(await cost(() => askUserinfo(issuer.url, tokens.refresh_token!))).toBe(0);
  });

  test('a refresh: one read of the token and all that it rests on, and one write', async () => {
    expect(await cost(refresh(tokens.refresh_token!))).toBe(2);
  });

  test('a code for who is signed in: one read of the session and all that it rests on, and one write', async () => {
    const { url } = authorizationRequest(issuer.url, { resource: ordersApi });
    expect(await cost(() => codeFrom(url))).toBe(2);
    expect(issuer.statements.map((statement) => statement.split(' ', 1)[0])).toEqual(['select', 'insert']);
  });

  test('the whole code flow of who is signed in: two reads and three writes', async () => {
    const request = authorizationRequest(issuer.url, { resource: ordersApi });
    const flow = async () => {
      const { status } = await tokenRequest(issuer.url, redemption(request, await codeFrom(request.url)));
      expect(status).toBe(200);
    };
    expect(await cost(flow)).toBe(5);
    const reads = issuer.statements.filter((statement) => /^(select|with) /.test(statement));
    expect(reads).toHaveLength(2);
  });

  async function codeFrom(url: string): Promise<string> {
    const { headers } = await agent.request(url);
    const code = new URL(headers.get('location')!).searchParams.get('code');
    expect(code, 'a code').not.toBeNull();
    return code!;
  }
});
