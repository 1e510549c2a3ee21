import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { describeConfig } from '../../src/config/describe.ts';
import { problemsOf } from '../config/problems.ts';

const guid = '72f988bf-86f1-41af-91ab-2d7cd011db47';
const other = '7f58f645-c190-4ce5-9de4-e2b7acd2a6ab';
const good = { tenant: guid, clientId: other, clientSecret: 'a-client-secret' };
const load = (entra: Record<string, unknown>) =>
  loadConfig({ env: {}, values: { entra: { ...good, ...entra } } }).entra!;
const problems = (entra: Record<string, unknown>) => problemsOf({ env: {}, values: { entra: { ...good, ...entra } } });

describe('E1 the tenant', () => {
  test.each([
    [{ tenant: guid }],
    [{ tenant: guid.toUpperCase() }],
    [{ tenant: 'organizations', allowedTenants: [other] }],
    [{ tenant: 'common', allowAnyTenant: true }],
    [{ tenant: 'consumers', allowedTenants: ['9188040d-6c67-4c5b-b112-36a304b66dad'] }],
  ])('may be %j', (entra) => {
    expect(load(entra).tenant).toBe(String(entra.tenant).toLowerCase());
  });

  test.each([
    'contoso.com',
    'contoso.onmicrosoft.com',
    '',
    guid.slice(1),
    `${guid}0`,
    `${guid} `,
    '../x',
    `${guid}%2Fx`,
    `${guid}/x`,
    'organizations/..',
    'https://login.microsoftonline.com/common',
  ])('may not be %j: the start ends there, with the option’s name and what to do', (tenant) => {
    expect(problems({ tenant })).toContainEqual(expect.stringMatching(/^entra\.tenant: must be .*GUID/));
  });

  test('of a domain name comes with how to learn its GUID', () => {
    expect(problems({ tenant: 'contoso.com' })).toEqual([expect.stringContaining('az account show --query tenantId')]);
  });
});

describe('E2 several tenants', () => {
  test.each(['organizations', 'common', 'consumers'])('%s needs a list of whose people may come', (tenant) => {
    expect(problems({ tenant })).toEqual([expect.stringMatching(/^entra\.allowedTenants: must list/)]);
    expect(problems({ tenant, allowedTenants: [] })).toHaveLength(1);
  });

  test('are listed as whole GUIDs, in whatever case', () => {
    expect(load({ tenant: 'common', allowedTenants: [other.toUpperCase()] }).allowedTenants).toEqual([other]);
    for (const wrong of [` ${other}`, other.slice(0, 8), '*', 'contoso.com']) {
      const problem = expect.stringMatching(/^entra\.allowedTenants\[0\]: must be a GUID/);
      expect(problems({ tenant: 'common', allowedTenants: [wrong] })).toEqual([problem]);
    }
  });

  test('contradict a tenant that is one', () => {
    expect(problems({ allowedTenants: [other] })).toHaveLength(1);
    expect(problems({ allowAnyTenant: true })).toHaveLength(1);
    expect(problems({ tenant: 'common', allowedTenants: [other], allowAnyTenant: true })).toHaveLength(1);
  });
});

describe('E3 the cloud', () => {
  test('is one of a table, and its hosts cannot be set one by one', () => {
    expect(load({ cloud: 'china' }).cloud).toBe('china');
    expect(problems({ cloud: 'germany' })).toHaveLength(1);
    for (const name of ['loginHost', 'graphHost', 'issuer', 'authority']) {
      expect(problems({ [name]: 'x' })).toHaveLength(1);
    }
  });
});

describe('E24 the credential', () => {
  const without = { clientSecret: undefined };

  test.each([
    [{ ...without }, 'it has none'],
    [{ certificateFile: 'c.pem' }, 'it has clientSecret and certificateFile'],
    [{ clientSecretFile: 's' }, 'it has clientSecret and clientSecretFile'],
    [{ ...without, federatedTokenFile: 't', certificateFile: 'c' }, 'it has certificateFile and federatedTokenFile'],
    [{ secondary: {} }, 'it has none'],
  ])('is exactly one: %j', (entra, found) => {
    expect(problems(entra)).toEqual([expect.stringContaining(found)]);
  });

  test.each(['privateKeyFile', 'passphrase', 'passphraseFile'])('%s belongs to a certificate', (name) => {
    expect(problems({ [name]: 'x' })).toEqual([expect.stringContaining(`entra.${name}: belongs to certificateFile`)]);
  });

  test('is never shown, and its files are found from where the configuration is', () => {
    const config = loadConfig({
      env: {},
      cwd: '/etc/signet',
      values: {
        entra: {
          ...good,
          secondary: { certificateFile: 'c.pem', passphrase: 'open-sesame' },
          proxy: 'http://user:pass-word@proxy.example:8080',
        },
      },
    });
    const shown = JSON.stringify(describeConfig(config));
    for (const secret of ['a-client-secret', 'open-sesame', 'pass-word']) expect(shown).not.toContain(secret);
    expect(config.entra!.secondary!.certificateFile).toBe('/etc/signet/c.pem');
  });

  test('may come from the environment, or from a file that is read again when it changes', () => {
    const { clientSecret: _, ...rest } = good;
    const from = (env: Record<string, string>) =>
      loadConfig({ env, cwd: '/etc/signet', values: { entra: rest } }).entra!;
    expect(from({ SIGNET_ENTRA_CLIENT_SECRET: 'from-env' }).clientSecret).toBe('from-env');
    const { clientSecretFile } = from({ SIGNET_ENTRA_CLIENT_SECRET_FILE: 'secrets/entra' });
    expect(clientSecretFile).toBe('/etc/signet/secrets/entra');
  });
});

describe('what else is refused', () => {
  test.each([
    [
      'E29 owned domains with several tenants',
      {
        tenant: 'common',
        allowedTenants: [other],
        trustedEmailDomains: ['example.com'],
      },
      'trustedEmailDomains',
    ],
    ['E29 a domain with an @', { trustedEmailDomains: ['@example.com'] }, 'trustedEmailDomains[0]'],
    ['E29 a domain in capitals', { domains: ['Example.com'] }, 'domains[0]'],
    ['E32 Graph always, but never', { groups: { forceGraph: true } }, 'groups.forceGraph'],
    ['E32 a group by its name', { roles: { groups: { Administrators: ['admin'] } } }, 'roles.groups.Administrators'],
    ['E13 a context that does not exist', { acrValues: { strong: 'c100' } }, 'acrValues.strong'],
    ['E26 a date that is none', { secretExpiresAt: '31.1.2027' }, 'secretExpiresAt'],
    ['a proxy by its name alone', { proxy: 'proxy.example:8080' }, 'proxy'],
    ['E7 a fragment', { responseMode: 'fragment' }, 'responseMode'],
  ])('%s', (_name, entra, path) => {
    expect(problems(entra)).toEqual([expect.stringContaining(`entra.${path}: `)]);
  });

  test('without the section there is no sign-in with Microsoft', () => {
    expect(loadConfig({ env: {}, values: {} })).not.toHaveProperty('entra');
  });
});
