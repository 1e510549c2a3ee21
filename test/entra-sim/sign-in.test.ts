// The simulator against msal-node in its production configuration: it must be right before it may judge.

import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { Agent, fetch } from 'undici';
import { describe, expect, test } from 'vitest';
import { consumersTenantId } from '../../entra-sim/index.ts';
import { sim, startFresh, visitor } from './fresh.ts';
import { claimsOf, createRelyingParty, createVisitor, redirectUri } from './visitor.ts';

startFresh();

const refusal = (number: number) => new RegExp(`AADSTS${number}`);
const withCertificate = (thumbprintSha256: string, privateKey: string) =>
  createRelyingParty(sim, visitor, { credential: { clientCertificate: { thumbprintSha256, privateKey } } });
const client = () => ({ client_id: sim.app.clientId, client_secret: sim.app.secret });
const token = (form: Record<string, string>) =>
  visitor.request(`https://login.microsoftonline.com/${sim.app.home.id}/oauth2/v2.0/token`, { form });

describe('msal-node with production host names', () => {
  test.each(['query', 'form_post'] as const)('signs alice in by %s', async (responseMode) => {
    const result = await createRelyingParty(sim, visitor).signIn({ responseMode });
    expect(result.account?.homeAccountId).toBe(`${sim.user('alice').oid}.${sim.tenant('contoso').id}`);
    expect(claimsOf(result.idToken)).toMatchObject({
      ver: '2.0',
      tid: sim.tenant('contoso').id,
      oid: sim.user('alice').oid,
      aud: sim.app.clientId,
      roles: ['Reader'],
      iss: `https://login.microsoftonline.com/${sim.tenant('contoso').id}/v2.0`,
      email: 'alice@contoso.example',
      preferred_username: 'alice@contoso.example',
      login_hint: expect.stringMatching(/^O\./),
      sid: expect.any(String),
    });
    expect(claimsOf(result.idToken)).not.toHaveProperty('at_hash');
    sim.log.assertOnlySeenAt('token', sim.app.secret);
    expect(sim.log.count()).toBe(2);
  });

  test('signs in with a registered certificate, twice with one assertion', async () => {
    const { thumbprintSha256, key } = await sim.app.newCertificate();
    const party = withCertificate(thumbprintSha256, key);
    await party.signIn();
    await party.signIn();
    const [first, second] = sim.requests('token').map(({ form }) => form.get('client_assertion'));
    expect(first).toBe(second);
    expect(JSON.parse(Buffer.from(first!.split('.')[0]!, 'base64url').toString())).toMatchObject({ alg: 'PS256' });
  });

  test('refuses a certificate that is unregistered or expired, and a signature by another key', async () => {
    const known = await sim.app.newCertificate();
    const unknown = await sim.app.newCertificate({ register: false });
    const expired = await sim.app.newCertificate({ expired: true });
    for (const [shown, used] of [
      [unknown, unknown],
      [expired, expired],
      [known, unknown],
    ] as const) {
      await expect(withCertificate(shown.thumbprintSha256, used.key).signIn()).rejects.toThrow(refusal(700027));
    }
    sim.app.unregisterCertificate(known.certificate);
    await expect(withCertificate(known.thumbprintSha256, known.key).signIn()).rejects.toThrow(refusal(700027));
  });

  test('refuses an assertion of a clock that is more than five minutes fast', async () => {
    const { thumbprintSha256, key } = await sim.app.newCertificate();
    const party = withCertificate(thumbprintSha256, key);
    sim.clock.skew(-360);
    await expect(party.signIn()).rejects.toThrow(refusal(700024));
  });

  test('signs in with a federated credential, and only with the registered subject', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const issuer = 'https://oidc.cluster.example';
    sim.app.federate({ issuer, subject: 'system:serviceaccount:signet:signet', publicKey });
    const assertion = (subject: string) =>
      new SignJWT({})
        .setProtectedHeader({ alg: 'RS256' })
        .setIssuer(issuer)
        .setSubject(subject)
        .setAudience('api://AzureADTokenExchange')
        .setExpirationTime('10m')
        .sign(privateKey);
    const party = (subject: string) =>
      createRelyingParty(sim, visitor, { credential: { clientAssertion: () => assertion(subject) } });
    await expect(party('system:serviceaccount:signet:signet').signIn()).resolves.toHaveProperty('idToken');
    await expect(party('system:serviceaccount:default:default').signIn()).rejects.toThrow(refusal(70021));
  });

  test('refuses a wrong, an expired and a missing secret', async () => {
    const wrong = createRelyingParty(sim, visitor, { credential: { clientSecret: 'wrong' } });
    await expect(wrong.signIn()).rejects.toThrow(refusal(7000215));
    const old = sim.app.secret;
    const party = createRelyingParty(sim, visitor);
    sim.app.expireSecret(old).addSecret();
    await expect(party.signIn()).rejects.toThrow(refusal(7000222));
    await expect(createRelyingParty(sim, visitor).signIn()).resolves.toHaveProperty('idToken');
    const answer = await token({ client_id: sim.app.clientId, grant_type: 'authorization_code', code: 'x' });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({
      error: 'invalid_client',
      error_codes: [7000218],
      trace_id: expect.any(String),
      correlation_id: expect.any(String),
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/),
      error_uri: 'https://login.microsoftonline.com/error?code=7000218',
    });
  });
});

describe('a code', () => {
  test('is redeemed once', async () => {
    const party = createRelyingParty(sim, visitor);
    const callback = await visitor.callback(await party.begin());
    await party.redeem(callback);
    await expect(party.redeem(callback)).rejects.toThrow(refusal(54005));
  });

  test('needs the verifier of its challenge', async () => {
    const party = createRelyingParty(sim, visitor);
    const callback = await visitor.callback(await party.begin());
    await expect(party.redeem(callback, { verifier: 'a'.repeat(43) })).rejects.toThrow(refusal(501481));
  });

  test('ends after ten minutes', async () => {
    const party = createRelyingParty(sim, visitor);
    const callback = await visitor.callback(await party.begin());
    sim.clock.advance(601);
    await expect(party.redeem(callback)).rejects.toThrow(refusal(70008));
  });

  test('is spent by a failed client authentication only where a test says so', async () => {
    const party = createRelyingParty(sim, visitor);
    const attempt = async () => {
      const callback = await visitor.callback(await party.begin());
      const code = callback.get('code')!;
      await token({ ...client(), client_secret: 'wrong', grant_type: 'authorization_code', code });
      return party.redeem(callback);
    };
    await expect(attempt()).resolves.toHaveProperty('idToken');
    sim.habits.failedClientAuthBurnsCode = true;
    await expect(attempt()).rejects.toThrow(refusal(54005));
  });
});

describe('a refresh token', () => {
  const verifier = 'v'.repeat(43);
  const first = async (scope = 'openid profile email offline_access') => {
    const query = new URLSearchParams({
      client_id: sim.app.clientId,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope,
      nonce: 'n',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    const url = `https://login.microsoftonline.com/${sim.app.home.id}/oauth2/v2.0/authorize?${query}`;
    const code = (await visitor.callback(url)).get('code')!;
    const answer = await token({
      ...client(),
      grant_type: 'authorization_code',
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
    });
    return (await answer.json()) as Record<string, string>;
  };
  const refresh = async (refreshToken: string) => {
    const answer = await token({ ...client(), grant_type: 'refresh_token', refresh_token: refreshToken });
    return (await answer.json()) as Record<string, any>;
  };

  test('is issued for offline_access and not otherwise', async () => {
    expect(await first('openid profile')).not.toHaveProperty('refresh_token');
    expect(await first()).toHaveProperty('refresh_token');
  });

  test('brings a new one and an ID token without nonce; the old one works on, as at Entra', async () => {
    const { refresh_token: old } = await first();
    const { refresh_token: successor, id_token } = await refresh(old!);
    expect(successor).not.toBe(old);
    expect(claimsOf(id_token)).not.toHaveProperty('nonce');
    expect(await refresh(old!)).toHaveProperty('id_token');
    sim.habits.usedRefreshTokensStayValid = false;
    await refresh(successor);
    expect(await refresh(successor)).toMatchObject({ error: 'invalid_grant', error_codes: [50173] });
  });

  test.each([
    ['disabled', 50057, () => sim.user('alice').disable(), () => sim.user('alice').enable()],
    ['unassigned', 50105, () => sim.user('alice').unassign(sim.app), () => sim.user('alice').assign(sim.app)],
    ['blocked by policy', 53003, () => sim.user('alice').refuse(53003), () => sim.user('alice').refuse(undefined)],
    ['signed out everywhere', 50173, () => sim.user('alice').revokeSessions(), () => sim.clock.advance(1)],
    ['deleted', 500341, () => sim.user('alice').delete(), () => (sim.user('alice').deleted = false)],
  ])('is refused when the person was %s', async (_, number, change, undo) => {
    const { refresh_token: refreshToken } = await first();
    change();
    expect(await refresh(refreshToken!)).toMatchObject({ error_codes: [number] });
    undo();
  });

  test('shows changes of the person: a new name and other groups under the same oid and sub', async () => {
    const before = await first();
    const alice = sim.user('alice').rename('Alice Married').groups(3);
    const after = claimsOf((await refresh(before.refresh_token!)).id_token);
    expect(after).toMatchObject({ name: 'Alice Married', groups: alice.groupIds, sub: claimsOf(before.id_token!).sub });
    alice.rename('Alice Example').groups(1);
  });

  test('is revoked by the control', async () => {
    const { refresh_token: refreshToken } = await first();
    sim.revokeRefreshToken(refreshToken!);
    expect(await refresh(refreshToken!)).toMatchObject({ error_codes: [50173], suberror: 'bad_token' });
  });
});

describe('tenants and accounts', () => {
  const at = (authority: string) => createRelyingParty(sim, visitor, { authority });

  test('an alias signs people in at home; the consumers are one tenant; a guest is another object', async () => {
    sim.signInAs('fabrikam/mallory');
    const mallory = claimsOf((await at('organizations').signIn()).idToken);
    expect(mallory).toMatchObject({ tid: sim.tenant('fabrikam').id, email: 'alice@contoso.example' });
    sim.signInAs('pat');
    expect(claimsOf((await at('common').signIn()).idToken)).toMatchObject({ tid: consumersTenantId });
    sim.app.claims('acct', 'idp');
    sim.signInAs('frank');
    const guest = claimsOf((await at(sim.tenant('contoso').id).signIn()).idToken);
    expect(guest).toMatchObject({
      tid: sim.tenant('contoso').id,
      oid: sim.user('frank-guest').oid,
      acct: 1,
      idp: `https://login.microsoftonline.com/${sim.tenant('fabrikam').id}/v2.0`,
    });
    sim.signInAs('frank-guest');
    expect(claimsOf((await at('common').signIn()).idToken)).toMatchObject({ tid: sim.tenant('fabrikam').id, acct: 0 });
    sim.app.claims('email', 'login_hint', 'sid');
  });

  test('sub is pairwise, and moving with the same oid makes another person', async () => {
    const zoe = sim.tenant('contoso').addUser('zoe');
    sim.signInAs(zoe);
    const before = claimsOf((await at('organizations').signIn()).idToken);
    zoe.moveTo(sim.tenant('fabrikam'), { keepOid: true });
    const after = claimsOf((await at('organizations').signIn()).idToken);
    expect(after.oid).toBe(before.oid);
    expect(after.tid).not.toBe(before.tid);
    expect(after.sub).not.toBe(before.sub);
    sim.tenant('fabrikam').remove(zoe);
  });

  test.each([
    ['nobody of this tenant', 50020, 'mallory'],
    ['a disabled person', 50057, 'dina'],
    ['an unassigned person', 50105, 'ulf'],
  ])('%s meets a page and never returns', async (_, number, user) => {
    sim.signInAs(user);
    const answer = await visitor.request(await at(sim.app.home.id).begin());
    expect(answer.headers.get('location')).toBeNull();
    expect(await answer.text()).toMatch(refusal(number));
  });

  test('unknown tenant, application and redirect URI are pages too', async () => {
    for (const [authority, options, number] of [
      [randomUUID(), {}, 90002],
      [sim.app.home.id, { redirectUri: 'https://elsewhere.example/' }, 50011],
      [sim.app.home.id, { extraQueryParameters: { client_id: randomUUID() } }, 700016],
    ] as const) {
      expect(await (await visitor.request(await at(authority).begin(options))).text()).toMatch(refusal(number));
    }
    sim.app.audience = 'AzureADMyOrg';
    expect(await (await visitor.request(await at('common').begin())).text()).toMatch(refusal(50194));
    sim.app.audience = 'AzureADandPersonalMicrosoftAccount';
  });

  test('groups up to 200 are in the token; more point to a graph that is no more', async () => {
    sim.signInAs('bob');
    expect(claimsOf((await at(sim.app.home.id).signIn()).idToken).groups).toHaveLength(200);
    sim.user('bob').groups(201);
    const claims = claimsOf((await at(sim.app.home.id).signIn()).idToken);
    expect(claims).not.toHaveProperty('groups');
    expect(claims._claim_names).toEqual({ groups: 'src1' });
    expect(claims._claim_sources.src1.endpoint).toMatch(/^https:\/\/graph\.windows\.net\//);
    sim.app.overage = 'hasgroups';
    expect(claimsOf((await at(sim.app.home.id).signIn()).idToken)).toMatchObject({ hasgroups: true });
    sim.app.overage = 'claim_names';
    sim.user('bob').groups(200);
  });

  test('xms_edov is sent in whatever type a test wants, and only to an application that asks', async () => {
    expect(claimsOf((await at(sim.app.home.id).signIn()).idToken)).not.toHaveProperty('xms_edov');
    sim.app.claims('xms_edov');
    for (const value of [true, '1', 1, 'true', false, '0', 0, {}]) {
      sim.user('alice').xmsEdov(value);
      expect(claimsOf((await at(sim.app.home.id).signIn()).idToken).xms_edov).toEqual(value);
    }
    sim.user('alice').xmsEdov(true);
    sim.app.claims('email', 'login_hint', 'sid');
  });
});

describe('the authorization request', () => {
  const begin = (options: Parameters<ReturnType<typeof createRelyingParty>['begin']>[0]) =>
    createRelyingParty(sim, visitor).begin(options);

  test('prompt=none answers login_required without a session and a code with one', async () => {
    const callback = await visitor.callback(await begin({ prompt: 'none' }));
    expect(callback.get('error')).toBe('login_required');
    expect(callback.get('error_description')).toMatch(refusal(50058));
    await visitor.callback(await begin({}));
    expect((await visitor.callback(await begin({ prompt: 'none' }))).has('code')).toBe(true);
  });

  test('prompt=none reports missing consent and a barred person to the application', async () => {
    await visitor.callback(await begin({}));
    sim.tenant('contoso').requireAdminConsent();
    expect((await visitor.callback(await begin({ prompt: 'none' }))).get('error_description')).toMatch(refusal(65001));
    sim.tenant('contoso').requireAdminConsent(false);
    sim.user('alice').unassign(sim.app);
    expect((await visitor.callback(await begin({ prompt: 'none' }))).get('error_description')).toMatch(refusal(50105));
    sim.user('alice').assign(sim.app);
  });

  test('records the hints, and echoes state', async () => {
    const hints = { loginHint: 'alice@contoso.example', domainHint: 'contoso.example' };
    const callback = await visitor.callback(await begin({ ...hints, state: 'S' }));
    expect(callback.get('state')).toBe('S');
    expect(callback.has('iss')).toBe(false);
    const { query } = sim.requests('authorize')[0]!;
    expect(query.get('login_hint')).toBe('alice@contoso.example');
    expect(query.get('domain_hint')).toBe('contoso.example');
  });

  test('max_age makes the ID token end with the age of the sign-in: early, after a slow second factor', async () => {
    const party = createRelyingParty(sim, visitor);
    sim.nextCallback({ mfaSeconds: 150 });
    const { idToken } = await party.signIn({ extraQueryParameters: { max_age: '100' } });
    const { exp, auth_time } = claimsOf(idToken);
    expect(exp).toBe(auth_time + 100);
    expect(exp).toBeLessThan(sim.clock.seconds());
  });

  test('a context asked for by the claims parameter arrives as acrs', async () => {
    const claims = JSON.stringify({ id_token: { acrs: { essential: true, value: 'c1' } } });
    expect(claimsOf((await createRelyingParty(sim, visitor).signIn({ claims })).idToken).acrs).toEqual(['c1']);
  });

  test.each([
    ['an error', { error: 'access_denied', errorSubcode: 'cancel' }, { error_subcode: 'cancel', code: null }],
    ['no state', { omit: ['state'] }, { state: null }],
    ['another state', { set: { state: 'forged' } }, { state: 'forged' }],
    ['no code', { omit: ['code'] }, { code: null }],
    ["an administrator's consent", { adminConsent: true as const }, { admin_consent: 'True', code: null }],
  ])('the callback can carry %s', async (_, doctoring, expected) => {
    sim.nextCallback(doctoring);
    const callback = await visitor.callback(await begin({}));
    for (const [name, value] of Object.entries(expected)) expect(callback.get(name)).toBe(value);
  });

  test('the callback can carry parameters twice, or never come', async () => {
    sim.nextCallback({ duplicate: ['code', 'state'] });
    expect((await visitor.callback(await begin({}))).getAll('code')).toHaveLength(2);
    sim.nextCallback({ neverReturns: true });
    await expect(visitor.callback(await begin({}))).rejects.toThrow('does not lead back');
  });
});

describe('many at once', () => {
  test('each is who the request hints at, and gets the own token', async () => {
    sim.signInAs(({ loginHint }) => loginHint!.split('@')[0]!);
    const names = Array.from({ length: 12 }, (_, index) => ['alice', 'bob', 'olivia'][index % 3]!);
    const signedIn = await Promise.all(
      names.map(async (name) => {
        const browser = createVisitor(sim);
        const result = await createRelyingParty(sim, browser).signIn({ loginHint: `${name}@contoso.example` });
        await browser.close();
        return claimsOf(result.idToken).oid;
      }),
    );
    expect(signedIn).toEqual(names.map((name) => sim.user(name).oid));
  });
});

describe('another cloud', () => {
  test('has its own login host, issuer and Graph, and takes no token of another', async () => {
    const fairfax = sim.tenant('fairfax');
    const app = sim.addApp(fairfax, { redirectUris: [redirectUri] });
    sim.signInAs('grace');
    const { idToken, accessToken } = await createRelyingParty(sim, visitor, { app }).signIn();
    expect(claimsOf(idToken).iss).toBe(`https://login.microsoftonline.us/${fairfax.id}/v2.0`);
    const headers = { Authorization: `Bearer ${accessToken}` };
    expect((await visitor.request('https://graph.microsoft.us/v1.0/me', { headers })).status).toBe(200);
    expect((await visitor.request('https://graph.microsoft.com/v1.0/me', { headers })).status).toBe(401);
  });
});

describe('without host names to map', () => {
  test('localhost and its port are Microsoft: issuer, keys and Graph name them', async () => {
    const base = `https://localhost:${sim.port}`;
    const dispatcher = new Agent({ connect: { ca: sim.ca } });
    const get = async (url: string) => (await (await fetch(url, { dispatcher })).json()) as Record<string, any>;
    const configuration = await get(`${base}/${sim.app.home.id}/v2.0/.well-known/openid-configuration`);
    expect(configuration.issuer).toBe(`${base}/${sim.app.home.id}/v2.0`);
    expect((await get(configuration.jwks_uri)).keys[0].issuer).toBe(configuration.issuer);
    expect((await get(`${base}/v1.0/me`)).error.code).toBe('InvalidAuthenticationToken');
    await dispatcher.close();
  });
});

describe('a request that makes no sense', () => {
  test.each(['/%zz/v2.0/x', '//', '/..%2f/oauth2/v2.0/token', '/common/oauth2/v2.0/authorize', '/common/login'])(
    '%s is answered like any other',
    async (path) => {
      const answer = await visitor.request(`https://login.microsoftonline.com${path}`);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    },
  );

  const odd: Record<string, string>[] = [
    { claims: '{' },
    { claims: '5' },
    { max_age: 'soon' },
    { prompt: 'please' },
    { scope: 'Mail.Read' },
  ];
  test.each(odd)('%o too', async (parameters) => {
    const url = new URL(await createRelyingParty(sim, visitor).begin());
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    const callback = await visitor.callback(url.href);
    // What is JSON but asks for nothing is ignored; the rest goes back to the application.
    expect(callback.get('error') ?? 'none').toMatch(parameters.claims === '5' ? 'none' : /^invalid_(request|scope)$/);
  });
});
