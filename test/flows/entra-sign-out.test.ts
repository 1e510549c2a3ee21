import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { EntraSim } from '../../entra-sim/index.ts';
import { startEntraSim } from '../../entra-sim/index.ts';
import { cookiePrefix } from '../../src/web/cookies.ts';
import { type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { returned } from '../support/pages.ts';
import { person } from '../support/signet.ts';
import { type Answer, authorizationRequest, authorize, decode, UserAgent } from '../support/user-agent.ts';

let sim: EntraSim;
beforeAll(async () => {
  sim = await startEntraSim();
});
afterAll(() => sim.close());
beforeEach(() => {
  sim.reset();
});

const silently = { prompt: 'none' };
const isSignedIn = async (world: EntraWorld, agent: UserAgent) =>
  returned((await world.arrive(silently, agent)).page).code !== undefined;

describe('E35: Microsoft signs somebody out (front channel)', () => {
  let world: EntraWorld;
  beforeAll(async () => {
    world = await startEntraWorld({ sim, entra: { recheck: { every: 0 } } });
  });
  afterAll(() => world.close());

  const sessionAt = (whom: string) => world.signIn(whom, { session: world.session() });

  test('E35 ends the session that it names and no other, and its refresh token with it', async () => {
    const [first, second] = [await sessionAt('alice'), await sessionAt('alice')];
    const answer = await sim.frontChannelLogout('alice'); // the newest session: the second one
    expect(answer.status).toBe(200);
    expect([await isSignedIn(world, first.agent), await isSignedIn(world, second.agent)]).toEqual([true, false]);
    expect((await world.refresh(second.tokens.refresh_token)).status).toBe(400);
    expect((await world.refresh(first.tokens.refresh_token)).status).toBe(200);
    const { sub } = decode(second.tokens.id_token).payload;
    await vi.waitFor(async () => {
      const [ended] = await world.server.store.audit.list({ event: 'session.ended', subject: sub });
      expect(ended).toMatchObject({ actor: 'entra' });
    });
  });

  test('E35 revokes what ended with it: its grant is gone, and its access tokens are in the status list', async () => {
    const { tokens } = await sessionAt('bob');
    const { sub, jti } = decode(tokens.access_token).payload;
    await sim.frontChannelLogout('bob');
    expect(await world.server.store.grants.list(sub)).toEqual([]);
    const { rows } = await world.server.store.db.query<{ grant_id: string }>('select grant_id from revoked_statuses');
    expect(rows.map(({ grant_id: id }) => id)).toContain(String(jti).split('.')[0]);
  });

  test('E35 leaves an application on a device, which goes on without the session', async () => {
    const parameters = { client_id: 'device', redirect_uri: 'com.example.desktop:/callback' };
    const { tokens } = await world.signIn('alice', { parameters });
    await sim.frontChannelLogout('alice');
    expect((await world.refresh(tokens.refresh_token, 'device')).status).toBe(200);
  });

  test('E35 keeps Microsoft’s refresh token for what goes on, and for nothing else', async () => {
    const checking = await startEntraWorld();
    const kept = async (tokens: Record<string, any>) => {
      const {
        rows: [row],
      } = await checking.server.store.db.query<{ sealed_refresh_token: string | null }>(
        'select sealed_refresh_token from upstream_sessions where account_id = $1 order by checked_at desc limit 1',
        [decode(tokens.access_token).payload.sub],
      );
      return row!.sealed_refresh_token !== null;
    };
    const { tokens } = await checking.signIn('alice', { session: checking.session() });
    await checking.sim.frontChannelLogout('alice');
    const parameters = { client_id: 'device', redirect_uri: 'com.example.desktop:/callback' };
    const { tokens: device } = await checking.signIn('bob', { session: checking.session(), parameters });
    await checking.sim.frontChannelLogout('bob');
    expect([await kept(tokens), await kept(device)]).toEqual([false, true]);
    await checking.close();
  });

  test('E35 says the same whatever there was to end: known, unknown, none, twice, repeated', async () => {
    await sessionAt('alice');
    const stable = ({ status, headers, body }: { status: number; headers: object; body: string }) => ({
      status,
      body,
      headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !['date', 'x-request-id'].includes(name))),
    });
    const known = stable(await sim.frontChannelLogout('alice'));
    for (const sid of ['with', 'without', 'wrong', 'twice'] as const) {
      expect(stable(await sim.frontChannelLogout('alice', { sid })), sid).toEqual(known);
    }
    const odd = await new UserAgent(world.server.issuer).request(
      `/sign-in/entra/frontchannel-logout?sid=${'x'.repeat(5000)}`,
    );
    expect(odd.status).toBe(200);
  });

  test('E35 ends nothing for a sid of nobody, without one, or given twice', async () => {
    const { agent } = await sessionAt('alice');
    for (const sid of ['without', 'wrong', 'twice'] as const) await sim.frontChannelLogout('alice', { sid });
    expect(await isSignedIn(world, agent)).toBe(true);
  });

  test('E35 ends nothing that is another identity provider’s: a sid is one connector’s own', async () => {
    const { agent, tokens } = await sessionAt('alice');
    const { rowCount } = await world.server.store.db.query(
      "update upstream_sessions set method = 'another' where account_id = $1 and upstream_sid = $2",
      [decode(tokens.access_token).payload.sub, sim.sessions.at(-1)!.sid],
    );
    expect(rowCount).toBe(1);
    expect((await sim.frontChannelLogout('alice')).status).toBe(200);
    expect(await isSignedIn(world, agent)).toBe(true);
  });

  test('E35 waits for nothing remote: it asks Microsoft nothing, which may be out of reach', async () => {
    const { agent, tokens } = await sessionAt('bob');
    const { sid } = sim.sessions.at(-1)!;
    sim.log.clear();
    sim.fault('any', { hang: 'before-headers' });
    const answer = await fetch(`${world.server.issuer}/sign-in/entra/frontchannel-logout?sid=${sid}`);
    expect(answer.status).toBe(200);
    expect((await world.refresh(tokens.refresh_token)).status).toBe(400);
    expect(await isSignedIn(world, agent)).toBe(false);
    expect(sim.requests()).toEqual([]);
  });

  test('E35 may be framed by the login host and by nobody else, is kept by no cache, and sets no cookie', async () => {
    await sessionAt('alice');
    const { headers } = await sim.frontChannelLogout('alice');
    expect(headers['content-security-policy']).toContain('frame-ancestors https://login.microsoftonline.com');
    expect(headers).not.toHaveProperty('x-frame-options');
    expect(headers).not.toHaveProperty('set-cookie');
    expect(headers['cache-control']).toBe('no-store');
  });

  test('E35 is a GET: a POST ends nothing', async () => {
    const { agent } = await sessionAt('alice');
    const { sid } = sim.sessions.at(-1)!;
    const answer = await new UserAgent(world.server.issuer).request(`/sign-in/entra/frontchannel-logout?sid=${sid}`, {
      form: { sid },
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(await isSignedIn(world, agent)).toBe(true);
  });

  test('E35 from one address, no more often than an office could: then it is asked to wait', async () => {
    const ask = () => fetch(`${world.server.issuer}/sign-in/entra/frontchannel-logout?sid=guess`);
    const statuses = await Promise.all(Array.from({ length: 150 }, async () => (await ask()).status));
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
  });
});

describe('E36: somebody who signed in with Microsoft signs out here', () => {
  const worlds = new Map<string, EntraWorld>();
  beforeAll(async () => {
    for (const propagate of ['never', 'ask', 'always']) {
      worlds.set(propagate, await startEntraWorld({ sim, entra: { logout: { propagate }, label: 'Contoso' } }));
    }
  });
  afterAll(async () => {
    for (const world of worlds.values()) await world.close();
  });

  const back = 'https://app.example.com/';

  /** The page that asks, and what its buttons do. */
  async function atSignOut(agent: UserAgent) {
    const query = new URLSearchParams({ client_id: 'spa', post_logout_redirect_uri: back, state: 's1' });
    const page = await agent.visit(`/session/end?${query}`);
    expect(page.status).toBe(200);
    return { page, press: (logout: string) => agent.submit(page, { logout }) };
  }

  async function signedInTo(propagate: string) {
    const world = worlds.get(propagate)!;
    const session = world.session();
    const signedIn = await world.signIn('alice', { session });
    return { world, session, ...signedIn, ...(await atSignOut(signedIn.agent)) };
  }

  const goesHome = ({ url }: Answer) => expect(url).toBe(`${back}?state=s1`);

  test('E36 never: straight back to the application; the page names the person and no Microsoft', async () => {
    const { page, press } = await signedInTo('never');
    expect(page.body).toContain(sim.user('alice').mail);
    expect(page.body).not.toContain('Contoso');
    goesHome(await press('yes'));
  });

  test.each([
    ['never', 303, 'https://app.example.com'],
    ['ask', 200, ''],
    ['always', 303, 'https://login.microsoftonline.com'],
  ])(
    'E36 %s: with an ID token of this session nothing is asked, but where there is a choice',
    async (propagate, status, origin) => {
      const world = worlds.get(propagate)!;
      const { agent, tokens } = await world.signIn('alice');
      const query = new URLSearchParams({
        id_token_hint: tokens.id_token,
        post_logout_redirect_uri: back,
        state: 's1',
      });
      const answer = await agent.request(`/session/end?${query}`);
      expect(answer.status).toBe(status);
      if (status === 200) expect(answer.body).toContain('Sign out here and at Contoso');
      else expect(new URL(answer.headers.get('location')!).origin).toBe(origin);
    },
  );

  test('E36 ask: the page has a button for each; the plain one goes straight back', async () => {
    const { page, press } = await signedInTo('ask');
    expect(page.body).toContain('Sign out here and at Contoso');
    goesHome(await press('yes'));
  });

  test.each([
    ['ask', 'everywhere'],
    ['always', 'yes'],
  ])('E36 %s: by way of Microsoft, where the session ends, back to the application', async (propagate, button) => {
    const { world, agent, press, session } = await signedInTo(propagate);
    expect(sim.sessions).toHaveLength(1);
    const left = await press(button);
    const target = new URL(left.url);
    expect(target.origin + target.pathname).toBe(
      `https://login.microsoftonline.com/${sim.app.home.id}/oauth2/v2.0/logout`,
    );
    expect(Object.fromEntries(target.searchParams)).toEqual({
      post_logout_redirect_uri: `${world.server.issuer}/sign-in/entra/signed-out`,
      logout_hint: expect.stringMatching(/^O\./),
    });
    expect(left.url).not.toContain(encodeURIComponent(sim.user('alice').upn));
    expect(await isSignedIn(world, agent)).toBe(false);

    const page = await (await session.request(left.url)).text();
    expect(sim.sessions).toHaveLength(0);
    const next = /id="next" href="([^"]*)"/.exec(page)![1]!;
    goesHome(await agent.visit(next));
  });

  test('E36 always, and Microsoft is down: the session here has ended all the same', async () => {
    const { world, agent, press } = await signedInTo('always');
    await sim.stop();
    await press('yes');
    expect(await isSignedIn(world, agent)).toBe(false);
    await sim.restart();
  });

  test('E36 the way back leads nowhere but where the sign-out was going', async () => {
    const { world, agent, press } = await signedInTo('always');
    await press('yes');
    const stranger = await new UserAgent(world.server.issuer).visit('/sign-in/entra/signed-out');
    expect(stranger.body).toContain('You are signed out');
    goesHome(await agent.visit('/sign-in/entra/signed-out'));
    expect((await agent.visit('/sign-in/entra/signed-out')).body).toContain('You are signed out');
    const forged = await fetch(`${world.server.issuer}/sign-in/entra/signed-out`, {
      redirect: 'manual',
      headers: { Cookie: `${cookiePrefix(world.server.issuer)}after_sign_out=https://evil.example/` },
    });
    expect(forged.headers.get('location')).toBe(`${world.server.issuer}/session/end/success`);
  });

  test('E36 somebody with a password is not sent to Microsoft, and the page says who is signed in', async () => {
    const world = worlds.get('always')!;
    const agent = new UserAgent(world.server.issuer);
    await authorize(agent, authorizationRequest(world.server.issuer).url);
    const page = await agent.visit('/session/end');
    expect(page.body).toContain(`<b>${person.email}</b>`);
    expect((await agent.submit(page, { logout: 'yes' })).body).toContain('You are signed out');
  });

  test('E36 a change of persons is no sign-out: nobody is sent to Microsoft on the way', async () => {
    const world = worlds.get('always')!;
    const agent = new UserAgent(world.server.issuer);
    await world.signIn('alice', { agent });
    const { page } = await world.arrive({ prompt: 'login' }, agent);
    let answer = await agent.submit(page, person);
    const asks = answer.body.includes('op.logoutForm') || answer.body.includes('name="xsrf"');
    if (asks) answer = await agent.submit(answer, {});
    expect(answer.url).not.toContain('login.microsoftonline.com');
    expect(returned(answer).code).toBeDefined();
  });
});
