import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, graphFaults, startEntraSim } from '../../entra-sim/index.ts';
import { type Rig, redirectUri, startRig } from './rig.ts';

let sim: EntraSim;
let rig: Rig;
let always: Rig;
beforeAll(async () => {
  sim = await startEntraSim();
  rig = await startRig(sim, { config: { graph: true } });
  always = await startRig(sim, { config: { graph: true, groups: { forceGraph: true }, recheck: { every: '15m' } } });
});
afterAll(async () => {
  await rig.close();
  await always.close();
  await sim.close();
});
beforeEach(() => {
  sim.reset();
  sim.app.emitsGroups = true;
  sim.app.overage = 'claim_names';
  sim.user('olivia').groups(2305);
  sim.signInAs('olivia');
});

const aGroup = '0a1b2c3d-0000-4000-8000-00000000000f';
const graphRequests = () => sim.requests().filter(({ host }) => host.startsWith('graph.'));
const unavailable = async (reason: string, of = rig) =>
  expect((await of.identify()).groups).toMatchObject({ kind: 'unavailable', reason });

describe('E32 groups in the token', () => {
  test.each([1, 2, 200])('are taken from there: %i of them, and Graph is not asked', async (count) => {
    const bob = sim.user('bob').groups(count);
    sim.signInAs(bob);
    const { groups } = await rig.identify();
    expect(groups).toEqual({ kind: 'complete', ids: expect.arrayContaining(bob.allGroupIds) });
    expect(graphRequests()).toEqual([]);
  });

  test('that are not there are not the same as none', async () => {
    sim.app.emitsGroups = false;
    expect((await rig.identify()).groups).toEqual({ kind: 'absent' });
    sim.nextIdToken({ claims: { groups: [] } });
    expect((await rig.identify()).groups).toEqual({ kind: 'complete', ids: [] });
  });

  test.each([
    ['names', ['Administrators', 'CONTOSO\\Admins'], []],
    ['objects and numbers', [{ id: randomUUID() }, 7, null], []],
    ['a GUID in capitals, twice', [aGroup.toUpperCase(), aGroup], [aGroup]],
  ])('count as GUIDs alone: %s', async (_name, groups, ids) => {
    sim.nextIdToken({ claims: { groups }, drop: ['_claim_names', '_claim_sources'] });
    expect((await rig.identify()).groups).toEqual({ kind: 'complete', ids });
  });

  test('that are no list are none', async () => {
    sim.nextIdToken({ claims: { groups: randomUUID() }, drop: ['_claim_names'] });
    expect((await rig.identify()).groups).toEqual({ kind: 'complete', ids: [] });
  });
});

describe('E32 more groups than a token holds', () => {
  test.each(['claim_names', 'hasgroups'] as const)('come from Graph, all of them, by %s', async (how) => {
    sim.app.overage = how;
    const { groups } = await rig.identify();
    expect(groups).toEqual({ kind: 'complete', ids: expect.any(Array) });
    expect(new Set((groups as { ids: string[] }).ids)).toEqual(new Set(sim.user('olivia').allGroupIds));
    expect(graphRequests()).toHaveLength(3);
    expect(graphRequests()[0]!.url).toContain('/v1.0/me/transitiveMemberOf/microsoft.graph.group?$select=id&$top=999');
  });

  test('just above two hundred, or in groups of groups, are no different; repeated ones count once', async () => {
    for (const [direct, nested] of [
      [201, 0],
      [150, 51],
    ] as const) {
      const olivia = sim.user('olivia').groups(direct, nested);
      expect((await rig.identify()).groups).toEqual({ kind: 'complete', ids: olivia.allGroupIds });
    }
  });

  test('are never looked for where _claim_sources says: not in 2025’s Graph, nor with an attacker', async () => {
    for (const host of ['graph.windows.net', 'attacker.example']) {
      sim.nextIdToken({
        claims: {
          _claim_names: { groups: 'src1' },
          _claim_sources: { src1: { endpoint: `https://${host}/groups` } },
        },
      });
      await rig.identify();
    }
    const hosts = new Set(sim.requests().map(({ host }) => host));
    expect([...hosts].sort()).toEqual(['graph.microsoft.com', 'login.microsoftonline.com']);
  });

  test('are unknown where Graph is not configured, and nobody takes that for none', async () => {
    const without = await startRig(sim);
    await unavailable('graph_is_off', without);
    expect(graphRequests()).toEqual([]);
    await without.close();
  });

  test('can be asked of Graph at every sign-in, also when there are none', async () => {
    sim.signInAs(sim.user('bob').groups(3));
    expect((await always.identify()).groups).toEqual({ kind: 'complete', ids: sim.user('bob').allGroupIds });
    sim.signInAs(sim.user('bob').groups(0));
    expect((await always.identify()).groups).toEqual({ kind: 'complete', ids: [] });
  });

  test('that are not on the allow list are left out, wherever they come from', async () => {
    const olivia = sim.user('olivia');
    const wanted = [olivia.allGroupIds[7]!, olivia.allGroupIds[2300]!];
    const picky = await startRig(sim, { config: { graph: true, groups: { allowList: [...wanted, randomUUID()] } } });
    expect((await picky.identify()).groups).toEqual({ kind: 'complete', ids: wanted });
    sim.signInAs(sim.user('bob').groups([wanted[0]!, randomUUID()]));
    expect((await picky.identify()).groups).toEqual({ kind: 'complete', ids: [wanted[0]] });
    await picky.close();
  });
});

describe('E32 Graph that does not answer as it should', () => {
  test.each([
    ['foreign', 'foreign_next_link'],
    ['other-path', 'foreign_next_link'],
    ['http', 'foreign_next_link'],
    ['loop', 'paging_loop'],
  ] as const)('a next page (%s) is not followed, and the access token stays here', async (nextLink, reason) => {
    sim.graph.nextLink = nextLink;
    await unavailable(reason);
    expect(sim.requests('attacker')).toEqual([]);
    const { authorization } = graphRequests()[0]!.headers;
    sim.log.assertNeverCarried(authorization!.slice('Bearer '.length), 'attacker.example');
  });

  test('twelve thousand groups are too many', async () => {
    sim.user('olivia').groups(12_000);
    await unavailable('too_many_groups');
    expect(graphRequests()).toHaveLength(12);
  });

  test.each([
    ['403', graphFaults.forbidden(), 'status_403:Authorization_RequestDenied'],
    ['401', graphFaults.claimsChallenge('{"access_token":{}}'), 'status_401:InvalidAuthenticationToken'],
    ['503', { status: 503 }, 'failing'],
    ['a page', { body: '<html>' }, 'not_json'],
    ['no list', { body: { value: 'x' } }, 'unreadable'],
    ['a long wait', graphFaults.throttled(30), 'throttled'],
    ['a redirect', { redirectTo: 'https://attacker.example/' }, 'redirected'],
  ])('%s: the groups are unknown, and the sign-in says so', async (_name, fault, reason) => {
    sim.fault('transitiveMemberOf', fault);
    await unavailable(reason);
    expect(sim.requests('attacker')).toEqual([]);
  });

  test('a page that fails after others came leaves no half of them', async () => {
    sim.fault('transitiveMemberOf', { status: 500, after: 2 });
    await unavailable('failing');
  });

  test('a short wait is waited, once', async () => {
    sim.fault('transitiveMemberOf', { ...graphFaults.throttled(1), times: 1 });
    expect((await rig.identify()).groups.kind).toBe('complete');
    sim.fault('transitiveMemberOf', { ...graphFaults.throttled(1) });
    await unavailable('throttled');
  });

  test('one that hangs is given five seconds in all', async () => {
    sim.fault('transitiveMemberOf', { hang: 'before-headers' });
    const begun = Date.now();
    await unavailable('timeout');
    expect(Date.now() - begun).toBeLessThan(9_000);
  });

  test('personal accounts are in no groups that Graph would tell', async () => {
    sim.nextIdToken({ claims: { hasgroups: true } });
    const audience = 'AzureADandPersonalMicrosoftAccount';
    const app = sim.addApp(sim.tenant('contoso'), { audience, redirectUris: [redirectUri] });
    const personal = await startRig(sim, {
      config: {
        tenant: 'consumers',
        allowedTenants: [sim.tenant('consumers').id],
        clientId: app.clientId,
        clientSecret: app.secret,
        graph: true,
        groups: { forceGraph: true },
      },
    });
    sim.signInAs('pat');
    expect((await personal.identify()).groups).toEqual({ kind: 'absent' });
    expect(graphRequests()).toEqual([]);
    await personal.close();
  });
});

describe('E34 a claims challenge of Graph', () => {
  const challenge = '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}';

  test('leads back to Microsoft once where people are checked again, and then to the end', async () => {
    sim.fault('transitiveMemberOf', { ...graphFaults.claimsChallenge(challenge), times: 1 });
    const agent = always.agent();
    const callback = await always.atMicrosoft(await always.begin(agent));
    const again = await agent.visit(callback.url);
    expect(JSON.parse(new URL(again.url).searchParams.get('claims')!)).toMatchObject(JSON.parse(challenge));
    await always.comeBack(agent, await always.atMicrosoft(again.url));
    expect(always.completed.at(-1)!.identity.groups.kind).toBe('complete');
  });

  test('a second time leaves the groups unknown', async () => {
    sim.fault('transitiveMemberOf', graphFaults.claimsChallenge(challenge));
    const agent = always.agent();
    const again = await agent.visit((await always.atMicrosoft(await always.begin(agent))).url);
    await always.comeBack(agent, await always.atMicrosoft(again.url));
    expect(always.completed.at(-1)!.identity.groups).toMatchObject({ kind: 'unavailable' });
  });

  test('that is no JSON, or where nobody is checked again, leaves them unknown at once', async () => {
    sim.fault('transitiveMemberOf', graphFaults.claimsChallenge('{'));
    await unavailable('status_401:InvalidAuthenticationToken', always);
    sim.fault('transitiveMemberOf', graphFaults.claimsChallenge(challenge));
    await unavailable('status_401:InvalidAuthenticationToken');
  });
});
