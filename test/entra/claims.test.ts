import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { noteSecret } from '../support/secrets.ts';
import { type Rig, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
let members: Rig;
let owner: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim);
  members = await startRig(sim, { config: { guests: 'deny' } });
  owner = await startRig(sim, { config: { trustedEmailDomains: ['contoso.example'] } });
});
afterAll(async () => {
  for (const each of [rig, members, owner]) await each.close();
  await sim.close();
});
beforeEach(() => {
  sim.reset();
  sim.app.claims('email', 'login_hint', 'sid');
  sim.signInAs('alice');
  for (const each of [rig, members, owner]) each.completed.length = each.failures.length = 0;
});

const withClaims = (claims: Record<string, unknown>, of = rig) => {
  sim.nextIdToken({ claims });
  return of.identify();
};

describe('E4 guests', () => {
  test('are the tenant’s own (tid, oid), and known as guests by acct or by idp', async () => {
    sim.app.claims('acct');
    sim.signInAs('frank-guest');
    const { tid, oid, guest } = await rig.identify();
    expect([tid, oid, guest]).toEqual([sim.tenant('contoso').id, sim.user('frank-guest').oid, true]);
    sim.app.claims('idp');
    expect((await rig.identify()).guest).toBe(true);
    sim.signInAs('alice');
    expect((await rig.identify()).guest).toBe(false);
  });

  test.each([
    ['acct 1', { acct: 1 }],
    ['acct "1"', { acct: '1' }],
    ['an acct that nobody knows', { acct: 7 }],
    ['acct null', { acct: null }],
    ['idp of another tenant', { idp: 'https://login.microsoftonline.com/7f58f645-c190-4ce5-9de4-e2b7acd2a6ab/v2.0' }],
    ['idp live.com', { idp: 'live.com' }],
    ['no claim that would tell', {}],
  ])('are refused where configured: %s', async (_name, claims) => {
    sim.nextIdToken({ claims });
    const answer = await members.signIn();
    expect(answer.status).toBe(403);
    expect(members.completed).toEqual([]);
    expect(members.failures).toMatchObject([{ failure: 'guest', downstream: 'access_denied' }]);
  });

  test('are refused where no claim tells, and so is everybody: the log says what is missing', async () => {
    await members.signIn();
    expect(members.completed).toEqual([]);
    expect(members.failures).toMatchObject([{ failure: 'guest', facts: { reason: 'unknown' } }]);
    const line = members
      .logged()
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text))
      .at(-1);
    expect(line).toMatchObject({ reason: 'unknown', hint: expect.stringContaining('optional claim acct') });
  });

  test('are out at the next check, once they are refused: also where no claim tells', async () => {
    const config = { recheck: { every: '15m' } };
    const open = await startRig(sim, { config });
    const { tid, oid, upstreamRefreshToken } = await open.identify();
    noteSecret('refresh token', upstreamRefreshToken);
    const closed = await startRig(sim, { config: { ...config, guests: 'deny' } });
    const recheck = () => closed.connector.recheck(upstreamRefreshToken!, { tid, oid });
    expect(await recheck()).toEqual({ outcome: 'ended', reason: 'unknown' });
    sim.nextIdToken({ claims: { acct: 1 } });
    expect(await recheck()).toEqual({ outcome: 'ended', reason: 'guest' });
    sim.nextIdToken({ claims: { acct: 0 } });
    expect(await recheck()).toMatchObject({ outcome: 'ok' });
    for (const each of [open, closed]) await each.close();
  });

  test('refused lets members in: acct 0, or idp of the tenant itself', async () => {
    await withClaims({ acct: 0 }, members);
    await withClaims({ idp: `https://login.microsoftonline.com/${sim.tenant('contoso').id}/v2.0` }, members);
    expect(members.completed).toHaveLength(2);
  });
});

describe('E28 who somebody is', () => {
  test('is cloud, tid and oid; another e-mail, name or pairwise sub is the same person', async () => {
    const first = await rig.identify();
    const email = 'new@contoso.example';
    const second = await withClaims({ sub: 'another', email, preferred_username: 'new', name: 'New' });
    for (const key of ['cloud', 'tid', 'oid'] as const) expect(second[key]).toBe(first[key]);
    expect(second).toMatchObject({ pairwiseSub: 'another', name: 'New', preferredUsername: 'new', email });
  });
});

describe('E29 an e-mail address', () => {
  test.each([[true], [1], ['1'], ['true']])('is verified when xms_edov is %j', async (edov) => {
    sim.app.claims('email', 'xms_edov');
    sim.user('alice').xmsEdov(edov);
    expect(await rig.identify()).toMatchObject({ email: 'alice@contoso.example', emailVerified: true });
  });

  test.each([[false], [0], ['0'], ['false'], [''], [{}], [[]], [[true]], [null], [2], ['yes'], ['TRUE']])(
    'is not verified when xms_edov is %j',
    async (edov) => {
      expect(await withClaims({ xms_edov: edov })).toMatchObject({ emailVerified: false });
    },
  );

  test('is not verified without xms_edov, whatever email_verified says, which Entra does not send', async () => {
    expect((await withClaims({ email_verified: true })).emailVerified).toBe(false);
  });

  test.each([
    ['absent', undefined],
    ['a list', ['alice@contoso.example']],
    ['an object', {}],
    ['no address', 'alice'],
    ['two addresses', 'alice@contoso.example@evil.example'],
    ['with a line feed', 'alice@contoso.example\nx'],
    ['with a space', 'alice @contoso.example'],
    ['endless', `${'a'.repeat(300)}@contoso.example`],
    ['empty', ''],
  ])('that is %s is none, and then nothing is verified', async (_name, email) => {
    const identity = await withClaims({ email, xms_edov: true }, owner);
    expect(identity).not.toHaveProperty('email');
    expect(identity.emailVerified).toBe(false);
  });

  test('in a domain that the operator owns is verified in the operator’s tenant; in another it is not', async () => {
    sim.app.claims('email', 'acct');
    expect((await owner.identify()).emailVerified).toBe(true);
    expect((await withClaims({ email: 'Alice@CONTOSO.example' }, owner)).emailVerified).toBe(true);
    for (const email of [
      'alice@fabrikam.example',
      'alice@sub.contoso.example',
      'alice@notcontoso.example',
      'alice@contoso.example.evil.test',
      'alice@сontoso.example', // a Cyrillic с
      'alice\u212A@contoso.example', // the Kelvin sign, whose lower case is k
    ])
      expect((await withClaims({ email }, owner)).emailVerified, email).toBe(false);
  });

  const foreign = 'https://login.microsoftonline.com/7f58f645-c190-4ce5-9de4-e2b7acd2a6ab/v2.0';
  const own = () => `https://login.microsoftonline.com/${sim.tenant('contoso').id}/v2.0`;
  test.each([
    ['a guest, by acct', () => ({ acct: 1 })],
    ['a guest, by acct, whatever idp says', () => ({ acct: 1, idp: own() })],
    ['a guest, by idp', () => ({ idp: foreign })],
    ['a guest with a personal account', () => ({ idp: 'live.com' })],
    ['a member who is at home in another tenant', () => ({ acct: 0, idp: foreign })],
    [
      'a member by an older spelling of another tenant',
      () => ({ acct: '0', idp: 'https://sts.windows.net/7f58f645-c190-4ce5-9de4-e2b7acd2a6ab/' }),
    ],
    ['somebody of whom no claim tells', () => ({})],
    ['somebody of whom acct tells nothing that is known', () => ({ acct: null })],
  ])('in a domain that the operator owns is not verified of %s; xms_edov alone says so', async (_who, claims) => {
    const asGuest = { email: 'ada@contoso.example', ...claims() };
    expect((await withClaims(asGuest, owner)).emailVerified).toBe(false);
    expect((await withClaims({ ...asGuest, xms_edov: true }, owner)).emailVerified).toBe(true);
  });

  test('in a domain that the operator owns is verified of members, by acct or by idp', async () => {
    for (const claims of [{ acct: 0 }, { acct: '0' }, { idp: own() }, { acct: 0, idp: own() }]) {
      expect((await withClaims(claims, owner)).emailVerified, JSON.stringify(claims)).toBe(true);
    }
  });

  test('is never made of the user principal name', async () => {
    sim.signInAs('norma');
    expect(await rig.identify()).not.toHaveProperty('email');
    sim.signInAs('frank-guest');
    expect((await rig.identify()).email).not.toContain('#EXT#');
  });
});

describe('E30 E31 what else the token says', () => {
  test.each([
    ['names that are no text', { name: 7, given_name: ['x'], family_name: {}, preferred_username: null }],
    [
      'names with control characters',
      {
        name: 'a\u0000b',
        given_name: 'a\nb',
        family_name: '\u001b[31m',
        preferred_username: 'a\rb',
      },
    ],
    [
      'endless names',
      {
        name: 'x'.repeat(257),
        given_name: 'x'.repeat(9000),
        family_name: 'x'.repeat(257),
        preferred_username: 'x'.repeat(257),
      },
    ],
  ])('%s are none', async (_name, claims) => {
    const identity = await withClaims(claims);
    for (const name of ['name', 'givenName', 'familyName', 'preferredUsername']) {
      expect(identity).not.toHaveProperty(name);
    }
  });

  test('roles are a list of texts; anything else is none', async () => {
    expect((await withClaims({ roles: ['Reader', 'Writer', 7, null] })).appRoles).toEqual(['Reader', 'Writer']);
    for (const roles of ['admin', { admin: true }, 7, null]) expect((await withClaims({ roles })).appRoles).toEqual([]);
    const many = Array.from({ length: 1000 }, (_, at) => `role-${at}`);
    expect((await withClaims({ roles: many })).appRoles).toEqual(many);
  });

  test('sid and login_hint are there when Entra sends them', async () => {
    expect(await rig.identify()).toMatchObject({ sid: expect.any(String), loginHint: expect.stringMatching(/^O\./) });
    const without = await withClaims({ sid: ['x'], login_hint: 7 });
    expect(without).not.toHaveProperty('sid');
    expect(without).not.toHaveProperty('loginHint');
  });
});
