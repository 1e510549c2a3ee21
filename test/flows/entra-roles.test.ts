import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { problemOn } from '../support/pages.ts';
import { decode } from '../support/user-agent.ts';

const clerks = 'c1e4c500-0000-4000-8000-000000000001';
const roles = { appRoles: { Reader: ['reader'], Boss: ['approver', 'reader'] }, groups: { [clerks]: ['clerk'] } };

let denying: EntraWorld;
let omitting: EntraWorld;
beforeAll(async () => {
  denying = await startEntraWorld({ entra: { graph: true, roles } });
  omitting = await startEntraWorld({
    sim: denying.sim,
    entra: { graph: true, roles, groups: { onOverageFailure: 'omit' } },
  });
});
afterAll(async () => {
  await omitting.close();
  await denying.close();
});
beforeEach(() => {
  denying.sim.reset();
});

let people = 0;
function newUser(fields: { groups?: number | string[]; roles?: string[] }) {
  people += 1;
  denying.sim.tenant('contoso').addUser(`user${people}`, fields);
  return `contoso/user${people}`;
}

async function rolesOf(whom: string, world = denying): Promise<string[]> {
  const { tokens } = await world.signIn(whom, { parameters: { scope: 'openid roles' } });
  return decode(tokens.id_token).payload.roles;
}

const many = (count: number) =>
  Array.from({ length: count }, (_, at) => `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`);

describe('E31: app roles', () => {
  test('E31 give the roles that the mapping says, each once', async () => {
    expect(await rolesOf(newUser({ roles: ['Reader', 'Boss'] }))).toEqual(['approver', 'reader']);
  });

  test('E31 that no mapping names give nothing, least of all when they are called like ours', async () => {
    expect(await rolesOf(newUser({ roles: ['admin', 'clerk', '__proto__', 'constructor', 'Reader '] }))).toEqual([]);
  });

  test('E31 an app role given in another tenant gives nothing here', async () => {
    const { sim } = denying;
    const [contoso, fabrikam] = [sim.tenant('contoso').id, sim.tenant('fabrikam').id];
    sim.app.audience = 'AzureADMultipleOrgs';
    const two = await startEntraWorld({
      sim,
      entra: {
        tenant: 'organizations',
        allowedTenants: [contoso, fabrikam],
        roles: {
          tenants: {
            [contoso]: { appRoles: { Reader: ['reader'], Boss: ['admin'] } },
            [fabrikam]: { appRoles: { Reader: ['guest'] } },
          },
        },
      },
    });
    sim.tenant('fabrikam').addUser('partner', { roles: ['Boss', 'Reader'] });
    expect(await rolesOf('fabrikam/partner', two)).toEqual(['guest']);
    expect(await rolesOf(newUser({ roles: ['Boss', 'Reader'] }), two)).toEqual(['admin', 'reader']);
    sim.app.audience = 'AzureADMyOrg';
    await two.close();
  });

  test('E31 a thousand of them do no harm', async () => {
    const many = Array.from({ length: 1000 }, (_, at) => `Role${at}`);
    expect(await rolesOf(newUser({ roles: [...many, 'Reader'] }))).toEqual(['reader']);
  });

  test('E31 in a text instead of a list are none', async () => {
    const whom = newUser({});
    denying.sim.nextIdToken({ claims: { roles: 'Reader' } });
    const { agent, page } = await denying.arrive({ scope: 'openid roles' });
    const answer = await denying.passMicrosoft(agent, (await agent.visit(buttonOn(page))).url, whom);
    const [account] = await denying.server.store.accounts.listByEmail(`${whom.split('/')[1]}@contoso.example`);
    expect(account?.roles ?? []).toEqual([]);
    expect(answer.url).not.toContain('reader');
  });
});

describe('E32: groups', () => {
  test.each([0, 1, 200, 201, 2305])('E32 of %i groups the one that counts is found, never invented', async (count) => {
    const others = many(Math.max(0, count - 1));
    const groups = count === 0 ? [] : [...others, clerks];
    expect(await rolesOf(newUser({ groups }))).toEqual(count === 0 ? [] : ['clerk']);
    if (count > 0) expect(await rolesOf(newUser({ groups: many(count) }))).toEqual([]);
  });

  test('E32 a group in a group counts', async () => {
    const whom = newUser({});
    denying.sim.user(whom).groups(many(250), [clerks]);
    expect(await rolesOf(whom)).toEqual(['clerk']);
  });

  test.each([
    ['503', { status: 503, body: {} }],
    ['403', { status: 403, body: { error: { code: 'Authorization_RequestDenied' } } }],
    ['a page of some proxy', { status: 200, body: '<h1>Welcome</h1>' }],
  ])('E32 Graph answers %s: the sign-in is refused, and says that this is nobody’s fault', async (_what, fault) => {
    denying.sim.fault('transitiveMemberOf', fault);
    const whom = newUser({ groups: [...many(250), clerks] });
    const { agent, page } = await denying.arrive();
    const answer = await denying.passMicrosoft(agent, (await agent.visit(buttonOn(page))).url, whom);
    expect([answer.status, problemOn(answer)]).toEqual([503, expect.stringContaining('which groups you are in')]);
    expect(agent.cookie('session')).toBeUndefined();
  });

  test('E32 where the operator says so, people come in without their groups, which are kept as not known', async () => {
    denying.sim.fault('transitiveMemberOf', { status: 503, body: {} });
    const whom = newUser({ groups: [...many(250), clerks], roles: ['Reader'] });
    expect(await rolesOf(whom, omitting)).toEqual(['reader']);
    const [account] = await omitting.server.store.accounts.listByEmail(`${whom.split('/')[1]}@contoso.example`);
    const [identity] = await omitting.server.store.identities.of(account!.id);
    expect(identity!.attributes.groups).toMatchObject({ kind: 'unavailable' });
  });

  test('E32 and who has their groups keeps them when Graph fails at a later check', async () => {
    const whom = newUser({ groups: [...many(250), clerks] });
    const { tokens } = await omitting.signIn(whom, { parameters: { scope: 'openid roles' } });
    expect(decode(tokens.id_token).payload.roles).toEqual(['clerk']);
    await omitting.server.store.db.query('update upstream_sessions set checked_at = checked_at - 1000000');
    denying.sim.fault('transitiveMemberOf', { status: 503, body: {} });
    const { status, body } = await omitting.refresh(tokens.refresh_token);
    expect([status, decode(body.id_token).payload.roles]).toEqual([200, ['clerk']]);
  });

  test('E32 a failing Graph matters to nobody where no group is mapped', async () => {
    const plain = await startEntraWorld({ sim: denying.sim, entra: { graph: true } });
    denying.sim.fault('transitiveMemberOf', { status: 503, body: {} });
    expect((await plain.signIn(newUser({ groups: 250 }))).tokens.access_token).toBeDefined();
    await plain.close();
  });

  test('E32 no groups claim is not the same as no group', async () => {
    const whom = newUser({ groups: [clerks] });
    denying.sim.app.emitsGroups = false;
    expect(await rolesOf(whom)).toEqual([]);
    denying.sim.app.emitsGroups = true;
    const [account] = await denying.server.store.accounts.listByEmail(`${whom.split('/')[1]}@contoso.example`);
    const [identity] = await denying.server.store.identities.of(account!.id);
    expect(identity!.attributes.groups).toEqual({ kind: 'absent' });
  });
});

describe('roles from two sides', () => {
  test('what an administrator gave here stays, whatever Microsoft says', async () => {
    const whom = newUser({ roles: ['Reader'] });
    await rolesOf(whom);
    const { accounts } = denying.server.store;
    const [account] = await accounts.listByEmail(`${whom.split('/')[1]}@contoso.example`);
    await accounts.setRoles(account!.id, ['auditor'], 'test');
    expect((await rolesOf(whom)).sort()).toEqual(['auditor', 'reader']);
    denying.sim.user(whom).roles([]);
    expect(await rolesOf(whom)).toEqual(['auditor']);
  });
});
