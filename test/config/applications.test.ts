import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { problemsOf } from './problems.ts';

const spa = { clientId: 'app', name: 'App', type: 'spa', redirectUris: ['https://app.example.com/callback'] };
const secret = 'x'.repeat(32);
const web = { ...spa, type: 'web', secret };
const service = { clientId: 'billing', name: 'Billing', type: 'service', secret };
const native = { clientId: 'phone', name: 'Phone', type: 'native' };
const orders = { audience: 'https://orders.example.com', name: 'Orders', scopes: { 'orders:read': 'See orders' } };

const load = (app: object) => loadConfig({ values: { applications: [app], apis: [orders] }, env: {} }).applications[0];
const problems = (app: object) => problemsOf({ values: { applications: [app], apis: [orders] }, env: {} });

describe('a declared application', () => {
  test('has careful defaults', () => {
    expect(load(spa)).toEqual({
      clientId: 'app', name: 'App', type: 'spa', redirectUris: ['https://app.example.com/callback'],
      postLogoutRedirectUris: [], origins: [], firstParty: false, pkce: 'required', access: {}, refreshTokens: true,
    });
    expect(load(service)?.refreshTokens).toBe(false);
  });

  test('of a server has exactly one secret, one on a device or in a browser has none', () => {
    expect(problems({ ...web, secret: undefined })[0]).toMatch(/^applications\[0\]: of type web needs .* none/);
    expect(problems({ ...service, secretSha256: 'ab'.repeat(32) })[0]).toMatch(/it has secret and secretSha256/);
    expect(problems({ ...spa, secret })[0]).toMatch(/^applications\[0\]\.secret: is not for type spa/);
  });

  test('of type service has nowhere to send people; every other has', () => {
    expect(problems({ ...service, redirectUris: spa.redirectUris })[0]).toMatch(/redirectUris: is not for type serv/);
    expect(problems({ ...spa, redirectUris: [] })[0]).toMatch(/redirectUris: needs at least one URI for type spa/);
  });

  test('uses PKCE, unless it is of type web and says otherwise', () => {
    expect(load({ ...web, pkce: 'optional' })?.pkce).toBe('optional');
    expect(problems({ ...spa, pkce: 'optional' })[0]).toMatch(/\.pkce: may be optional for type web only/);
  });

  test('may call what the APIs declare, and nothing else', () => {
    const access = { [orders.audience]: ['orders:read'] };
    expect(load({ ...spa, access, defaultAudience: orders.audience })).toMatchObject({ access });
    const wrong = { access: { 'urn:other': [], [orders.audience]: ['toString'] }, defaultAudience: 'urn:x' };
    expect(problems({ ...spa, ...wrong })).toEqual([
      'applications[0].defaultAudience: must be one of the audiences under access',
      'applications[0].access["urn:other"]: names an audience that no entry of apis declares',
      'applications[0].access["https://orders.example.com"]: asks for scope toString, which that API does not declare',
    ]);
  });

  test('may call the administration of Signet itself, which nobody has to declare and nobody can', () => {
    const issuer = 'https://id.example.com';
    const administration = `${issuer}/admin`;
    const access = { [administration]: ['admin:read', 'admin:write'] };
    expect(loadConfig({ values: { issuer, applications: [{ ...spa, access }] }, env: {} }).apis).toEqual([]);
    const values = { issuer, applications: [{ ...spa, access: { [administration]: ['admin:everything'] } }] };
    expect(problemsOf({ values, env: {} })).toEqual([
      `applications[0].access["${administration}"]: asks for scope admin:everything, which that API does not declare`,
    ]);
    const declared = { issuer, apis: [{ audience: administration, name: 'Mine' }] };
    expect(problemsOf({ values: declared, env: {} })).toEqual([
      'apis[0].audience: is Signet administration, which is always there; remove it',
    ]);
  });

  test.each(['openid', 'offline_access', 'two words'])('cannot be given a scope called "%s"', (scope) => {
    const found = problemsOf({ values: { apis: [{ ...orders, scopes: { [scope]: 'x' } }] }, env: {} });
    expect(found).toEqual([expect.stringMatching(/is reserved|must not have spaces/)]);
  });
});

describe('a redirect URI', () => {
  test.each([
    [spa, 'https://app.example.com'],
    [spa, 'https://app.example.com/callback?tenant=1'],
    [spa, 'http://localhost:5173/callback'],
    [native, 'com.example.app:/callback'],
    [native, 'http://127.0.0.1/callback'],
    [native, 'http://[::1]/callback'],
  ])('of %o may be %s', (app, uri) => {
    expect(load({ ...app, redirectUris: [uri] })?.redirectUris).toEqual([uri]);
  });

  test.each([
    [spa, '/callback', /must be an absolute URI/],
    [spa, 'http://app.example.com/callback', /must be https/],
    [spa, 'https://app.example.com/callback#', /must not have a fragment/],
    [spa, 'https://*.example.com/callback', /wildcard/],
    [spa, 'https://app.example.com@evil.example.org/callback', /user name or password/],
    [spa, 'https://app.example.com\\@evil.example.org', /backslashes/],
    [spa, 'https://app.example.com/\tcallback', /control characters/],
    [spa, 'https://APP.example.com/callback', /must be written as https:\/\/app\.example\.com\/callback/],
    [spa, 'https://app.example.com:443/callback', /must be written as/],
    [spa, 'https://app.example.com/a/../callback', /must be written as/],
    [spa, 'https:app.example.com/callback', /must be written as/],
    [spa, 'com.example.app:/callback', /other schemes are for applications of type native/],
    [native, 'myapp:/callback', /scheme named after a domain/],
    [native, 'javascript:alert(1)', /scheme named after a domain/],
  ])('of %o may not be %s', (app, uri, message) => {
    expect(problems({ ...app, redirectUris: [uri] })).toEqual([expect.stringMatching(message)]);
  });
});

describe('where logout tokens go (OpenID Connect Back-Channel Logout 1.0 §2.2)', () => {
  test.each([
    'https://app.example.com/backchannel-logout', 'https://app.example.com/logout?tenant=1',
    'http://localhost:4000/logout', 'http://127.0.0.1:4000/logout',
  ])('may be %s', (backchannelLogoutUri) => {
    const app = { ...web, backchannelLogoutUri, backchannelLogoutSessionRequired: true };
    expect(load(app)).toMatchObject({ backchannelLogoutUri, backchannelLogoutSessionRequired: true });
  });

  test.each([
    ['/backchannel-logout', /must be the address at which it takes logout tokens/],
    ['com.example.app:/logout', /must be the address/],
    ['https://app.example.com/\tlogout', /must be the address/],
    ['http://app.example.com/logout', /must be https/],
    ['http://10.0.0.7/logout', /must be https/],
    ['https://app.example.com/logout#here', /must not have a fragment/],
    ['https://user:word@app.example.com/logout', /must not carry a user name or password/],
  ])('may not be %s', (backchannelLogoutUri, message) => {
    expect(problems({ ...web, backchannelLogoutUri })).toEqual([expect.stringMatching(message)]);
  });

  test('is of no use to a service, and a session required without it is to nobody', () => {
    expect(problems({ ...service, backchannelLogoutUri: 'https://a.example.com/' }))
      .toEqual([expect.stringMatching(/backchannelLogoutUri: is not for type service/)]);
    expect(problems({ ...web, backchannelLogoutSessionRequired: true }))
      .toEqual([expect.stringMatching(/backchannelLogoutSessionRequired: has no use without backchannelLogoutUri/)]);
  });
});

describe('an origin', () => {
  test.each([
    ['https://app.example.com/', /bare origin, written as https:\/\/app\.example\.com/],
    ['https://app.example.com/path', /bare origin/],
    ['https://*.example.com', /wildcard/],
    ['*', /must be an origin/],
    ['null', /must be an origin/],
    ['http://app.example.com', /must be https/],
  ])('may not be %s', (origin, message) => {
    expect(problems({ ...spa, origins: [origin] })).toEqual([expect.stringMatching(message)]);
  });
});
