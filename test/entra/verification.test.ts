import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { signJwt } from '../../entra-sim/id-token.ts';
import { type EntraSim, hostileIdTokens, startEntraSim } from '../../entra-sim/index.ts';
import { cloudOf } from '../../src/entra/clouds.ts';
import { createTenantKeys } from '../../src/entra/tenant-keys.ts';
import { verifyIdToken } from '../../src/entra/verification.ts';
import { silentLog } from '../../src/log.ts';
import { redirectUri as canaryRedirectUri, claimsOf, createRelyingParty, createVisitor } from '../entra-sim/visitor.ts';
import { type Rig, redirectUri, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim);
});
afterAll(async () => {
  await rig.close();
  await sim.close();
});
beforeEach(() => {
  sim.reset();
  sim.signInAs('alice');
  rig.connector.invalidateKeys();
  rig.completed.length = 0;
  rig.failures.length = 0;
});

const lastEvent = async () => (await rig.audit.list({ limit: 1 }))[0]!;

/** Nobody came in: nothing that a session, a code or a grant could be made of, and the auditor knows. */
async function expectRefused(body: string) {
  expect(rig.completed).toEqual([]);
  expect(rig.failures).toHaveLength(1);
  const { event, detail } = await lastEvent();
  expect(event).toBe(rig.failures[0]!.alert === 'security' ? 'signin.forged' : 'signin.refused');
  expect(detail).toMatchObject({ method: 'entra', failure: rig.failures[0]!.failure });
  expect(body).not.toContain('signed in');
}

// Names and doctorings; the tenants are looked up when the simulator runs.
const placeholder = { id: randomUUID(), loginHost: 'login.microsoftonline.com' } as never;
const rows = hostileIdTokens(placeholder, placeholder).map(({ name }) => name);

describe('an ID token of a code', () => {
  test.each(rows)('E16 E17 is refused: %s', async (name) => {
    const row = hostileIdTokens(sim.tenant('contoso'), sim.tenant('fabrikam')).find((each) => each.name === name)!;
    sim.nextIdToken(row.doctoring);
    const answer = await rig.signIn();
    await expectRefused(answer.body);
    expect(rig.failures[0]!.failure).toBe('forged');
  });

  test('E16 has one spelling: the same token written otherwise is refused', async () => {
    const { id, loginHost } = sim.tenant('contoso');
    const [clientId, now] = [sim.app.clientId, Math.floor(Date.now() / 1000)];
    const honest = {
      ver: '2.0',
      iss: `https://${loginHost}/${id}/v2.0`,
      tid: id,
      oid: randomUUID(),
      sub: 'x',
      aud: clientId,
      nonce: 'n',
      exp: now + 60,
      nbf: now,
      iat: now,
    };
    const { kid, privateKey } = sim.keys.active;
    const token = signJwt({ typ: 'JWT', alg: 'RS256', kid }, honest, privateKey);
    const keys = createTenantKeys({ load: async () => ({ ...sim.keys.jwks(loginHost, id) }), log: silentLog });
    const verify = (jwt: string) =>
      verifyIdToken(jwt, keys, {
        cloud: cloudOf({ tenant: id }),
        clientId,
        nonce: 'n',
        now: Date.now(),
        allowedTenants: new Set([id]),
      });

    expect((await verify(token)).oid).toBe(honest.oid);
    for (const other of [` ${token}`, `${token}\n`, `${token}==`, `${token}.x`, token.replace('.', '..')]) {
      await expect(verify(other), JSON.stringify(other.slice(-8))).rejects.toMatchObject({ problem: 'malformed' });
    }
    const repeated = `{"ver":"2.0","oid":"${randomUUID()}",${JSON.stringify(honest).slice(1)}`;
    const [header, , signature] = token.split('.');
    await expect(
      verify([header, Buffer.from(repeated).toString('base64url'), signature].join('.')),
    ).rejects.toMatchObject({ problem: 'malformed' });
  });

  test.each([
    ['jku', { jku: 'https://attacker.example/keys' }],
    ['jwk', { jwk: { kty: 'RSA' } }],
    ['x5u', { x5u: 'https://attacker.example/cert' }],
    ['crit', { crit: ['b64'], b64: false }],
  ])('E18 is refused when its header brings a key or changes what is signed: %s', async (_name, header) => {
    sim.nextIdToken({ header });
    await expectRefused((await rig.signIn()).body);
    expect(sim.requests('attacker')).toEqual([]);
  });

  test.each([
    ['tid in capitals', { tid: (id: string) => id.toUpperCase() }],
    ['tid with spaces', { tid: (id: string) => ` ${id} ` }],
    ['tid cut short', { tid: (id: string) => id.slice(0, -1) }],
  ])('E2 is refused: %s', async (_name, { tid }) => {
    const { id } = sim.tenant('contoso');
    sim.nextIdToken({ claims: { tid: tid(id), iss: `https://login.microsoftonline.com/${tid(id)}/v2.0` } });
    await expectRefused((await rig.signIn()).body);
  });

  test('E17 is refused when the key of personal accounts, published beside, signs a work account', async () => {
    sim.keys.publishConsumerKeyAtTenants();
    sim.nextIdToken({ sign: 'consumer' });
    await expectRefused((await rig.signIn()).body);
    expect(rig.failures[0]!.facts.reason).toBe('wrong_key_issuer');
  });

  test('E17 is accepted when its key names no issuer, and when the issuer of the key is the template', async () => {
    sim.keys.issuer(null);
    await rig.identify();
    sim.keys.issuer('https://login.microsoftonline.com/{tenantid}/v2.0');
    rig.connector.invalidateKeys();
    await rig.identify();
  });

  test('E19 says who it is, whatever client_info says', async () => {
    sim.nextTokenResponse({ clientInfoOf: sim.user('bob') });
    expect((await rig.identify()).oid).toBe(sim.user('alice').oid);
  });

  test('E39 holds while the clocks are less than five minutes apart, either way, and not beyond', async () => {
    const { idTokenSeconds, backdatedSeconds } = sim.lifetimes;
    for (const skew of [-240, 240]) {
      sim.clock.skew(skew);
      await rig.identify();
    }
    sim.clock.skew(-(idTokenSeconds + 360));
    await rig.signIn();
    expect(rig.failures.pop()!.facts.reason).toBe('expired');
    sim.clock.skew(backdatedSeconds + 360);
    await rig.signIn();
    expect(rig.failures.pop()!.facts.reason).toBe('not_yet_valid');
  });
});

describe('what msal-node itself refuses', () => {
  // The canary: as soon as a release of msal-node checks more, or less, this fails and somebody looks. (E23)
  test('E23 is the nonce and an unreadable token, and nothing else', async () => {
    sim.app.addRedirectUri(canaryRedirectUri);
    const visitor = createVisitor(sim);
    const refused: string[] = [];
    const expected: string[] = [];
    for (const { name, doctoring, refusedByMsal } of hostileIdTokens(sim.tenant('contoso'), sim.tenant('fabrikam'))) {
      sim.nextIdToken(doctoring);
      if (refusedByMsal) expected.push(name);
      await createRelyingParty(sim, visitor)
        .signIn()
        .catch(() => refused.push(name));
    }
    await visitor.close();
    expect(refused).toEqual(expected);
    expect(expected.length).toBeLessThan(6);
  });

  test('E23 is not another user in client_info: its account is then that other user', async () => {
    const visitor = createVisitor(sim);
    sim.nextTokenResponse({ clientInfoOf: sim.user('bob') });
    const result = await createRelyingParty(sim, visitor).signIn();
    await visitor.close();
    expect(result?.account?.homeAccountId).toContain(sim.user('bob').oid);
    expect(result?.account?.homeAccountId).not.toContain(sim.user('alice').oid);
  });
});

describe('what msal-node lets through at a refresh', () => {
  async function refreshed(doctoring: Parameters<EntraSim['nextIdToken']>[0]) {
    sim.app.addRedirectUri(canaryRedirectUri);
    const visitor = createVisitor(sim);
    const { msal, begin, redeem } = createRelyingParty(sim, visitor);
    await redeem(await visitor.callback(await begin()));
    // It is in no result of MSAL's, only in its cache.
    const cached = JSON.parse(msal.getTokenCache().serialize()) as { RefreshToken: Record<string, { secret: string }> };
    const [refreshToken] = Object.values(cached.RefreshToken).map(({ secret }) => secret);
    sim.nextIdToken(doctoring);
    const request = { refreshToken: refreshToken!, scopes: ['email'], forceCache: true };
    return msal.acquireTokenByRefreshToken(request).finally(() => visitor.close());
  }

  test.each([
    ['unsigned', { sign: 'none' as const }],
    ['signed by a rogue key', { sign: 'rogue' as const }],
    ['edited after signing', { sign: 'tampered' as const }],
  ])('E23 is a forged ID token (%s) of somebody else: so every refresh is verified', async (_how, doctoring) => {
    const { oid } = sim.user('bob');
    const result = await refreshed({ ...doctoring, claims: { oid, tid: sim.tenant('fabrikam').id } });
    expect(claimsOf(result!.idToken)).toMatchObject({ oid, tid: sim.tenant('fabrikam').id });
    expect(result!.uniqueId).toBe(oid);
  });

  test('E23 is an ID token with a nonce, which was asked for at the sign-in', async () => {
    const result = await refreshed({ claims: { nonce: 'of the sign-in' } });
    expect(claimsOf(result!.idToken)).toMatchObject({ nonce: 'of the sign-in' });
  });
});

describe('what msal-node refuses without being asked', () => {
  test('E23 is an ID token with a nonce where none was passed: so one is passed at every redemption', async () => {
    sim.app.addRedirectUri(canaryRedirectUri);
    const visitor = createVisitor(sim);
    const { begin, redeem } = createRelyingParty(sim, visitor);
    await expect(redeem(await visitor.callback(await begin()), { nonce: undefined })).rejects.toMatchObject({
      errorCode: 'nonce_mismatch',
    });
    await visitor.close();
  });
});

describe('a token of several tenants', () => {
  test('E2 is accepted of a listed tenant alone; of another it is genuine, and not admitted', async () => {
    const multi = sim.addApp(sim.tenant('contoso'), { audience: 'AzureADMultipleOrgs', redirectUris: [redirectUri] });
    const open = await startRig(sim, {
      config: {
        tenant: 'organizations',
        clientId: multi.clientId,
        clientSecret: multi.secret,
        allowedTenants: [sim.tenant('contoso').id.toUpperCase()],
      },
    });
    expect((await open.identify()).tid).toBe(sim.tenant('contoso').id);
    sim.signInAs('frank');
    const answer = await open.signIn();
    expect(answer.status).toBe(403);
    expect(open.completed).toHaveLength(1);
    expect(open.failures[0]).toMatchObject({
      failure: 'not_entitled',
      downstream: 'access_denied',
      facts: { reason: 'tenant_not_allowed' },
    });
    await open.close();
  });

  test('E2 is accepted of every tenant where the configuration says so in so many words', async () => {
    const multi = sim.addApp(sim.tenant('contoso'), { audience: 'AzureADMultipleOrgs', redirectUris: [redirectUri] });
    const open = await startRig(sim, {
      config: {
        tenant: 'organizations',
        clientId: multi.clientId,
        clientSecret: multi.secret,
        allowAnyTenant: true,
      },
    });
    sim.signInAs('frank');
    expect((await open.identify()).tid).toBe(sim.tenant('fabrikam').id);
    await open.close();
  });

  test('E2 personal accounts are a tenant like any other: listed or refused', async () => {
    const fields = { audience: 'AzureADandPersonalMicrosoftAccount' as const, redirectUris: [redirectUri] };
    const app = sim.addApp(sim.tenant('contoso'), fields);
    const base = { tenant: 'common', clientId: app.clientId, clientSecret: app.secret };
    const personal = sim.tenant('consumers').id;
    sim.signInAs('pat');

    const without = await startRig(sim, { config: { ...base, allowedTenants: [sim.tenant('contoso').id] } });
    await without.signIn();
    expect(without.failures[0]!.facts.reason).toBe('tenant_not_allowed');
    await without.close();

    const listed = await startRig(sim, { config: { ...base, allowedTenants: [personal] } });
    expect((await listed.identify()).tid).toBe(personal);
    await listed.close();
  });
});

describe('a token of another cloud', () => {
  function startGov(more = {}) {
    const home = sim.tenant('fairfax');
    const { clientId, secret: clientSecret } = sim.addApp(home, { redirectUris: [redirectUri] });
    return startRig(sim, { config: { tenant: home.id, cloud: 'usgov', clientId, clientSecret, ...more } });
  }

  test('E3 is accepted in its own cloud, asked at that cloud’s hosts', async () => {
    const home = sim.tenant('fairfax');
    const gov = await startGov({ graph: true });
    sim.log.clear();
    sim.signInAs('grace');
    home.user('grace').groups(300);
    expect(await gov.identify()).toMatchObject({ cloud: 'usgov', groups: { kind: 'complete' } });
    const hosts = new Set(sim.requests().map(({ host }) => host));
    expect([...hosts].sort()).toEqual(['graph.microsoft.us', 'login.microsoftonline.us']);
    await gov.close();
  });

  test('E3 is refused: the issuer is that of the public cloud', async () => {
    const home = sim.tenant('fairfax');
    const gov = await startGov();
    sim.signInAs('grace');
    sim.nextIdToken({ claims: { iss: `https://login.microsoftonline.com/${home.id}/v2.0` } });
    await gov.signIn();
    expect(gov.failures[0]!.facts.reason).toBe('wrong_issuer');
    await gov.close();
  });
});
