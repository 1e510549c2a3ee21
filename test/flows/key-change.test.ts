import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createVerifier } from '../../src/verifier/index.ts';
import { revokeActiveKey, rotateKeys } from '../support/rotation.ts';
import { ordersApi, person, startSignet, type TestServer } from '../support/signet.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  decode,
  redemption,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

const refresh = (refreshToken: string) =>
  tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: refreshToken });
const userinfo = async (token: string) => (await askUserinfo(server.issuer, token)).status;

describe('while the signing key changes', () => {
  test('a sign-in begun before a rotation finishes after it, and so does its code', async () => {
    const agent = new UserAgent(server.issuer);
    const request = authorizationRequest(server.issuer, { resource: ordersApi });
    const page = await agent.visit(request.url);
    const first = await rotateKeys(server);

    const answer = await agent.submit(page, { email: person.email, password: person.password });
    const code = new URL(answer.url).searchParams.get('code')!;
    const second = await rotateKeys(server);

    const { status, body } = await tokenRequest(server.issuer, redemption(request, code));
    expect(status).toBe(200);
    const tokens = [body.access_token, body.id_token, body.refresh_token];
    expect(tokens.map((token) => decode(token).header.kid)).toEqual([second, second, second]);
    expect(first).not.toBe(second);
  });

  test('a consent asked for before a rotation is given after it', async () => {
    const agent = new UserAgent(server.issuer);
    const redirect_uri = 'https://reports.example.net/cb';
    const parameters = { client_id: 'third-party', redirect_uri, scope: 'openid orders:read' };
    const request = authorizationRequest(server.issuer, parameters);
    const signInPage = await agent.visit(request.url);
    const consentPage = await agent.submit(signInPage, { email: person.email, password: person.password });
    expect(consentPage.body).toContain('name="decision"');
    await rotateKeys(server);
    const code = new URL((await agent.submit(consentPage, { decision: 'allow' })).url).searchParams.get('code')!;
    const answer = await tokenRequest(server.issuer, redemption(request, code, redirect_uri), asClient('third-party'));
    expect(answer.status).toBe(200);
  });

  test('tokens of the key before stay good: at userinfo, at refresh, and offline at an API', async () => {
    const verifier = createVerifier({ issuer: server.issuer, audience: ordersApi });
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    await verifier.verify(tokens.access_token);
    const kid = await rotateKeys(server);
    expect(await userinfo(tokens.access_token)).toBe(200);
    const { body: renewed } = await refresh(tokens.refresh_token);
    expect(decode(renewed.access_token).header.kid).toBe(kid);
    await verifier.verify(tokens.access_token);
    await verifier.verify(renewed.access_token);
    verifier.close();
  });

  test('an answer given again says the same, signed by the key of now', async () => {
    const { tokens } = await signIn(server.issuer);
    const { body: first } = await refresh(tokens.refresh_token);
    await rotateKeys(server);
    const { body: again } = await refresh(tokens.refresh_token);
    for (const kind of ['access_token', 'id_token', 'refresh_token']) {
      const [one, other] = [decode(first[kind]), decode(again[kind])];
      expect(other.payload, kind).toEqual(one.payload);
      expect(other.header.kid, kind).not.toBe(one.header.kid);
    }
  });

  test('requests in flight meet one key or the other, and no error', async () => {
    const ask = () => tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    let changed = false;
    const rotated = rotateKeys(server).finally(() => {
      changed = true;
    });
    const statuses = new Set<number>();
    while (!changed) for (const { status } of await Promise.all([ask(), ask(), ask()])) statuses.add(status);
    await rotated;
    expect([...statuses]).toEqual([200]);
  });
});

describe('when the signing key had to be revoked', () => {
  test('its access tokens are refused, and nobody has to sign in again', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const kid = await revokeActiveKey(server);
    expect(await userinfo(tokens.access_token)).toBe(401);
    const { status, body } = await refresh(tokens.refresh_token);
    expect([status, decode(body.access_token).header.kid]).toEqual([200, kid]);
    expect(await userinfo(body.access_token)).toBe(200);
    const again = await agent.request(authorizationRequest(server.issuer, { prompt: 'none' }).url);
    expect(new URL(again.headers.get('location')!).searchParams.has('code')).toBe(true);
  });
});
