import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { consumersTenantId } from '../../entra-sim/index.ts';
import { engines } from '../support/engines.ts';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { problemOn, returned } from '../support/pages.ts';
import { person } from '../support/signet.ts';
import { askUserinfo, decode, UserAgent } from '../support/user-agent.ts';

let world: EntraWorld;
beforeAll(async () => {
  world = await startEntraWorld();
});
afterAll(() => world.close());

const scope = 'openid profile email roles';
const idToken = (tokens: Record<string, any>) => decode(tokens.id_token).payload;
const signIn = async (whom: string, where = world) =>
  idToken((await where.signIn(whom, { parameters: { scope } })).tokens);

let people = 0;
function newUser(fields: object = {}, tenant = 'contoso') {
  people += 1;
  return world.sim.tenant(tenant).addUser(`user${people}`, fields);
}

const bothTenants = () => ['contoso', 'fabrikam'].map((key) => world.sim.tenant(key).id);

const path = (user: { key: string; tenant: { key: string } }) => `${user.tenant.key}/${user.key}`;

describe('E28: who somebody is', () => {
  test('E28 the same person is the same subject, also when the app registration was made anew', async () => {
    const user = newUser();
    const first = await signIn(path(user));
    world.sim.nextIdToken({ claims: { sub: 'another pairwise subject' } });
    expect((await signIn(path(user))).sub).toBe(first.sub);
  });

  test('E28 the subject is ours: neither oid nor pairwise sub nor an address is in it', async () => {
    const user = newUser();
    const { sub } = await signIn(path(user));
    expect(sub).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    expect(sub).not.toBe(user.oid);
    const [identity] = await world.server.store.identities.of(sub);
    expect(identity).toMatchObject({ method: 'entra', externalId: `entra|public|${user.tenant.id}|${user.oid}` });
  });

  test('E28 one oid in two tenants is two people, and so is one address', async () => {
    const two = await startEntraWorld({
      sim: world.sim,
      entra: { tenant: 'organizations', allowedTenants: bothTenants() },
    });
    world.sim.app.audience = 'AzureADMultipleOrgs';
    const here = newUser({ email: 'same@contoso.example' });
    const there = newUser({ oid: here.oid, email: 'same@contoso.example' }, 'fabrikam');
    const [one, other] = [await signIn(path(here), two), await signIn(path(there), two)];
    expect(one.sub).not.toBe(other.sub);
    world.sim.app.audience = 'AzureADMyOrg';
    await two.close();
  });

  test('E28 two tabs at the first sign-in make one account', async () => {
    const user = newUser();
    const agents = [new UserAgent(world.server.issuer), new UserAgent(world.server.issuer)];
    const left = await Promise.all(
      agents.map(async (agent) => agent.visit(buttonOn((await world.arrive({}, agent)).page))),
    );
    const answers = await Promise.all(agents.map((agent, at) => world.passMicrosoft(agent, left[at]!.url, path(user))));
    expect(answers.map((answer) => returned(answer).code !== undefined)).toEqual([true, true]);
    const all = await world.server.store.accounts.listByEmail(user.mail!);
    expect(all).toHaveLength(1);
  });
});

describe('E29: the address', () => {
  test.each([
    [true, true],
    ['1', true],
    [1, true],
    ['true', true],
    [false, false],
    ['0', false],
    [0, false],
    [{}, false],
    [undefined, false],
  ])('E29 xms_edov %j: the address is told, in tokens and at userinfo alike: %j', async (edov, verified) => {
    const user = newUser().xmsEdov(edov);
    const { tokens } = await world.signIn(path(user), { parameters: { scope: 'openid email' } });
    const said = [
      decode(tokens.id_token).payload,
      decode(tokens.access_token).payload,
      (await (await askUserinfo(world.server.issuer, tokens.access_token)).json()) as Record<string, unknown>,
    ];
    expect(said.map(({ email }) => email)).toEqual(Array(3).fill(verified ? user.mail : undefined));
    expect([said[0]!.email_verified, said[2]!.email_verified]).toEqual(Array(2).fill(verified ? true : undefined));
  });

  test('E29 a person without an address signs in, and no UPN takes its place', async () => {
    const claims = await signIn('norma');
    expect(claims).not.toHaveProperty('email');
    expect(claims).not.toHaveProperty('email_verified');
    expect(claims.preferred_username).toBe(world.sim.user('norma').upn);
  });

  test('E29 nOAuth: whoever has the address of an account here is not that account', async () => {
    const victim = newUser({ email: person.email });
    for (const edov of [true, false]) {
      const { sub } = await signIn(path(victim.xmsEdov(edov)));
      expect(sub).not.toBe(world.server.accountId);
    }
    const { accounts } = world.server.store;
    expect((await accounts.findByEmail(person.email))!.id).toBe(world.server.accountId);
    expect(await accounts.listByEmail(person.email)).toHaveLength(2);
  });

  test('E29 nOAuth: nor is somebody with the address of somebody from another tenant', async () => {
    const two = await startEntraWorld({
      sim: world.sim,
      entra: { tenant: 'organizations', allowedTenants: bothTenants() },
    });
    world.sim.app.audience = 'AzureADMultipleOrgs';
    const alice = await signIn('alice', two);
    const mallory = await signIn('mallory', two);
    expect(mallory).not.toHaveProperty('email');
    expect(mallory).not.toHaveProperty('email_verified');
    expect(mallory.sub).not.toBe(alice.sub);
    world.sim.app.audience = 'AzureADMyOrg';
    await two.close();
  });
});

describe('E29: joining by a verified address, where the operator switched that on', () => {
  let linking: EntraWorld;
  beforeAll(async () => {
    linking = await startEntraWorld({ sim: world.sim, entra: { linkByVerifiedEmail: true } });
  });
  afterAll(() => linking.close());

  async function localAccount({ verified }: { verified: boolean }) {
    people += 1;
    return linking.server.store.accounts.create(
      {
        email: `local${people}@contoso.example`,
        emailVerified: verified,
        roles: ['clerk'],
        passwordHash: await bcrypt.hash(person.password, 4),
      },
      'test',
    );
  }

  test('E29 both sides verified: it is the account from before, with its roles and its address', async () => {
    const account = await localAccount({ verified: true });
    const user = newUser({ email: account.email.toUpperCase() }).xmsEdov(true);
    expect(await signIn(path(user), linking)).toMatchObject({
      sub: account.id,
      email: account.email,
      roles: ['clerk'],
    });
    const linked = await linking.server.store.audit.list({ event: 'identity.linked', subject: account.id });
    expect(linked[0]).toMatchObject({ detail: { method: 'entra', how: 'verified e-mail' } });
  });

  test.each([
    ['not verified by Microsoft', { local: true, entra: false }],
    ['not verified here', { local: false, entra: true }],
    ['verified by nobody', { local: false, entra: false }],
  ])('E29 %s: another account', async (_what, { local, entra }) => {
    const account = await localAccount({ verified: local });
    const { sub } = await signIn(path(newUser({ email: account.email }).xmsEdov(entra)), linking);
    expect(sub).not.toBe(account.id);
  });

  test('E29 a guest with an address in a domain of the operator’s is not whom that address belongs to', async () => {
    const trusting = await startEntraWorld({
      sim: world.sim,
      entra: { linkByVerifiedEmail: true, trustedEmailDomains: ['contoso.example'] },
    });
    const create = (email: string) =>
      trusting.server.store.accounts.create({ email, emailVerified: true, roles: ['admin'] }, 'test');
    const [victim, member] = [await create('victim@contoso.example'), await create('member@contoso.example')];
    const contoso = world.sim.tenant('contoso');
    const mallory = contoso.addGuest('mallory-guest', world.sim.user('fabrikam/mallory'));
    mallory.email(victim.email).xmsEdov(undefined);
    const came = await signIn(path(mallory), trusting);
    expect(came).not.toHaveProperty('email');
    expect(came.sub).not.toBe(victim.id);
    expect(came.roles).toEqual([]);
    expect(await trusting.server.store.identities.of(victim.id)).toEqual([]);

    const own = newUser({ email: member.email }).xmsEdov(undefined);
    expect((await signIn(path(own), trusting)).sub).toBe(member.id);
    await trusting.close();
  });

  test('E29 an account that has a Microsoft account already, or is disabled, is joined by nobody', async () => {
    const account = await localAccount({ verified: true });
    expect((await signIn(path(newUser({ email: account.email }).xmsEdov(true)), linking)).sub).toBe(account.id);
    expect((await signIn(path(newUser({ email: account.email }).xmsEdov(true)), linking)).sub).not.toBe(account.id);
    const disabled = await localAccount({ verified: true });
    await linking.server.store.accounts.setDisabled(disabled.id, true, 'test');
    expect((await signIn(path(newUser({ email: disabled.email }).xmsEdov(true)), linking)).sub).not.toBe(disabled.id);
  });
});

describe('E30: names', () => {
  test('E30 a marriage, a new UPN and a new address change the claims and not the subject', async () => {
    const user = newUser({ name: 'Mary Maiden' });
    const before = await signIn(path(user));
    expect(before).toMatchObject({
      name: 'Mary Maiden',
      given_name: 'Mary',
      family_name: 'Maiden',
      preferred_username: user.upn,
    });
    user.rename('Mary Married', 'mary.married@contoso.example').email('mary.married@contoso.example');
    expect(await signIn(path(user))).toMatchObject({
      sub: before.sub,
      name: 'Mary Married',
      given_name: 'Mary',
      family_name: 'Married',
      preferred_username: 'mary.married@contoso.example',
      email: 'mary.married@contoso.example',
    });
  });

  test('E30 amr is not claimed: what Microsoft asked for is not known', async () => {
    expect(await signIn('alice')).not.toHaveProperty('amr');
  });
});

describe('an account that may not come in', () => {
  test('is disabled here: the page says so, offers another account, and nothing is signed in', async () => {
    const user = newUser();
    const { sub } = await signIn(path(user));
    await world.server.store.accounts.setDisabled(sub, true, 'test');
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    const answer = await world.passMicrosoft(agent, left.url, path(user));
    expect([answer.status, problemOn(answer)]).toEqual([403, 'Your account here is disabled. Ask your administrator.']);
    expect(buttonOn(answer)).toMatch(/\?another$/);
    expect(agent.cookie('session')).toBeUndefined();
    const again = await agent.visit(buttonOn(answer));
    expect(new URL(again.url).searchParams.get('prompt')).toBe('select_account');
    await vi.waitFor(async () => {
      const [refused] = await world.server.store.audit.list({ event: 'signin.refused', limit: 1 });
      expect(refused).toMatchObject({ clientId: 'spa', detail: { reason: 'account_disabled', oid: user.oid } });
    });
  });

  test('a personal Microsoft account, where nobody allowed those', async () => {
    expect(world.server.config.entra!.allowedTenants).not.toContain(consumersTenantId);
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    world.sim.nextIdToken({ claims: { tid: consumersTenantId } });
    const answer = await world.passMicrosoft(agent, left.url, 'alice');
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(returned(answer)).not.toHaveProperty('code');
  });
});

describe('connecting a Microsoft account to an account of one’s own', () => {
  async function someone(where = world) {
    people += 1;
    const email = `own${people}@example.com`;
    return where.server.store.accounts.create(
      { email, roles: ['clerk'], passwordHash: await bcrypt.hash(person.password, 4) },
      'test',
    );
  }

  /** As far as Microsoft's page. */
  async function prove(email: string, password = person.password) {
    const arrival = await world.arrive({ scope });
    const link = /href="([^"]*\?connect)"/.exec(arrival.page.body)![1]!;
    const form = await arrival.agent.visit(link);
    expect(form.body).toContain('Connect your Microsoft account');
    return { ...arrival, left: await arrival.agent.submit(form, { email, password }) };
  }

  test('takes the password first, asks Microsoft which account, and from then on either way leads there', async () => {
    const [account, user] = [await someone(), newUser()];
    const { agent, left } = await prove(account.email);
    expect(new URL(left.url).searchParams.get('prompt')).toBe('select_account');
    expect(returned(await world.passMicrosoft(agent, left.url, path(user))).code).toBeDefined();
    expect(await signIn(path(user))).toMatchObject({ sub: account.id, email: account.email, roles: ['clerk'] });
    const linked = await world.server.store.audit.list({ event: 'identity.linked', subject: account.id });
    expect(linked[0]).toMatchObject({ actor: account.id, detail: { how: 'password' } });
  });

  test('with a wrong password leads nowhere', async () => {
    const { left } = await prove((await someone()).email, 'not the password');
    expect([left.status, problemOn(left)]).toEqual([400, 'That e-mail address and password do not match.']);
  });

  test('with a Microsoft account that is somebody else’s here is refused, and both stay as they were', async () => {
    const [account, user] = [await someone(), newUser()];
    const { sub } = await signIn(path(user));
    const { agent, left } = await prove(account.email);
    const answer = await world.passMicrosoft(agent, left.url, path(user));
    expect([answer.status, problemOn(answer)]).toEqual([409, expect.stringContaining('connected to another account')]);
    expect(await world.server.store.identities.of(account.id)).toEqual([]);
    expect((await signIn(path(user))).sub).toBe(sub);
  });

  test('is for the sign-in that follows: whoever takes the ordinary button afterwards is not connected', async () => {
    const [account, user] = [await someone(), newUser()];
    const { agent, page } = await prove(account.email);
    const left = await agent.visit(buttonOn(page));
    await world.passMicrosoft(agent, left.url, path(user));
    expect(await world.server.store.identities.of(account.id)).toEqual([]);
  });

  test('who types an address after somebody proved a password gets an account of their own', async () => {
    const typing = await startEntraWorld({ sim: world.sim, entra: { domains: ['contoso.example'] } });
    const [account, user] = [await someone(typing), newUser()];
    const { agent, page: first } = await typing.arrive({ scope });
    const form = await agent.visit(`${new URL(first.url).pathname}?connect`);
    const abandoned = await agent.submit(form, { email: account.email, password: person.password });
    expect(new URL(abandoned.url).searchParams.get('prompt')).toBe('select_account');

    const left = await agent.submit(await agent.visit(first.url), { email: user.mail! });
    expect(new URL(left.url).searchParams.get('prompt')).toBeNull();
    expect(returned(await typing.passMicrosoft(agent, left.url, path(user))).code).toBeDefined();
    expect(await typing.server.store.identities.of(account.id)).toEqual([]);
    const [own] = await typing.server.store.accounts.listByEmail(user.mail!);
    expect(own!.id).not.toBe(account.id);
    await typing.close();
  });

  test('is of one tab: a second one, of the same sign-in, connects nothing', async () => {
    const [account, user] = [await someone(), newUser()];
    const { agent, page, left } = await prove(account.email);
    const second = await agent.visit(buttonOn(page));
    await world.passMicrosoft(agent, second.url, path(user));
    expect(await world.server.store.identities.of(account.id)).toEqual([]);
    // The first one comes back to a sign-in that is over.
    const late = await world.passMicrosoft(agent, left.url, path(newUser()));
    expect(late.status).toBe(400);
    expect(await world.server.store.identities.of(account.id)).toEqual([]);
  });

  test('has to follow soon: a proof that was left lying for a quarter of an hour is none', async () => {
    const [account, user] = [await someone(), newUser()];
    const { agent, left } = await prove(account.email);
    await world.server.store.db.query('update entra_states set expires_at = expires_at - 900000');
    expect((await world.passMicrosoft(agent, left.url, path(user))).status).toBe(400);
    expect(await world.server.store.identities.of(account.id)).toEqual([]);
  });

  test('is over where the person was signed out everywhere in between', async () => {
    const [account, user] = [await someone(), newUser()];
    const { agent, left } = await prove(account.email);
    await world.server.store.accounts.signOut(account.id, 'test');
    const answer = await world.passMicrosoft(agent, left.url, path(user));
    expect([answer.status, problemOn(answer)]).toEqual([400, expect.stringContaining('enter your password once more')]);
    expect(await world.server.store.identities.of(account.id)).toEqual([]);
  });

  test('is not undone or repeated by signing in: the identity stays with its account', async () => {
    const [account, user] = [await someone(), newUser()];
    for (let time = 0; time < 2; time += 1) {
      const { agent, left } = await prove(account.email);
      expect(returned(await world.passMicrosoft(agent, left.url, path(user))).code).toBeDefined();
    }
    expect(await world.server.store.identities.of(account.id)).toHaveLength(1);
  });
});

describe.each(engines)('on $name', ({ freshUrl }) => {
  test('a person comes for the first time, changes, connects nothing, refreshes, signs out at Microsoft', async () => {
    const there = await startEntraWorld({
      sim: world.sim,
      database: await freshUrl(),
      entra: { recheck: { every: '1s' } },
    });
    const user = newUser();
    const { tokens } = await there.signIn(user, { parameters: { scope } });
    const { sub } = idToken(tokens);
    user.rename('Other Name');
    await there.server.store.db.query('update upstream_sessions set checked_at = checked_at - 5000');
    const { status, body } = await there.refresh(tokens.refresh_token);
    expect([status, idToken(body)]).toEqual([200, expect.objectContaining({ sub, name: 'Other Name' })]);
    const found = await there.server.store.accounts.listByEmail(user.mail!.toUpperCase());
    expect(found.map(({ id }) => id)).toEqual([sub]);
    await world.sim.frontChannelLogout(user);
    expect((await there.refresh(body.refresh_token)).status).toBe(400);
    await there.close();
  });
});
