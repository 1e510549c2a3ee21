import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { loadConfig } from '../../src/config/config.ts';
import { externalIdOf } from '../../src/entra/account-linking.ts';
import { problemsOf } from '../config/problems.ts';
import { type Rig, redirectUri, startRig } from './rig.ts';

const hosts = {
  login: 'https://login.sovereign.example',
  issuer: 'https://login.sovereign.example/{tenantid}/v2.0',
  graph: 'https://graph.sovereign.example',
};

describe('E3 a cloud that is in no table', () => {
  let sim: EntraSim;
  let rig: Rig;
  beforeAll(async () => {
    sim = await startEntraSim();
    const home = sim.addTenant('berlin', { cloud: 'sovereign' });
    home.addUser('clara');
    const { clientId, secret: clientSecret } = sim.addApp(home, { redirectUris: [redirectUri] });
    rig = await startRig(sim, { config: { tenant: home.id, customCloud: hosts, clientId, clientSecret, graph: true } });
  });
  afterAll(async () => {
    await rig.close();
    await sim.close();
  });
  beforeEach(() => {
    sim.reset();
    sim.signInAs('clara');
    rig.connector.invalidateKeys();
    rig.completed.length = 0;
    rig.failures.length = 0;
  });
  const asked = () => [...new Set(sim.requests().map(({ host }) => host))].sort();

  test('E3 signs its people in, asked at its hosts and no other', async () => {
    sim.tenant('berlin').user('clara').groups(300);
    const identity = await rig.identify();
    expect(identity.groups).toMatchObject({ kind: 'complete', ids: { length: 300 } });
    expect(asked()).toEqual(['graph.sovereign.example', 'login.sovereign.example']);
    const logout = new URL(rig.connector.logoutUrl({ postLogoutRedirectUri: 'https://signet.example' }));
    expect(logout.host).toBe('login.sovereign.example');
  });

  test('E3 has people of its own: the same tenant and object of another cloud would be somebody else', async () => {
    const { cloud, tid, oid } = await rig.identify();
    expect(cloud).toBe('https://login.sovereign.example');
    expect(externalIdOf({ cloud, tid, oid })).not.toBe(externalIdOf({ cloud: 'public', tid, oid }));
  });

  test.each([
    'login.microsoftonline.com',
    'login.microsoftonline.us',
    'login.sovereign.example:444',
    'sts.sovereign.example',
  ])('E3 refuses a token that names %s as its issuer', async (host) => {
    sim.nextIdToken({ claims: { iss: `https://${host}/${sim.tenant('berlin').id}/v2.0` } });
    await rig.signIn();
    expect(rig.completed).toEqual([]);
    expect(rig.failures).toMatchObject([{ failure: 'forged', facts: { reason: 'wrong_issuer' } }]);
  });

  test('E3 refuses a token of its own issuer under a key that is published for the public cloud', async () => {
    sim.fault('keys', { body: sim.keys.jwks('login.microsoftonline.com', sim.tenant('berlin').id) });
    await rig.signIn();
    expect(rig.completed).toEqual([]);
    expect(rig.failures).toMatchObject([{ failure: 'forged', facts: { reason: 'wrong_key_issuer' } }]);
  });

  test.each(['graph.microsoft.com', 'graph.microsoft.us', 'login.sovereign.example'])(
    'E3 calls no Graph but its own, whatever a page names as the next: %s is given no token',
    async (host) => {
      sim.tenant('berlin').user('clara').groups(300);
      const next = `https://${host}/v1.0/me/transitiveMemberOf/microsoft.graph.group?$skiptoken=x`;
      sim.fault('transitiveMemberOf', { status: 200, body: { value: [], '@odata.nextLink': next } });
      expect((await rig.identify()).groups).toEqual({ kind: 'unavailable', reason: 'foreign_next_link' });
      const carried = sim.requests().filter(({ headers }) => headers.authorization?.startsWith('Bearer '));
      expect(new Set(carried.map((request) => request.host))).toEqual(new Set(['graph.sovereign.example']));
      expect(asked()).toEqual(['graph.sovereign.example', 'login.sovereign.example']);
    },
  );
});

describe('E3 Entra External ID, where each tenant has a host of its own', () => {
  let sim: EntraSim;
  let rig: Rig;
  let host: string;
  beforeAll(async () => {
    sim = await startEntraSim();
    const shop = sim.addTenant('shop', { cloud: 'external' });
    shop.addUser('carl');
    host = `${shop.id}.ciamlogin.com`;
    const { clientId, secret: clientSecret } = sim.addApp(shop, { redirectUris: [redirectUri] });
    rig = await startRig(sim, {
      config: { tenant: shop.id, cloud: 'external-id', clientId, clientSecret, graph: true },
    });
  });
  afterAll(async () => {
    await rig.close();
    await sim.close();
  });
  beforeEach(() => {
    sim.reset();
    sim.signInAs('carl');
    rig.connector.invalidateKeys();
    rig.completed.length = 0;
    rig.failures.length = 0;
  });

  test('E3 signs its people in, asked at the host of the tenant, by tokens of that host', async () => {
    sim.tenant('shop').user('carl').groups(300);
    const { cloud, tid, groups } = await rig.identify();
    expect([cloud, tid, groups.kind]).toEqual(['external-id', sim.tenant('shop').id, 'complete']);
    expect([...new Set(sim.requests().map((request) => request.host))].sort()).toEqual(
      [host, 'graph.microsoft.com'].sort(),
    );
    expect(new URL(rig.connector.logoutUrl({ postLogoutRedirectUri: 'https://signet.example' })).host).toBe(host);
  });

  test('E3 takes a key that is published there as one of the same tenant in the public cloud', async () => {
    const { id } = sim.tenant('shop');
    sim.keys.issuer(`https://login.microsoftonline.com/${id}/v2.0`);
    expect((await rig.identify()).tid).toBe(id);
  });

  test.each([
    ['the public cloud', (id: string) => `https://login.microsoftonline.com/${id}/v2.0`],
    ['another tenant’s host', (id: string) => `https://${id.replace(/^./, '0')}.ciamlogin.com/${id}/v2.0`],
    ['another tenant', (id: string) => `https://${id}.ciamlogin.com/${id.replace(/^./, '0')}/v2.0`],
    ['the host without the tenant', (id: string) => `https://ciamlogin.com/${id}/v2.0`],
    ['a host that only begins so', (id: string) => `https://${id}.ciamlogin.com.attacker.example/${id}/v2.0`],
  ])('E3 refuses a token that names %s as its issuer', async (_what, issuerOf) => {
    sim.nextIdToken({ claims: { iss: issuerOf(sim.tenant('shop').id) } });
    await rig.signIn();
    expect(rig.completed).toEqual([]);
    expect(rig.failures).toMatchObject([{ failure: 'forged', facts: { reason: 'wrong_issuer' } }]);
  });

  test('E3 refuses a key of another tenant', async () => {
    sim.keys.issuer(`https://${host}/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}/v2.0`);
    await rig.signIn();
    expect(rig.failures).toMatchObject([{ failure: 'forged', facts: { reason: 'wrong_key_issuer' } }]);
  });

  test('E3 wants one tenant by its GUID, and is no custom cloud', () => {
    const entra = (more: object) => ({
      env: {},
      values: {
        entra: {
          tenant: sim.tenant('shop').id,
          clientId: sim.tenant('shop').id,
          clientSecret: 'a-client-secret',
          ...more,
        },
      },
    });
    expect(
      problemsOf(entra({ cloud: 'external-id', tenant: 'organizations', allowedTenants: [sim.tenant('shop').id] })),
    ).toEqual([expect.stringMatching(/^entra\.tenant: must be the GUID of the external tenant/)]);
    expect(problemsOf(entra({ customCloud: { ...hosts, login: `https://${host}` } }))).toEqual([
      expect.stringMatching(/login: is a host of a known cloud; write cloud: external-id/),
    ]);
  });
});

describe('E3 the hosts of a cloud that is in no table', () => {
  const guid = '72f988bf-86f1-41af-91ab-2d7cd011db47';
  const entra = (more: Record<string, unknown>) => ({
    env: {},
    values: { entra: { tenant: guid, clientId: guid, clientSecret: 'a-client-secret', ...more } },
  });
  const problems = (more: Record<string, unknown>) => problemsOf(entra(more));

  test('E3 are three, and all of them https', () => {
    expect(loadConfig(entra({ customCloud: hosts })).entra!.customCloud).toEqual(hosts);
    for (const name of Object.keys(hosts)) {
      const saying = (problem: string) => [
        expect.stringMatching(new RegExp(`^entra\\.customCloud\\.${name}: ${problem}`)),
      ];
      const plain = hosts[name as keyof typeof hosts].replace('https', 'http');
      expect(problems({ customCloud: { ...hosts, [name]: undefined } })).toEqual(saying('is missing'));
      expect(problems({ customCloud: { ...hosts, [name]: plain } })).toEqual(saying('must be .*https'));
    }
  });

  test.each([
    'login.sovereign.example',
    'https://login.sovereign.example/',
    'https://login.sovereign.example/x',
    '//x',
    '',
    'https://user@login.sovereign.example',
    'https://LOGIN.sovereign.example',
    'https://login.sovereign.example?x',
  ])('E3 are a host and nothing after it: not %j', (wrong) => {
    for (const name of ['login', 'graph']) {
      expect(problems({ customCloud: { ...hosts, [name]: wrong } }), name).toHaveLength(1);
    }
  });

  test.each([
    'https://login.sovereign.example/v2.0',
    'https://login.sovereign.example/{tenantid}/{tenantid}/v2.0',
    'https://{tenantid}.sovereign.example/v2.0',
    'https://login.sovereign.example/x{tenantid}/v2.0',
    'https://login.sovereign.example/{tenantid}/v2.0?x=1',
    'https://login.sovereign.example/{tenantid}/v2.0#x',
    'https://login.sovereign.example/{tenant}/v2.0',
    'https://login.sovereign.example/a/../{tenantid}/v2.0',
    '{tenantid}',
    '',
  ])('E3 have the tenant once in the path of the issuer: not %j', (issuer) => {
    expect(problems({ customCloud: { ...hosts, issuer } })).toEqual([
      expect.stringMatching(/^entra\.customCloud\.issuer: must be an https URL with \{tenantid\} once/),
    ]);
  });

  test.each([
    ['login', 'https://login.microsoftonline.com', 'public'],
    ['login', 'https://login.partner.microsoftonline.cn', 'china'],
    ['issuer', 'https://login.microsoftonline.us/{tenantid}/v2.0', 'usgov'],
    ['graph', 'https://dod-graph.microsoft.us', 'usgov-dod'],
    ['graph', 'https://graph.microsoft.com', 'public'],
  ])('E3 are none of the table, mixed with others: %s may not be %s', (name, url, cloud) => {
    expect(problems({ customCloud: { ...hosts, [name]: url } })).toEqual([
      `entra.customCloud.${name}: is a host of a known cloud; write cloud: ${cloud} instead`,
    ]);
  });

  test('E3 are instead of a name in the table, not along with it, whichever that is', () => {
    for (const cloud of ['public', 'usgov']) {
      expect(problems({ cloud, customCloud: hosts })).toEqual([
        expect.stringContaining(`entra.customCloud: is set along with cloud (${cloud})`),
      ]);
    }
  });

  test('E3 may come from the environment', () => {
    const env = {
      SIGNET_ENTRA_CUSTOM_CLOUD_LOGIN: hosts.login,
      SIGNET_ENTRA_CUSTOM_CLOUD_ISSUER: hosts.issuer,
      SIGNET_ENTRA_CUSTOM_CLOUD_GRAPH: hosts.graph,
    };
    expect(loadConfig({ ...entra({}), env }).entra!.customCloud).toEqual(hosts);
  });
});
