import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { problemOn, returned } from '../support/pages.ts';
import { freePort } from '../support/ports.ts';
import { declared, ordersApi, person, secret } from '../support/signet.ts';
import { asClient, askUserinfo, decode, tokenRequest, type UserAgent } from '../support/user-agent.ts';

type Health = { entra: { state: string } };

describe('E37: Microsoft is down', () => {
  let world: EntraWorld;
  let tokens: Record<string, any>;
  let alice: UserAgent;
  let bobs: string;
  let operator: string;
  beforeAll(async () => {
    const port = await freePort();
    const issuer = `http://localhost:${port}`;
    const administration = { [`${issuer}/admin`]: ['admin:read', 'admin:write'] };
    const applications = [
      ...declared.applications,
      { clientId: 'orders', name: 'Orders API', type: 'service', secret, introspects: [ordersApi] },
      { clientId: 'operator', name: 'Operator', type: 'service', secret, access: administration },
    ];
    world = await startEntraWorld({ values: { issuer, listen: { port, host: '127.0.0.1' }, applications } });
    const parameters = { scope: 'openid email orders:read', resource: ordersApi };
    ({ tokens, agent: alice } = await world.signIn('alice', { parameters }));
    bobs = (await world.signIn('bob', { parameters })).tokens.access_token;
    const own = await tokenRequest(issuer, { grant_type: 'client_credentials' }, asClient('operator'));
    operator = own.body.access_token;
    await world.sim.stop();
  });
  afterAll(() => world.close());

  const get = (path: string) => fetch(`${world.server.issuer}${path}`);

  test.each(['/.well-known/openid-configuration', '/jwks', '/health/live', '/health/ready', '/'])(
    'E37 %s answers',
    async (path) => {
      expect((await get(path)).status).toBe(200);
    },
  );

  test('E37 people with a password sign in; services get tokens; people from Microsoft refresh', async () => {
    const { agent, page } = await world.arrive();
    expect(returned(await agent.submit(page, person)).code).toBeDefined();
    const service = await tokenRequest(world.server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    expect(service.status).toBe(200);
    await world.server.store.db.query('update upstream_sessions set checked_at = checked_at - 3600000');
    expect((await world.refresh(tokens.refresh_token)).status).toBe(200);
  });

  test('E37 userinfo knows people from Microsoft, and they sign out', async () => {
    const known = await askUserinfo(world.server.issuer, tokens.access_token);
    const { email } = (await known.json()) as { email: string };
    expect([known.status, email]).toEqual([200, world.sim.user('alice').mail]);
    const page = await alice.visit('/session/end');
    await alice.submit(page, { logout: 'yes' });
    expect(returned((await world.arrive({ prompt: 'none' }, alice)).page).error).toBe('login_required');
  });

  test('E37 introspection and the admin API answer', async () => {
    const { issuer, store } = world.server;
    const introspection = await fetch(`${issuer}/token/introspection`, {
      method: 'POST',
      headers: { Authorization: `Basic ${btoa(`orders:${secret}`)}` },
      body: new URLSearchParams({ token: bobs }),
    });
    const { sub } = decode(bobs).payload;
    expect(await introspection.json()).toMatchObject({ active: true, sub });

    const admin = async (path: string, method = 'GET') => {
      const headers = { Authorization: `Bearer ${operator}` };
      return (await fetch(`${issuer}/admin/api/v1${path}`, { method, headers })).status;
    };
    expect(await admin('/keys')).toBe(200);
    expect(await admin('/entra/refresh-keys', 'POST')).toBeLessThan(300);
    expect(await admin(`/accounts/${sub}/sign-out`, 'POST')).toBeLessThan(300);
    expect(await store.grants.list(sub)).toEqual([]);
  });

  test('E37 who comes back from Microsoft reads what is wrong, on the page where a password would do', async () => {
    await world.sim.restart();
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    world.sim.signInAs('alice');
    const given = await world.session().callback(left.url);
    await world.sim.stop();
    const answer = await agent.visit(`/sign-in/entra/callback?${given}`);
    expect([answer.status, problemOn(answer)]).toEqual([503, expect.stringContaining('not possible right now')]);
    expect(answer.body).toContain('name="password"');
  });

  test('E37 a person’s 500 and 429 are nobody else’s', async () => {
    await world.sim.restart();
    world.sim.fault('token', { status: 429, body: {}, retryAfter: 3600, when: { user: 'alice' } });
    const { agent, page } = await world.arrive();
    const refused = await world.passMicrosoft(agent, (await agent.visit(buttonOn(page))).url, 'alice');
    expect(refused.status).toBe(503);
    expect((await world.signIn('bob')).tokens.access_token).toBeDefined();
    world.sim.reset();
    await world.sim.stop();
  });

  test('E37 a server that starts now starts, and is ready', async () => {
    const cold = await startEntraWorld({ sim: world.sim });
    const ready = await fetch(`${cold.server.issuer}/health/ready`);
    expect([ready.status, ((await ready.json()) as Health).entra]).toEqual([200, { state: 'ok' }]);
    const { agent, page } = await cold.arrive();
    expect(new URL((await agent.visit(buttonOn(page))).url).host).toBe('login.microsoftonline.com');
    await cold.close();
  });
});

describe('E27: everything about Microsoft is misconfigured', () => {
  test('E27 the server starts, says so in its health, and lets a local administrator in, in any mode', async () => {
    const world = await startEntraWorld({
      entra: { clientSecret: undefined, clientSecretFile: 'no-such-file', mode: 'entra-only' },
    });
    const { accounts } = world.server.store;
    const passwordHash = await bcrypt.hash(person.password, 4);
    await accounts.create({ email: 'root@example.com', roles: ['admin'], passwordHash }, 'test');
    await vi.waitFor(async () => {
      const ready = await fetch(`${world.server.issuer}/health/ready`);
      expect([ready.status, ((await ready.json()) as Health).entra.state]).toEqual([200, 'down']);
    });
    const { agent, page } = await world.arrive();
    const failed = await agent.visit(buttonOn(page));
    expect([failed.status, problemOn(failed)]).toEqual([503, expect.stringContaining('misconfigured')]);
    const form = await agent.visit(/href="([^"]*\?local)"/.exec(failed.body)![1]!);
    expect(returned(await agent.submit(form, { ...person, email: 'root@example.com' })).code).toBeDefined();
    await world.close();
  });
});
