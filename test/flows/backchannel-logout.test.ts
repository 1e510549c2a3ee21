// Applications are told that a session has ended (OpenID Connect Back-Channel Logout 1.0), whatever ended it. Each is a
// real endpoint over HTTP, and its tokens are read as an application reads them: with jose and the published keys.

import { createRemoteJWKSet, type JWTPayload, jwtVerify } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createVerifier } from '../../src/verifier/index.ts';
import { openTerminal } from '../cli/terminal.ts';
import { startEntraWorld } from '../support/entra.ts';
import { type LogoutReceiver, type ReceivedLogout, startLogoutReceiver } from '../support/logout-receiver.ts';
import { rotateKeys } from '../support/rotation.ts';
import { callback, declared, person, secret, startSignet, type TestServer } from '../support/signet.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

const soon = { timeout: 15_000, interval: 20 };
const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';

let web: LogoutReceiver;
let strict: LogoutReceiver;
beforeAll(async () => {
  web = await startLogoutReceiver();
  strict = await startLogoutReceiver();
});
afterAll(() => {
  web.close();
  strict.close();
});
const answerUsually: LogoutReceiver['answer'] = (_request, response) => response.end();
beforeEach(() => {
  for (const receiver of [web, strict]) Object.assign(receiver, { received: [], answer: answerUsually });
});

/** What is declared for all flow tests; two of the applications want to be told. */
function applications() {
  const uris: Record<string, object> = {
    web: { backchannelLogoutUri: web.uri },
    'web-no-pkce': { backchannelLogoutUri: strict.uri, backchannelLogoutSessionRequired: true },
  };
  return declared.applications.map((application) => ({ ...application, ...uris[application.clientId] }));
}

/** A logout token as an application takes it (§2.6). */
async function read(issuer: string, { token }: ReceivedLogout, clientId: string): Promise<JWTPayload> {
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(`${issuer}/jwks`)), {
    issuer,
    audience: clientId,
    typ: 'logout+jwt',
    algorithms: ['RS256'],
    requiredClaims: ['iss', 'aud', 'iat', 'exp', 'jti', 'events', 'sub'],
  });
  expect(payload.events).toEqual({ [logoutEvent]: {} });
  expect(payload).not.toHaveProperty('nonce');
  expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(120);
  return payload;
}

async function told(server: TestServer, receiver: LogoutReceiver, clientId: string, times = 1): Promise<JWTPayload[]> {
  await expect.poll(() => receiver.received.length, soon).toBe(times);
  return Promise.all(receiver.received.map((one) => read(server.issuer, one, clientId)));
}

const waiting = async (server: TestServer) =>
  (await server.store.db.query('select id from backchannel_logouts')).rowCount;

describe('an application that is to be told of sign-outs', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startSignet({ values: { applications: applications() } });
  });
  afterAll(() => server.close());
  // Sessions that a test before has left would end in the next one.
  beforeEach(async () => {
    await server.store.accounts.signOut(server.accountId, 'test');
    await expect.poll(() => waiting(server), soon).toBe(0);
    web.received = [];
    strict.received = [];
  });

  const openid = { scope: 'openid' };
  async function signedIn(clientId = 'web', agent?: UserAgent) {
    const session = await signIn(server.issuer, { clientId, parameters: openid, ...(agent && { agent }) });
    return { ...session, sid: decode(session.tokens.id_token).payload.sid as string };
  }
  const signOut = async (agent: UserAgent, choice: Record<string, string> = { logout: 'yes' }) =>
    agent.submit(await agent.visit('/session/end'), choice);

  test('is told when the person signs out, of whom and of which session', async () => {
    const { agent, sid } = await signedIn();
    await signIn(server.issuer, { agent }); // one that does not want to be told
    await signOut(agent);
    const [payload] = await told(server, web, 'web');
    expect(payload).toMatchObject({ sub: server.accountId, sid });
    await expect
      .poll(() => server.store.audit.list({ event: 'logout.delivered' }), soon)
      .toEqual([expect.objectContaining({ clientId: 'web', subject: server.accountId, detail: { tries: 1 } })]);
    expect(await waiting(server)).toBe(0);
    expect(strict.received).toEqual([]);
  });

  test('each of those that were reached through the session, by the name it knows the session by', async () => {
    const { agent, sid } = await signedIn('web');
    const { sid: other } = await signedIn('web-no-pkce', agent);
    expect(other).not.toBe(sid);
    await signOut(agent);
    expect(await told(server, web, 'web')).toEqual([expect.objectContaining({ sid })]);
    expect(await told(server, strict, 'web-no-pkce')).toEqual([expect.objectContaining({ sid: other })]);
  });

  test('is told when another application began the sign-out', async () => {
    const { agent, sid } = await signedIn('web');
    const { tokens } = await signIn(server.issuer, { agent });
    await agent.visit(`/session/end?${new URLSearchParams({ id_token_hint: tokens.id_token })}`);
    expect(await told(server, web, 'web')).toEqual([expect.objectContaining({ sid })]);
  });

  test('is not told when the person stays, nor when a session merely gets another name', async () => {
    const { agent } = await signedIn();
    await signOut(agent, {});
    const again = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
    await agent.submit(again, { email: person.email, password: person.password });
    expect([await waiting(server), web.received]).toEqual([0, []]);
  });

  test('is told when somebody else signs in in the same browser', async () => {
    const { agent, sid } = await signedIn();
    const passwordHash = await server.store.passwords.hash('another long password');
    await server.store.accounts.create({ email: 'bob@example.com', name: 'Bob', roles: [], passwordHash }, 'test');
    const page = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
    const between = await agent.submit(page, { email: 'bob@example.com', password: 'another long password' });
    const back = await agent.submit(between, {}); // a page that asks nothing
    expect(new URL(back.url).searchParams.has('code')).toBe(true);
    expect(await told(server, web, 'web')).toEqual([expect.objectContaining({ sub: server.accountId, sid })]);
  });

  test('does not keep the person waiting, whatever it does', async () => {
    let release = () => {};
    web.answer = (_request, response) => {
      release = () => void response.end();
    };
    const { agent } = await signedIn();
    expect((await signOut(agent)).body).toContain('You are signed out');
    expect(await waiting(server)).toBe(1); // it has not answered yet
    await expect.poll(() => web.received.length, soon).toBe(1);
    release();
    await expect.poll(() => waiting(server), soon).toBe(0);
  });

  test('is told of every session that ends when the person is signed out everywhere, by any process', async () => {
    const sids = [(await signedIn()).sid, (await signedIn()).sid];
    await server.store.accounts.signOut(server.accountId, 'cli'); // the store is that of another process
    const payloads = await told(server, web, 'web', 2);
    expect(payloads.map(({ sid }) => sid).toSorted()).toEqual(sids.toSorted());
  });

  test('is told when the person is disabled, also where the session here has long expired', async () => {
    await signedIn('web');
    await signedIn('web-no-pkce');
    await server.store.db.query(`delete from oidc_models where model = 'Session'`);
    await server.store.accounts.setDisabled(server.accountId, true, 'cli');
    try {
      const [payload] = await told(server, web, 'web');
      expect(payload).toMatchObject({ sub: server.accountId });
      expect(payload).not.toHaveProperty('sid'); // all that it has of the person
      expect([await waiting(server), strict.received]).toEqual([0, []]); // of no use without a session
    } finally {
      await server.store.accounts.setDisabled(server.accountId, false, 'cli');
    }
  });

  test('is told once it is registered, like one that is declared', async () => {
    const terminal = await openTerminal({ directory: server.directory, env: { SIGNET_ISSUER: server.issuer } });
    const { document } = await terminal.signet([
      'clients',
      'add',
      '--name',
      'Late',
      '--id',
      'late',
      '--type',
      'web',
      '--redirect-uri',
      callback,
      '--first-party',
      '--backchannel-logout-uri',
      strict.uri,
      '--json',
    ]);
    expect(document.application).toMatchObject({ clientId: 'late', backchannelLogoutUri: strict.uri });
    const agent = new UserAgent(server.issuer);
    await authorize(agent, authorizationRequest(server.issuer, { client_id: 'late', ...openid }).url);
    await signOut(agent);
    await told(server, strict, 'late');
  });

  test('gets a token by the key that signs at the time', async () => {
    const { agent } = await signedIn();
    await rotateKeys(server);
    await signOut(agent);
    await told(server, web, 'web');
    const keys = await server.store.keyring.signingKeys();
    expect(decode(web.received[0]!.token).header.kid).toBe(keys.active.kid);
  });

  test('can do nothing else with the token: it is neither an access token nor any other', async () => {
    const { agent } = await signedIn();
    await signOut(agent);
    await told(server, web, 'web');
    const [{ token }] = web.received as [ReceivedLogout];
    const verifier = createVerifier({ issuer: server.issuer, audience: null });
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'wrong_type' });
    verifier.close();
    expect((await askUserinfo(server.issuer, token)).status).toBe(401);
    const refreshed = await tokenRequest(
      server.issuer,
      { grant_type: 'refresh_token', refresh_token: token },
      asClient('web'),
    );
    expect(refreshed).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const introspected = await fetch(`${server.issuer}/token/introspection`, {
      method: 'POST',
      body: new URLSearchParams({ token }),
      headers: { authorization: `Basic ${btoa(`web:${secret}`)}` },
    });
    expect(await introspected.json()).toEqual({ active: false });
  });

  test('that cannot be told leaves a line in the log and in the audit trail, with no token in it', async () => {
    web.answer = (_request, response) => response.writeHead(400).end('{"error":"invalid_request"}');
    const { agent } = await signedIn();
    await signOut(agent);
    await expect
      .poll(() => server.store.audit.list({ event: 'logout.undelivered' }), soon)
      .toMatchObject([{ clientId: 'web', subject: server.accountId, detail: { error: 'http_400', tries: 1 } }]);
    expect(server.logged()).toMatch(/"logout\.undelivered".*"clientId":"web".*"error":"http_400"/);
  });

  test('finds in the metadata that there is such a thing', async () => {
    const answer = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    expect(await answer.json()).toMatchObject({
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
    });
  });
});

test('an application is told when Microsoft says that the person signed out there', async () => {
  const world = await startEntraWorld({
    entra: { recheck: { every: 0 } },
    values: { applications: applications() },
  });
  const parameters = { client_id: 'web', scope: 'openid' };
  const { tokens } = await world.signIn('alice', { session: world.session(), parameters });
  const { sid, sub } = decode(tokens.id_token).payload;
  await world.sim.frontChannelLogout('alice');
  expect(await told(world.server, web, 'web')).toEqual([expect.objectContaining({ sub, sid })]);
  await world.close();
});
