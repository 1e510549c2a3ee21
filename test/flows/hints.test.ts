// `id_token_hint`: one that cannot be verified is as good as none, at sign-out and at a silent sign-in. One that can
// says whose session is meant.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { revokeActiveKey } from '../support/rotation.ts';
import { startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, redemption, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';
import { textOf } from '../web/html.ts';

const after = 'https://app.example.com/';
const grace = { email: 'grace@example.com', password: 'another long password' };

let server: TestServer;
let agent: UserAgent;
/** ID tokens of the person who is signed in with `agent`, of another person, and for an application that is gone. */
let own: Record<string, string>;
let other: string;
const hints: Record<string, string> = {};

beforeAll(async () => {
  server = await startSignet();
  const {
    store: { accounts, clients, passwords },
  } = server;
  const passwordHash = await passwords.hash(grace.password);
  await accounts.create({ email: grace.email, name: 'Grace', roles: [], passwordHash }, 'test');
  const redirect_uri = 'https://gone.example.com/cb';
  await clients.register(
    {
      clientId: 'gone',
      name: 'Gone',
      type: 'spa',
      redirectUris: [redirect_uri],
      firstParty: true,
      access: {},
      origins: [],
      postLogoutRedirectUris: [],
      refreshTokens: true,
    } as never,
    'test',
  );
  const request = authorizationRequest(server.issuer, { client_id: 'gone', redirect_uri, scope: 'openid' });
  const code = (await authorize(new UserAgent(server.issuer), request.url)).get('code')!;
  const issued = await tokenRequest(server.issuer, redemption(request, code, redirect_uri), { clientId: 'gone' });
  hints['for an application that is gone'] = issued.body.id_token;
  await clients.setDisabled('gone', true, 'test');
  await vi.waitFor(async () => expect((await fetch(request.url, { redirect: 'manual' })).status).toBe(400));

  const before = await signIn(server.issuer);
  hints['under a key that was revoked'] = before.tokens.id_token;
  await revokeActiveKey(server);

  ({ agent, tokens: own } = await signIn(server.issuer));
  const [header, payload, signature] = own.id_token!.split('.') as [string, string, string];
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  Object.assign(hints, {
    'that is no token': 'nonsense',
    'that is empty': 'e30.e30.',
    'with another signature': `${header}.${payload}.AAAA`,
    'without its signature': `${header}.${payload}.`,
    'with other contents': `${header}.${encode({ ...claims, sub: 'somebody' })}.${signature}`,
    'whose audience is a list': `${header}.${encode({ ...claims, aud: ['spa'] })}.${signature}`,
    'whose audience is an object': `${header}.${encode({ ...claims, aud: {} })}.${signature}`,
    'whose audience has a null character': `${header}.${encode({ ...claims, aud: '\0' })}.${signature}`,
    'that is an access token': own.access_token!,
    'that is a refresh token': own.refresh_token!,
    'with white space': ` ${own.id_token} `,
  });
  const anothers = new UserAgent(server.issuer);
  const page = await anothers.visit(authorizationRequest(server.issuer).url);
  await anothers.submit(page, grace);
  other = (await signIn(server.issuer, { agent: anothers })).tokens.id_token;
});
afterAll(() => server.close());

const endSession = (parameters: Record<string, string>) => `/session/end?${new URLSearchParams(parameters)}`;

async function silently(hint: string): Promise<URLSearchParams> {
  const { headers } = await agent.request(
    authorizationRequest(server.issuer, {
      prompt: 'none',
      id_token_hint: hint,
    }).url,
  );
  return new URL(headers.get('location')!).searchParams;
}

describe('a hint that cannot be verified', () => {
  const kinds = [
    'for an application that is gone',
    'under a key that was revoked',
    'that is no token',
    'that is empty',
    'with another signature',
    'without its signature',
    'with other contents',
    'whose audience is a list',
    'whose audience is an object',
    'whose audience has a null character',
    'that is an access token',
    'that is a refresh token',
    'with white space',
  ];

  test.each(kinds)('%s: the sign-out page, without a way back; and a silent sign-in by the session', async (kind) => {
    const hint = hints[kind]!;
    const page = await agent.request(endSession({ id_token_hint: hint, post_logout_redirect_uri: after, state: 'x' }));
    expect([page.status, textOf(page.body, 'h1')]).toEqual([200, 'Sign out?']);
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self';");
    expect((await silently(hint)).get('code')).toBeTruthy();
  });

  test('leads nowhere, whatever address it came with', async () => {
    const { agent: leaving } = await signIn(server.issuer);
    const asked = endSession({ id_token_hint: hints['with another signature']!, post_logout_redirect_uri: after });
    const done = await leaving.submit(await leaving.visit(asked), { logout: 'yes' });
    expect([done.status, textOf(done.body, 'h1')]).toEqual([200, 'You are signed out']);
  });

  test('beside the name of the application it is as if it had not come: the application may be returned to', async () => {
    const { agent: leaving } = await signIn(server.issuer);
    const asked = endSession({ id_token_hint: 'nonsense', client_id: 'spa', post_logout_redirect_uri: after });
    const done = await leaving.submit(await leaving.visit(asked), { logout: 'yes' });
    expect(done.headers.get('location')).toBe(after);
  });
});

describe('a hint that can be verified', () => {
  test('of whoever is signed in: a code', async () => {
    expect((await silently(own.id_token!)).get('code')).toBeTruthy();
  });

  test('of somebody else: login_required (OIDC Core §3.1.2.1)', async () => {
    expect((await silently(other)).get('error')).toBe('login_required');
  });

  test('for another application: as good as none at sign-in', async () => {
    const { tokens } = await signIn(server.issuer, { agent, clientId: 'web', parameters: { scope: 'openid' } });
    expect((await silently(tokens.id_token)).get('code')).toBeTruthy();
  });

  test('is not kept with the sign-in that it begins', async () => {
    const asked = authorizationRequest(server.issuer, { id_token_hint: other });
    const { headers } = await agent.request(asked.url);
    expect(headers.get('location')).toMatch(/^\/sign-in\//);
    const { rows } = await server.store.db.query<{ payload: string }>(
      `select payload from oidc_models where model = 'Interaction'`,
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const { payload } of rows) expect(payload).not.toContain(other.slice(0, 60));
  });
});
