import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createVerifier } from '../../src/verifier/index.ts';
import { type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { returned } from '../support/pages.ts';
import { ordersApi } from '../support/signet.ts';
import { asClient, decode, redemption, signIn, tokenRequest, type UserAgent } from '../support/user-agent.ts';

const groupOfClerks = 'c1e4c500-0000-4000-8000-000000000001';
const every = 900;
const grace = 8 * 3600;

let world: EntraWorld;
beforeAll(async () => {
  world = await startEntraWorld({
    entra: {
      recheck: { every: '15m', grace: '8h' },
      roles: { appRoles: { Reader: ['reader'], Writer: ['writer'] }, groups: { [groupOfClerks]: ['clerk'] } },
    },
  });
});
afterAll(() => world.close());
beforeEach(() => {
  world.sim.reset();
});

const request = { scope: 'openid email roles orders:read', resource: ordersApi };
let people = 0;

async function someone(parameters: Record<string, string> = {}) {
  people += 1;
  const user = world.sim.tenant('contoso').addUser(`user${people}`, { groups: [groupOfClerks], roles: ['Reader'] });
  const whom = `contoso/${user.key}`;
  const signedIn = await world.signIn(whom, { parameters: { ...request, ...parameters } });
  const { sub } = decode(signedIn.tokens.id_token).payload;
  return { ...signedIn, user, whom, sub: sub as string };
}

/** As if the last word from Microsoft were this old. */
async function letPass(sub: string, seconds: number): Promise<void> {
  const { rowCount } = await world.server.store.db.query(
    'update upstream_sessions set checked_at = checked_at - $2 where account_id = $1',
    [sub, seconds * 1000],
  );
  expect(rowCount).toBe(1);
}

/** What a service makes of an access token that it sees now, with the status list as it is now. */
async function seenByService(accessToken: string): Promise<string> {
  const verifier = createVerifier({ issuer: world.server.issuer, audience: ordersApi });
  try {
    return await verifier.verify(accessToken).then(
      () => 'accepted',
      (error: { code: string }) => error.code,
    );
  } finally {
    verifier.close();
  }
}

/** What an application does whose refresh token is worthless: asks anew, and the person notices nothing. */
async function signInSilently(agent: UserAgent) {
  const arrival = await world.arrive({ ...request, ...silently }, agent);
  const redeemed = redemption(arrival.request, String(returned(arrival.page).code));
  return (await tokenRequest(world.server.issuer, redeemed, asClient('spa'))).body;
}

const asked = () => world.sim.requests('token').filter(({ grant }) => grant === 'refresh_token').length;
const silently = { prompt: 'none' };

describe('E33: a person refreshes', () => {
  test('E33 within the interval Microsoft is not asked; after it, once, however many tabs refresh', async () => {
    const { tokens, sub } = await someone();
    const { body } = await world.refresh(tokens.refresh_token);
    expect(asked()).toBe(0);
    await letPass(sub, every);
    const answers = await Promise.all(Array.from({ length: 4 }, () => world.refresh(body.refresh_token)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(asked()).toBe(1);
    expect((await world.refresh(answers[0]!.body.refresh_token)).status).toBe(200);
    expect(asked()).toBe(1);
  });

  test('E33 the refresh token that Microsoft gave in exchange is the one that is used the next time', async () => {
    world.sim.habits.usedRefreshTokensStayValid = false;
    let { tokens, sub } = await someone();
    for (let time = 0; time < 3; time += 1) {
      await letPass(sub, every);
      const { status, body } = await world.refresh(tokens.refresh_token);
      expect(status).toBe(200);
      tokens = body;
    }
    expect(asked()).toBe(3);
  });

  test('E33 renamed, and given a role more: the next token says so', async () => {
    const { tokens, sub, user } = await someone();
    expect(decode(tokens.access_token).payload.roles).toEqual(['clerk', 'reader']);
    user.roles(['Reader', 'Writer']).rename('Another Name').email(`${user.key}-new@contoso.example`);
    await letPass(sub, every);
    const { body } = await world.refresh(tokens.refresh_token);
    expect(decode(body.access_token).payload.roles).toEqual(['clerk', 'reader', 'writer']);
    expect(decode(body.id_token).payload).toMatchObject({ sub, email: `${user.key}-new@contoso.example` });
    expect([await seenByService(tokens.access_token), await seenByService(body.access_token)]).toEqual([
      'accepted',
      'accepted',
    ]);
    const [change] = await world.server.store.audit.list({ event: 'account.mapped_roles_set', subject: sub });
    expect(change).toMatchObject({
      detail: { before: ['clerk', 'reader'], mappedRoles: ['clerk', 'reader', 'writer'] },
    });
  });

  test.each([
    ['a group', (user: any) => user.groups([])],
    ['an app role', (user: any) => user.roles([])],
  ])('E33 no more in %s: old tokens are refused at once, new ones come silently', async (_what, change) => {
    const { tokens, sub, user, agent } = await someone();
    expect(await seenByService(tokens.access_token)).toBe('accepted');
    change(user);
    await letPass(sub, every);
    const { status, body } = await world.refresh(tokens.refresh_token);
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
    expect(await seenByService(tokens.access_token)).toBe('revoked');
    await vi.waitFor(async () => {
      const [refused] = await world.server.store.audit.list({ event: 'token.refused', subject: sub });
      expect(refused).toMatchObject({ detail: { reason: 'the grant has ended' } });
    });

    const fresh = await signInSilently(agent);
    expect(decode(fresh.access_token).payload.roles).toHaveLength(1);
    expect(await seenByService(fresh.access_token)).toBe('accepted');
    const next = await world.refresh(fresh.refresh_token);
    expect([next.status, await seenByService(next.body.access_token)]).toEqual([200, 'accepted']);
  });

  test('E33 a role is lost while other applications refresh: whoever is given tokens is given good ones', async () => {
    const { tokens, sub, user, agent } = await someone();
    const parameters = { client_id: 'device', redirect_uri: 'com.example.desktop:/callback', ...request };
    const device = await world.signIn(`contoso/${user.key}`, { parameters });
    user.groups([]);
    await world.server.store.db.query(
      'update upstream_sessions set checked_at = checked_at - $2 where account_id = $1',
      [sub, every * 1000],
    );
    const answers = await Promise.all([
      world.refresh(tokens.refresh_token),
      world.refresh(tokens.refresh_token),
      world.refresh(device.tokens.refresh_token, 'device'),
    ]);
    for (const { status, body } of answers) {
      if (status === 200) expect(await seenByService(body.access_token)).toBe('accepted');
      else expect([status, body.error]).toEqual([400, 'invalid_grant']);
    }
    for (const old of [tokens, device.tokens]) expect(await seenByService(old.access_token)).toBe('revoked');
    expect(await seenByService((await signInSilently(agent)).access_token)).toBe('accepted');
  });

  test.each([
    ['disabled', (user: any) => user.disable()],
    ['deleted', (user: any) => user.delete()],
    ['no longer assigned to the application', (user: any) => user.unassign(world.sim.app)],
    [
      'whose sessions an administrator revoked, or who changed the password (50173)',
      (user: any) => user.revokeSessions(),
    ],
    ['kept out by Conditional Access (53003)', (user: any) => user.refuse(53003)],
    ['of whom Microsoft wants another proof (50076)', (user: any) => user.refuse(50076)],
    ['whose sign-in frequency is over (70043)', (user: any) => user.refuse(70043)],
    ['whose refresh token has expired (700082)', (user: any) => user.refuse(700082)],
  ])('E33 %s: refused, and the session and the grant are over', async (_what, change) => {
    const { tokens, sub, user, agent } = await someone();
    change(user);
    await letPass(sub, every);
    const { status, body } = await world.refresh(tokens.refresh_token);
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
    // What was issued before is refused by whoever reads the status list, and nothing is left to begin anew from.
    expect(await seenByService(tokens.access_token)).toBe('revoked');
    expect(await world.server.store.grants.list(sub)).toEqual([]);
    expect(returned((await world.arrive(silently, agent)).page).error).toBe('login_required');
    user.refuse(undefined).enable();
    expect((await world.refresh(tokens.refresh_token)).status).toBe(400);
    await vi.waitFor(async () => {
      expect(await world.server.store.audit.list({ event: 'upstream.ended', subject: sub })).toHaveLength(1);
    });
  });

  test('E33 somebody else’s identity in the answer: revoked, and an alarm', async () => {
    const { tokens, sub } = await someone();
    await letPass(sub, every);
    world.sim.nextIdToken({ claims: { oid: world.sim.user('alice').oid } });
    expect((await world.refresh(tokens.refresh_token)).body.error).toBe('invalid_grant');
    expect(await world.server.store.grants.list(sub)).toEqual([]);
    expect(world.server.logged()).toContain('"level":"error","event":"entra.');
  });

  test.each(['rogue', 'none', 'tampered'] as const)('E33 a forged answer (%s) ends it, too', async (sign) => {
    const { tokens, sub } = await someone();
    await letPass(sub, every);
    world.sim.nextIdToken({ sign, claims: { roles: ['Admin'] } });
    expect((await world.refresh(tokens.refresh_token)).status).toBe(400);
    expect(await world.server.store.grants.list(sub)).toEqual([]);
  });

  test('E33 an application on a device, whose access outlives the session, ends with the person too', async () => {
    const { tokens, sub, user } = await someone({ client_id: 'device', redirect_uri: 'com.example.desktop:/callback' });
    user.disable();
    await letPass(sub, every);
    expect((await world.refresh(tokens.refresh_token, 'device')).body.error).toBe('invalid_grant');
  });

  test('E33 a person is disabled here while Microsoft still knows them: refused', async () => {
    const { tokens, sub } = await someone();
    await world.server.store.accounts.setDisabled(sub, true, 'test');
    expect((await world.refresh(tokens.refresh_token)).status).toBe(400);
  });

  test('E33 a person with a password is not asked about at Microsoft', async () => {
    const { tokens } = await signIn(world.server.issuer);
    expect((await world.refresh(tokens.refresh_token)).status).toBe(200);
    expect(asked()).toBe(0);
  });
});

describe('E33: a session is used for another sign-in', () => {
  test('E33 the person is disabled meanwhile: a new sign-in is asked for', async () => {
    const { sub, user, agent } = await someone();
    expect(returned((await world.arrive(silently, agent)).page).code).toBeDefined();
    user.disable();
    await letPass(sub, every);
    expect(returned((await world.arrive(silently, agent)).page).error).toBe('login_required');
    expect((await world.arrive({}, agent)).page.body).toContain('name="password"');
  });

  test('E33 the person has a role less: the old tokens are refused, and the new ones are good', async () => {
    const { tokens, sub, user, agent } = await someone();
    user.groups([]);
    await letPass(sub, every);
    const fresh = await signInSilently(agent);
    expect(decode(fresh.access_token).payload.roles).toEqual(['reader']);
    expect([await seenByService(tokens.access_token), await seenByService(fresh.access_token)]).toEqual([
      'revoked',
      'accepted',
    ]);
    expect((await world.refresh(fresh.refresh_token)).status).toBe(200);
  });
});

describe('E33: Microsoft cannot be asked', () => {
  test('E33 within the grace people go on, and with the roles they had', async () => {
    const { tokens, sub, agent } = await someone();
    await letPass(sub, every + grace - 60);
    await world.sim.stop();
    const { status, body } = await world.refresh(tokens.refresh_token);
    expect(status).toBe(200);
    expect(decode(body.access_token).payload.roles).toEqual(['clerk', 'reader']);
    expect(returned((await world.arrive(silently, agent)).page).code).toBeDefined();
    await world.sim.restart();
  });

  test('E33 after it they are told to try later; the refresh token is good once Microsoft answers', async () => {
    const { tokens, sub, agent } = await someone();
    await letPass(sub, every + grace + 60);
    await world.sim.stop();
    const { status, body } = await world.refresh(tokens.refresh_token);
    expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
    expect(returned((await world.arrive(silently, agent)).page).error).toBe('login_required');
    expect(await world.server.store.grants.list(sub)).toHaveLength(1);
    await world.sim.restart();
    await vi.waitFor(
      async () => {
        expect((await world.refresh(tokens.refresh_token)).status).toBe(200);
      },
      { timeout: 20_000, interval: 500 },
    );
  }, 30_000);

  test.each([
    ['a 500', { status: 500, body: {} }],
    ['a 429', { status: 429, body: {}, retryAfter: 30 }],
    ['the page of some proxy', { status: 200, body: '<h1>Welcome to the guest network</h1>' }],
    ['an answer of more than a megabyte', { status: 200, body: 'x'.repeat(1_200_000) }],
    ['an empty answer', { status: 200, body: {} }],
    ['a redirect to a page about maintenance', { redirectTo: 'https://maintenance.example/', status: 302 }],
    ['an expired client secret', { aadsts: 7000222 }],
  ])('E33 %s is nobody’s end', async (_what, fault) => {
    const { tokens, sub, user } = await someone();
    await letPass(sub, every);
    world.sim.fault('token', { ...fault, when: { user: user.key } });
    expect((await world.refresh(tokens.refresh_token)).status).toBe(200);
    expect(asked()).toBe(1);
  });
});

describe('E33: Microsoft gave no refresh token', () => {
  test('E33 who can never be asked about signs in anew when a check is due, and the log warns at sign-in', async () => {
    world.sim.nextTokenResponse({ drop: ['refresh_token'] });
    const { tokens, sub, agent, whom } = await someone();
    const warnings = world.server
      .logged()
      .split('\n')
      .filter((line) => line.includes('"entra.no_refresh_token"'));
    expect(warnings).toHaveLength(1);
    expect(JSON.parse(warnings[0]!)).toMatchObject({ level: 'warn', hint: expect.stringContaining('offline_access') });
    await letPass(sub, every - 60);
    const { status, body } = await world.refresh(tokens.refresh_token);
    expect(status).toBe(200);

    await letPass(sub, 60);
    expect((await world.refresh(body.refresh_token)).body.error).toBe('invalid_grant');
    expect(await seenByService(body.access_token)).toBe('revoked');
    expect(returned((await world.arrive(silently, agent)).page).error).toBe('login_required');
    expect(asked()).toBe(0);
    await vi.waitFor(async () => {
      const [ended] = await world.server.store.audit.list({ event: 'upstream.ended', subject: sub });
      expect(ended).toMatchObject({ detail: { reason: 'no_refresh_token' } });
    });
    const anew = await world.signIn(whom, { agent, parameters: request });
    expect(await seenByService(anew.tokens.access_token)).toBe('accepted');
  });
});

describe('E33: what is kept', () => {
  test('E33 Microsoft’s refresh token is sealed', async () => {
    const { sub } = await someone();
    const {
      rows: [row],
    } = await world.server.store.db.query<{ sealed_refresh_token: string }>(
      'select sealed_refresh_token from upstream_sessions where account_id = $1',
      [sub],
    );
    expect(row!.sealed_refresh_token).toMatch(/^v1\./);
  });
});
