import { describe, expect, test } from 'vitest';
import {
  compareMappings,
  explainRoles,
  mappingOf,
  type RoleEvidence,
  type RoleMapping,
  rolesOf,
} from '../../src/accounts/role-mapping.ts';
import { problemsOf } from '../config/problems.ts';

const clerks = 'c1e4c500-0000-4000-8000-000000000001';
const bosses = 'b055e500-0000-4000-8000-000000000002';
const [tid, elsewhere] = ['c0117050-0000-4000-8000-000000000001', 'fab11000-0000-4000-8000-000000000002'];
const mapping: RoleMapping = {
  appRoles: { [tid]: { Reader: ['reader'], Boss: ['approver', 'reader'] } },
  groups: { [clerks]: ['clerk'], [bosses]: ['approver'] },
};
const member = (ids: string[], appRoles: string[] = []): RoleEvidence => ({
  tid,
  appRoles,
  groups: { kind: 'complete', ids },
});
const absent: RoleEvidence = { tid, appRoles: [], groups: { kind: 'absent' } };
const unavailable: RoleEvidence = { tid, appRoles: [], groups: { kind: 'unavailable', reason: 'timeout' } };

describe('roles by a mapping', () => {
  test.each<[string, RoleEvidence[], string[]]>([
    ['nobody from elsewhere', [], []],
    ['no app role, no group', [member([])], []],
    ['an app role', [member([], ['Reader'])], ['reader']],
    ['one that gives several', [member([], ['Boss'])], ['approver', 'reader']],
    ['two ways to one role', [member([bosses], ['Boss'])], ['approver', 'reader']],
    ['a group', [member([clerks])], ['clerk']],
    ['groups that are not known', [absent], []],
    ['groups that could not be learnt', [unavailable], []],
    ['two identities of one person', [member([clerks]), member([], ['Reader'])], ['clerk', 'reader']],
    [
      'what nobody mapped, though it is called like a role here',
      [member(['clerk'], ['clerk', 'admin', 'toString'])],
      [],
    ],
    ['an app role of the same name in another tenant', [{ ...member([], ['Boss']), tid: elsewhere }], []],
    ['another letter case', [member([clerks.toUpperCase()], ['reader'])], []],
  ])('%s', (_what, evidence, expected) => {
    expect(rolesOf(mapping, evidence)).toEqual(expected);
  });
});

describe('why a role is there, or is not', () => {
  const because = (evidence: RoleEvidence[], role: string, assigned: string[] = []) => {
    const { has, because: reasons } = explainRoles(mapping, assigned, evidence).find((each) => each.role === role)!;
    return [has, ...reasons];
  };

  test('every way in which it came is named', () => {
    expect(because([member([bosses], ['Boss'])], 'approver', ['approver'])).toEqual([
      true,
      'given here by an administrator',
      'has the app role Boss',
      `is in the group ${bosses}`,
    ]);
  });

  test('and every way that there would have been', () => {
    expect(because([member([clerks])], 'approver')).toEqual([
      false,
      'does not have the app role Boss',
      `is not in the group ${bosses}`,
    ]);
  });

  test('an app role of another tenant is named as what it is', () => {
    expect(because([{ ...member([], ['Boss']), tid: elsewhere }], 'approver')[1]).toBe(
      `has the app role Boss, but not in the tenant ${tid}`,
    );
  });

  test('absent is not empty, and unavailable is neither', () => {
    expect(because([absent], 'clerk')[1]).toContain('is not known: Microsoft sends no groups');
    expect(because([unavailable], 'clerk')[1]).toContain('could not be learnt');
    expect(because([member([])], 'clerk')[1]).toBe(`is not in the group ${clerks}`);
    expect(because([], 'clerk')[1]).toBe('has never signed in with Microsoft');
  });

  test('a role that only an administrator gives is explained, too', () => {
    expect(because([], 'auditor', ['auditor'])).toEqual([true, 'given here by an administrator']);
  });
});

describe('another mapping', () => {
  const after: RoleMapping = {
    appRoles: { [tid]: { Reader: ['reader', 'auditor'] } },
    groups: { [clerks]: ['reader'] },
  };

  test('who would gain and lose what', () => {
    expect(compareMappings(mapping, after, [], [member([clerks])])).toEqual({ gains: ['reader'], loses: ['clerk'] });
    expect(compareMappings(mapping, after, [], [member([], ['Reader'])])).toEqual({ gains: ['auditor'], loses: [] });
    expect(compareMappings(mapping, after, [], [member([])])).toEqual({ gains: [], loses: [] });
  });

  test('what an administrator gave is neither gained nor lost', () => {
    expect(compareMappings(mapping, after, ['clerk', 'reader'], [member([clerks])])).toEqual({ gains: [], loses: [] });
  });
});

describe('a mapping as it is written', () => {
  test('holds for the tenant that is configured, or for each that it names', () => {
    const appRoles = { Reader: ['reader'] };
    expect(mappingOf(tid, { appRoles, tenants: {}, groups: {} }).appRoles).toEqual({ [tid]: appRoles });
    const { appRoles: ofEach } = mappingOf('organizations', {
      appRoles: {},
      tenants: { [tid]: { appRoles } },
      groups: {},
    });
    expect(ofEach).toMatchObject({ [tid]: appRoles });
    expect(rolesOf({ appRoles: ofEach, groups: {} }, [member([], ['Reader'])])).toEqual(['reader']);
  });

  test.each([
    [
      'app roles of no tenant in particular, where people come from several',
      { tenant: 'organizations', allowedTenants: [tid, elsewhere], roles: { appRoles: { Boss: ['admin'] } } },
      /^entra\.roles\.appRoles: is for a single tenant.*write tenants\.<guid>\.appRoles/,
    ],
    [
      'several tenants, where people come from one',
      { tenant: tid, roles: { tenants: { [elsewhere]: { appRoles: {} } } } },
      /^entra\.roles\.tenants: is for several tenants/,
    ],
    [
      'a tenant by its name',
      { tenant: 'common', allowAnyTenant: true, roles: { tenants: { 'contoso.com': {} } } },
      /^entra\.roles\.tenants\["contoso\.com"\]: must be a GUID/,
    ],
  ])('is refused at the start with %s', (_what, entra, problem) => {
    const values = { entra: { clientId: tid, clientSecret: 'a-client-secret', ...entra } };
    expect(problemsOf({ env: {}, values })).toEqual([expect.stringMatching(problem)]);
  });
});
