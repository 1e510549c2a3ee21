// What anybody can make a server keep, who has neither an account nor an application.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, authorize, signIn, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

const rows = async () =>
  (
    await server.store.db.query<{ model: string; payload: string; expires_at: number }>(
      'select model, payload, expires_at from oidc_models where account_id is null and consumed_at is null',
    )
  ).rows;

test('what a stranger leaves behind is gone within the hour, and small', async () => {
  const long = 'x'.repeat(2048);
  for (const path of [
    '/session/end',
    `/session/end?state=${long}`,
    `/session/end?client_id=spa&state=${long}`,
    authorizationRequest(server.issuer).url,
    authorizationRequest(server.issuer, { state: long, nonce: long, login_hint: long }).url,
  ])
    expect((await new UserAgent(server.issuer).request(path)).status, path.slice(0, 80)).toBeLessThan(400);
  const left = await rows();
  expect(new Set(left.map(({ model }) => model))).toEqual(new Set(['Interaction', 'Session']));
  for (const { model, payload, expires_at: expiresAt } of left) {
    expect(payload.length, model).toBeLessThan(10_000);
    expect(expiresAt - Date.now(), model).toBeLessThanOrEqual((model === 'Session' ? 10 : 60) * 60_000);
  }
});

describe('a request with more than that', () => {
  const parameters: Array<[string, number]> = [
    ['state', 8192],
    ['scope', 4096],
    ['nonce', 2048],
    ['login_hint', 2048],
    ['domain_hint', 2048],
    ['ui_locales', 2048],
    ['display', 2048],
    ['resource', 2048],
    ['code_challenge', 2048],
    ['acr_values', 2048],
  ];
  test.each(parameters)('in %s is refused, and nothing is kept', async (name, most) => {
    const before = (await rows()).length;
    const asked = authorizationRequest(server.issuer, { [name]: 'x'.repeat(most + 1) }).url;
    const { status, headers } = await new UserAgent(server.issuer).request(asked);
    const told = new URL(headers.get('location')!).searchParams;
    expect([status, told.get('error'), told.get('error_description')]).toEqual([
      303,
      'invalid_request',
      `${name} is longer than ${most} characters`,
    ]);
    expect((await rows()).length).toBe(before);
  });

  test('in all of them together is refused, and nothing is kept', async () => {
    const before = (await rows()).length;
    const long = 'x'.repeat(2048);
    const asked = authorizationRequest(server.issuer, {
      state: long,
      nonce: long,
      login_hint: long,
      domain_hint: long,
      ui_locales: long,
      display: long,
    });
    const { headers } = await new UserAgent(server.issuer).request(asked.url);
    expect(new URL(headers.get('location')!).searchParams.get('error_description')).toBe(
      'the parameters are longer than 12288 characters together',
    );
    expect((await rows()).length).toBe(before);
  });

  test('is refused at sign-out too, and both refusals are in the trail', async () => {
    const before = (await rows()).length;
    const [signOut, signInAnswer] = [
      await new UserAgent(server.issuer).request(`/session/end?state=${'x'.repeat(14_000)}`),
      await new UserAgent(server.issuer).request(`/auth?client_id=spa&state=${'x'.repeat(14_000)}`),
    ];
    expect([signOut.status, signInAnswer.status, (await rows()).length]).toEqual([400, 400, before]);
    await vi.waitFor(
      async () => {
        const refused = async (event: string) =>
          (await server.store.audit.list({ event })).map(({ detail }) => detail.error);
        expect(await refused('session.end_refused')).toContain('invalid_request');
        expect(await refused('authorization.refused')).toContain('invalid_request');
      },
      { timeout: 5_000 },
    );
  });
});

describe('a session in which somebody is signed in', () => {
  const session = async () =>
    (
      await server.store.db.query<{ id: string; payload: string; expires_at: number }>(
        `select id, payload, expires_at from oidc_models where model = 'Session' and account_id is not null
     and consumed_at is null`,
      )
    ).rows;

  test('ends so long after the sign-in, however it is used; another sign-in begins it anew', async () => {
    await server.store.db.query(`delete from oidc_models where model = 'Session'`);
    const { agent } = await signIn(server.issuer);
    const life = server.config.session.life * 1000;
    const [first] = await session();
    expect(Math.abs(first!.expires_at - Date.now() - life)).toBeLessThan(5_000);

    // A day later it is used again.
    const day = 86_400;
    const { signedInAt, exp, ...rest } = JSON.parse(first!.payload);
    await server.store.db.query(
      `update oidc_models set payload = $2, expires_at = $3 where model = 'Session' and id = $1`,
      [
        first!.id,
        JSON.stringify({ ...rest, signedInAt: signedInAt - day, exp: exp - day }),
        first!.expires_at - day * 1000,
      ],
    );
    await authorize(agent, authorizationRequest(server.issuer, { prompt: 'none' }).url);
    const [used] = await session();
    expect(Math.abs(used!.expires_at - Date.now() - life + day * 1000)).toBeLessThan(5_000);

    await authorize(agent, authorizationRequest(server.issuer, { prompt: 'login' }).url);
    const [renewed] = await session();
    expect(Math.abs(renewed!.expires_at - Date.now() - life)).toBeLessThan(5_000);
  });
});
