import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { createVisitor } from '../entra-sim/visitor.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim, { config: { acrValues: { 'urn:example:strong': 'c1', 'urn:example:stronger': 'c9' } } });
});
afterAll(async () => {
  await rig.close();
  await sim.close();
});
beforeEach(() => {
  sim.reset();
  sim.signInAs('alice');
  rig.completed.length = rig.failures.length = 0;
});

const asked = async (options = {}, of = rig) => new URL(await of.begin(of.agent(), options)).searchParams;
const lastLine = () => JSON.parse(rig.logged().trim().split('\n').at(-1)!);
const claimsIn = (parameters: URLSearchParams) => JSON.parse(parameters.get('claims')!).id_token;

describe('hints', () => {
  test('E10 reach Microsoft', async () => {
    const parameters = await asked({ loginHint: 'alice@contoso.example', domainHint: 'contoso.example' });
    expect(parameters.get('login_hint')).toBe('alice@contoso.example');
    expect(parameters.get('domain_hint')).toBe('contoso.example');
  });

  test('E10 that are too long, or hold control characters, are left out; 320 characters are not too long', async () => {
    const longest = `${'a'.repeat(64)}@${'b'.repeat(255)}`;
    expect((await asked({ loginHint: longest })).get('login_hint')).toBe(longest);
    for (const loginHint of [`${longest}x`, 'x'.repeat(10_000), 'alice\r\nSet-Cookie: a=b', 'alice\0']) {
      expect((await asked({ loginHint })).has('login_hint')).toBe(false);
    }
    for (const domainHint of ['a.example&client_id=evil', 'a b', 'x\r\n']) {
      const parameters = await asked({ domainHint });
      expect(parameters.has('domain_hint')).toBe(false);
      expect(parameters.getAll('client_id')).toEqual([sim.app.clientId]);
    }
  });

  test('E10 are dropped where the person is to choose an account: Entra refuses both together', async () => {
    const options = { loginHint: 'alice@contoso.example', prompt: 'select_account' };
    expect((await asked(options)).has('login_hint')).toBe(false);
    await rig.identify(options);
  });

  test('E10 that Microsoft gave itself go before an address, and are dropped with it', async () => {
    const { loginHint: knownHint } = await rig.identify();
    const both = { loginHint: 'alice@contoso.example', knownHint };
    expect((await asked(both)).get('login_hint')).toBe(knownHint);
    expect((await asked({ ...both, prompt: 'login' })).get('login_hint')).toBe(knownHint);
    expect((await asked({ ...both, prompt: 'select_account' })).has('login_hint')).toBe(false);
    const long = `O.${'x'.repeat(2000)}`;
    expect((await asked({ knownHint: long })).get('login_hint')).toBe(long);
  });

  test('E10 stand in the address once: MSAL’s own header of the person’s name is taken out', async () => {
    const parameters = await asked({ loginHint: 'alice@contoso.example' });
    const naming = [...parameters].filter(([, value]) => value.includes('alice')).map(([name]) => name);
    expect(naming).toEqual(['login_hint']);
  });
});

describe('prompt', () => {
  test.each([
    ['login', 'login'],
    ['select_account', 'select_account'],
    ['login consent', 'login'],
    ['login select_account', 'login'],
    ['none', 'none'],
    ['consent', null],
    [undefined, null],
  ])('E11 %s becomes %s: consent is ours to ask', async (prompt, sent) => {
    expect((await asked({ prompt })).get('prompt')).toBe(sent);
  });

  test('E11 none without a session at Microsoft ends in login_required, and is not tried again', async () => {
    sim.signInAs(null);
    const answer = await rig.signIn({ prompt: 'none' });
    expect(answer.status).toBe(400);
    expect(rig.failures).toMatchObject([{ failure: 'no_session', downstream: 'login_required' }]);
    expect(sim.requests('authorize')).toHaveLength(1);
  });

  test.each([
    ['interaction_required', 'interaction_required'],
    ['consent_required', 'consent_required'],
    ['login_required', 'login_required'],
  ])('E11 none that Entra answers with %s is %s downstream', async (error, downstream) => {
    sim.nextCallback({ error, errorDescription: 'no number' });
    await rig.signIn({ prompt: 'none' });
    expect(rig.failures[0]!.downstream).toBe(downstream);
    expect(sim.requests('authorize')).toHaveLength(1);
  });
});

describe('max_age', () => {
  const seconds = Math.floor(Date.now() / 1000);

  test('E12 is sent, and an authentication that is young enough is good, though it shortens the token', async () => {
    expect((await asked({ maxAge: 3600 })).get('max_age')).toBe('3600');
    sim.nextCallback({ mfaSeconds: 200 });
    const { authTime } = await rig.identify({ maxAge: 60 });
    expect(Math.abs(authTime! + 200 - Date.now() / 1000)).toBeLessThan(10);
  });

  test('E12 of 0 is a new sign-in at Microsoft, without the expired ID token that Entra would make of it', async () => {
    const parameters = await asked({ maxAge: 0 });
    expect(parameters.get('prompt')).toBe('login');
    expect(parameters.has('max_age')).toBe(false);
    expect(claimsIn(parameters).auth_time).toEqual({ essential: true });
    await rig.identify({ maxAge: 0 });
  });

  test('E12 has a floor of a minute', async () => {
    expect((await asked({ maxAge: 5 })).get('max_age')).toBe('60');
  });

  test.each([
    [0, (url: URL) => url.searchParams.delete('prompt')],
    [600, (url: URL) => url.searchParams.delete('max_age')],
  ])('E12 of %i: a session of Microsoft’s from an hour ago is refused, where it is used', async (maxAge, ignore) => {
    const visitor = createVisitor(sim);
    await rig.atMicrosoft(await rig.begin(rig.agent()), visitor);
    sim.clock.skew(3600);
    rig.clock.advance(3600);
    const agent = rig.agent();
    const url = new URL(await rig.begin(agent, { maxAge }));
    // As if Microsoft had not heeded what it was asked.
    ignore(url);
    const answer = await rig.comeBack(agent, await rig.atMicrosoft(url.href, visitor));
    expect(rig.completed).toEqual([]);
    expect(rig.failures).toMatchObject([{ failure: 'too_old', downstream: 'login_required' }]);
    expect(answer.body).toContain('too old');
    // Heeded, the same session is good for nothing but a new sign-in, which is.
    const heeded = rig.agent();
    await rig.comeBack(heeded, await rig.atMicrosoft(await rig.begin(heeded, { maxAge }), visitor));
    expect(rig.completed).toHaveLength(1);
    rig.clock.advance(-3600);
    await visitor.close();
  });

  test.each([
    ['missing', { drop: ['auth_time'] }, 'forged'],
    ['text', { claims: { auth_time: String(seconds) } }, 'forged'],
    ['in the future', { claims: { auth_time: seconds + 900 } }, 'forged'],
    ['too old', { claims: { auth_time: seconds - 70 * 60, exp: seconds + 3600 } }, 'too_old'],
  ])('E12 an auth_time that is %s ends the sign-in', async (_name, doctoring, failure) => {
    sim.nextIdToken(doctoring);
    await rig.signIn({ maxAge: 3600 });
    expect(rig.completed).toEqual([]);
    expect(rig.failures[0]).toMatchObject({ failure });
    if (failure === 'too_old') expect(rig.failures[0]!.downstream).toBe('login_required');
  });
});

describe('acr_values', () => {
  test('E13 ask for the context that stands for them, and are granted only when the token says so', async () => {
    const parameters = await asked({ acrValues: ['urn:example:unknown', 'urn:example:strong'] });
    expect(claimsIn(parameters).acrs).toEqual({ essential: true, value: 'c1' });
    const granted = await rig.identify({ acrValues: ['urn:example:strong'] });
    expect(granted).toMatchObject({ acr: 'urn:example:strong', acrs: ['c1'] });
    expect(await rig.identify()).not.toHaveProperty('acr');
  });

  test('E13 that nothing here stands for are not asked for: they are voluntary (OIDC Core §3.1.2.1)', async () => {
    expect(await rig.identify({ acrValues: ['urn:example:unknown'] })).not.toHaveProperty('acr');
  });

  test.each([
    ['absent', { drop: ['acrs'] }],
    ['of another context', { claims: { acrs: ['c2'] } }],
    ['a string', { claims: { acrs: 'c1' } }],
    ['a string that contains it', { claims: { acrs: ['c11'] } }],
  ])('E13 are not met by acrs that are %s', async (_name, doctoring) => {
    sim.nextIdToken(doctoring);
    await rig.signIn({ acrValues: ['urn:example:strong'] });
    expect(rig.completed).toEqual([]);
    expect(rig.failures[0]).toMatchObject({ failure: 'step_up', downstream: 'unmet_authentication_requirements' });
  });
});

describe('scopes', () => {
  const sets = async (of: Rig) => {
    sim.log.clear();
    await of.identify();
    const scopes = [sim.requests('authorize')[0]!.query.get('scope')!, sim.requests('token')[0]!.form.get('scope')!];
    return scopes.map((scope) => scope.split(' ').sort().join(' '));
  };

  test('E14 are openid, profile and email on both legs, and no refresh token comes to be', async () => {
    expect(await sets(rig)).toEqual(['email openid profile', 'email openid profile']);
    expect(rig.completed[0]!.identity).not.toHaveProperty('upstreamRefreshToken');
  });

  test('E14 include User.Read with Graph, and offline_access where people are checked again', async () => {
    const more = await startRig(sim, { config: { graph: true, recheck: { every: '15m' } } });
    const all = 'User.Read email offline_access openid profile';
    expect(await sets(more)).toEqual([all, all]);
    expect(more.completed[0]!.identity.upstreamRefreshToken).toEqual(expect.any(String));
    await more.close();
  });
});

describe('what Microsoft wants before it answers', () => {
  const challenge = '{"access_token":{"nbf":{"essential":true,"value":"1"}},"id_token":{"xms_cc":{"values":["x"]}}}';

  test('E34 a claims challenge leads back to Microsoft once, with the claims, and then to the end', async () => {
    sim.fault('token', { aadsts: { number: 50076, claims: challenge }, times: 1 });
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent, { acrValues: ['urn:example:strong'] }, 'challenged'));
    const again = await agent.visit(callback.url);
    const sent = JSON.parse(new URL(again.url).searchParams.get('claims')!);
    expect(sent.access_token).toEqual(JSON.parse(challenge).access_token);
    expect(sent.id_token).toMatchObject({ xms_cc: { values: ['x'] }, acrs: { value: 'c1' } });
    await rig.comeBack(agent, await rig.atMicrosoft(again.url));
    expect(rig.completed).toMatchObject([{ uid: 'challenged', identity: { acr: 'urn:example:strong' } }]);
  });

  test('a second challenge ends it: interaction_required, and no loop', async () => {
    sim.fault('token', { aadsts: { number: 50076, claims: challenge } });
    const agent = rig.agent();
    const callback = await rig.atMicrosoft(await rig.begin(agent));
    const again = await agent.visit(callback.url);
    await rig.comeBack(agent, await rig.atMicrosoft(again.url));
    expect(rig.completed).toEqual([]);
    expect(rig.failures).toMatchObject([
      {
        failure: 'interaction',
        downstream: 'interaction_required',
        facts: { numbers: [50076] },
      },
    ]);
  });

  test.each([
    ['no claims', undefined],
    ['claims that are no JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a text', '"c1"'],
    ['claims without end', JSON.stringify({ id_token: { acrs: { value: 'x'.repeat(5000) } } })],
  ])('E13 a challenge with %s ends it: the person is told, and it is not sent on', async (_name, claims) => {
    sim.fault('token', { aadsts: { number: 50076, ...(claims !== undefined && { claims }) } });
    const answer = await rig.signIn({ acrValues: ['urn:example:strong'] });
    expect(rig.failures).toMatchObject([{ failure: 'interaction', downstream: 'interaction_required' }]);
    expect([answer.status, answer.body]).toEqual([403, expect.stringContaining('Microsoft wants another proof')]);
    expect(sim.requests('authorize')).toHaveLength(1);
  });

  test('E13 claims that Entra finds malformed are an operator’s to repair, and all are told so', async () => {
    sim.nextCallback({ error: 'invalid_claims', errorDescription: 'The claims parameter is not valid.' });
    const answer = await rig.signIn({ acrValues: ['urn:example:strong'] });
    expect(rig.failures).toMatchObject([
      {
        failure: 'app_config',
        downstream: 'server_error',
        facts: { reason: 'invalid_claims' },
      },
    ]);
    expect([answer.status, answer.body]).toEqual([500, expect.stringContaining('misconfigured')]);
    expect(lastLine()).toMatchObject({ level: 'error', reason: 'invalid_claims', hint: expect.any(String) });
  });

  test.each([
    ['checked again', { graph: true, recheck: { every: '15m' } }],
    ['not checked again', {}],
  ])('E34 the capability cp1 is declared to nobody, where people are %s', async (_when, config) => {
    const asking = await startRig(sim, { config: { ...config, acrValues: { strong: 'c1' } } });
    sim.signInAs('olivia');
    sim.log.clear();
    const { tid, oid, upstreamRefreshToken } = await asking.identify({ acrValues: ['strong'], maxAge: 600 });
    if (upstreamRefreshToken) await asking.connector.recheck(upstreamRefreshToken, { tid, oid });
    // The one way to declare it (https://learn.microsoft.com/entra/identity-platform/claims-challenge).
    const claims = sim.requests().flatMap(({ query, form }) => [...query.getAll('claims'), ...form.getAll('claims')]);
    expect(claims.length).toBeGreaterThan(0);
    expect(claims.filter((each) => /cp1|xms_cc/i.test(each))).toEqual([]);
    await asking.close();
  });

  test('with prompt=none a challenge ends it: nobody may be asked anything', async () => {
    sim.fault('token', { aadsts: { number: 50076, claims: challenge } });
    const visitor = createVisitor(sim);
    await rig.atMicrosoft(await rig.begin(rig.agent()), visitor);
    const agent = rig.agent();
    await rig.comeBack(agent, await rig.atMicrosoft(await rig.begin(agent, { prompt: 'none' }), visitor));
    expect(rig.failures).toMatchObject([{ failure: 'interaction', downstream: 'interaction_required' }]);
    await visitor.close();
  });
});

describe('correlation', () => {
  test('E15 both legs carry one GUID, which is in the log with Entra’s numbers and trace', async () => {
    sim.fault('token', { aadsts: 50105 });
    await rig.signIn();
    const id = sim.requests('authorize')[0]!.query.get('client-request-id')!;
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(sim.requests('token')[0]!.headers['client-request-id']).toBe(id);
    const line = lastLine();
    expect(line).toMatchObject({
      event: 'entra.sign_in_failed',
      failure: 'not_entitled',
      aadsts: [50105],
      correlationId: id,
    });
    expect(line.cause.message).toMatch(/^invalid_grant, AADSTS50105, trace [0-9a-f-]{36}, request [0-9a-f-]{36}$/);
  });
});

describe('signing out at Microsoft', () => {
  test('E36 leads to the tenant’s sign-out page with the opaque hint, and never with a name', async () => {
    const { loginHint } = await rig.identify();
    const out = { postLogoutRedirectUri: 'https://signet.example/out' };
    const url = new URL(rig.connector.logoutUrl({ ...out, loginHint }));
    expect(url.host).toBe('login.microsoftonline.com');
    expect(url.pathname).toBe(`/${sim.tenant('contoso').id}/oauth2/v2.0/logout`);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      post_logout_redirect_uri: out.postLogoutRedirectUri,
      logout_hint: loginHint,
    });
    expect(rig.connector.logoutUrl(out)).not.toContain('logout_hint');
  });
});
