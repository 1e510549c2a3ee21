import { describe, expect, test } from 'vitest';
import { configWarnings, loadConfig } from '../../src/config/config.ts';
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
      clientId: 'app',
      name: 'App',
      type: 'spa',
      redirectUris: ['https://app.example.com/callback'],
      postLogoutRedirectUris: [],
      origins: [],
      firstParty: false,
      pkce: 'required',
      access: {},
      refreshTokens: true,
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
    // As they are written: what is compared is the text (RFC 9700 §2.1).
    [spa, 'https://APP.example.com/callback'],
    [spa, 'HTTPS://app.example.com/callback'],
    [spa, 'https://app.example.com:443/callback'],
    [spa, 'https://app.example.com/a/../callback'],
    [spa, 'https://app.example.com/%7Ecallback?a=%20b'],
    [spa, 'https://b\u00fccher.example/callback'],
    [spa, 'http://localhost:80/callback'],
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
    [spa, 'https:app.example.com/callback', /must be written as https:\/\/app\.example\.com\/callback/],
    [spa, 'https:///app.example.com/callback', /must be written as/],
    [native, 'http://127.0.0.2/callback', /must have 127\.0\.0\.1, \[::1\] or localhost/],
    [native, 'https://localhost/callback', /must not be https on loopback/],
    [spa, 'com.example.app:/callback', /other schemes are for applications of type native/],
    [native, 'myapp:/callback', /scheme named after a domain/],
    [native, 'kitchenowl:/signin/redirect', /allowRedirectSchemesThatAnyAppMayClaim: true/],
    [native, 'javascript:alert(1)', /must not use the scheme javascript/],
  ])('of %o may not be %s', (app, uri, message) => {
    expect(problems({ ...app, redirectUris: [uri] })).toEqual([expect.stringMatching(message)]);
  });
});

describe('a scheme that any application may claim (RFC 8252 §8.4)', () => {
  const allowed = { ...native, allowRedirectSchemesThatAnyAppMayClaim: true };

  test.each([
    'vscode://publisher.extension/callback',
    'kitchenowl:/signin/redirect',
    'oc://ios.owncloud.com',
    'vscode://',
  ])('may be used by a native application that says so: %s', (uri) => {
    const app = { ...allowed, redirectUris: [uri], postLogoutRedirectUris: [uri] };
    expect(load(app)).toMatchObject({ redirectUris: [uri], postLogoutRedirectUris: [uri] });
    expect(problems({ ...native, redirectUris: ['com.example:/'], postLogoutRedirectUris: [uri] })).toEqual([
      expect.stringMatching(/postLogoutRedirectUris\[0\]: must use a scheme named after a domain/),
    ]);
  });

  test.each([
    'javascript:alert(1)',
    'JavaScript:alert(1)',
    'data:text/html,x',
    'file:///callback',
    'blob:https://a.example/x',
    'vbscript:x',
    'about:blank',
    'view-source:https://a.example',
    'filesystem:https://a.example/x',
    'mailto:a@example.com',
    'intent:#x',
    'urn:ietf:wg:oauth:2.0:oob',
    'ws://a.example/',
  ])('may not be one that is no application’s own, whatever is said: %s', (uri) => {
    expect(problems({ ...allowed, redirectUris: [uri] })).toEqual([expect.stringMatching(/must not/)]);
  });

  test('is for native applications alone', () => {
    expect(problems({ ...spa, allowRedirectSchemesThatAnyAppMayClaim: true })).toEqual([
      expect.stringMatching(/is for type native only, not for spa/),
    ]);
  });
});

describe('where logout tokens go (OpenID Connect Back-Channel Logout 1.0 §2.2)', () => {
  test.each([
    'https://app.example.com/backchannel-logout',
    'https://app.example.com/logout?tenant=1',
    'http://localhost:4000/logout',
    'http://127.0.0.1:4000/logout',
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
    expect(problems({ ...service, backchannelLogoutUri: 'https://a.example.com/' })).toEqual([
      expect.stringMatching(/backchannelLogoutUri: is not for type service/),
    ]);
    expect(problems({ ...web, backchannelLogoutSessionRequired: true })).toEqual([
      expect.stringMatching(/backchannelLogoutSessionRequired: has no use without backchannelLogoutUri/),
    ]);
  });
});

describe('an origin', () => {
  test.each([
    ['https://app.example.com/', 'https://app.example.com'],
    ['HTTPS://App.Example.com', 'https://app.example.com'],
    ['https://app.example.com:443', 'https://app.example.com'],
    ['https://b\u00fccher.example', 'https://xn--bcher-kva.example'],
    ['http://localhost:5173', 'http://localhost:5173'],
    ['capacitor://localhost', 'capacitor://localhost'],
    ['Tauri://LocalHost/', 'tauri://localhost'],
  ])('%s is the one that browsers call %s (RFC 6454 §6.2)', (origin, serialised) => {
    expect(load({ ...spa, origins: [origin] })?.origins).toEqual([serialised]);
  });

  test.each([
    ['https://app.example.com/path', /bare origin, written as https:\/\/app\.example\.com$/],
    ['https://app.example.com?', /bare origin/],
    ['https://*.example.com', /wildcard/],
    ['https://user@app.example.com', /user name or password/],
    ['*', /must be an origin/],
    ['null', /must be an origin/],
    ['app.example.com', /must be an origin/],
    ['file:///', /must be an origin/],
    ['http://app.example.com', /must be https/],
  ])('may not be %s', (origin, message) => {
    expect(problems({ ...spa, origins: [origin] })).toEqual([expect.stringMatching(message)]);
  });
});

describe('names that others give are limited as their standards limit them', () => {
  test.each([
    'a',
    'argocd:web',
    'https://app.example.com/client',
    'my app',
    'x'.repeat(255),
    'user@example.com',
    '#?&=',
  ])('a client id may be %s (RFC 6749 Appendix A.1)', (clientId) => {
    expect(load({ ...spa, clientId })?.clientId).toBe(clientId);
  });

  test.each([
    ['', /1 to 255 printable ASCII/],
    ['x'.repeat(256), /1 to 255 printable ASCII/],
    ['b\u00fcro', /printable ASCII/],
    ['a\nb', /printable ASCII/],
    [' app', /begin or end with a space/],
    ['__proto__', /JavaScript/],
  ])('a client id may not be %j', (clientId, message) => {
    expect(problems({ ...spa, clientId })).toEqual([expect.stringMatching(message)]);
  });

  test.each([
    'rabbitmq',
    'my api',
    'kafka.orders_v2',
    'B\u00fccher',
    'urn:example:orders',
    'api://72f988bf',
    'https://a.example/?q=1#f',
    'https://a.example/',
    '*',
  ])('an audience may be %s (RFC 7519 §2)', (audience) => {
    const values = {
      apis: [{ audience, name: 'Any', scopes: { a: 'A' } }],
      applications: [{ ...spa, access: { [audience]: ['a'] } }],
    };
    expect(loadConfig({ values, env: {} }).applications[0]?.access).toEqual({ [audience]: ['a'] });
  });

  test.each([
    ['', /must be a name such as rabbitmq/],
    [' a', /must be a name/],
    ['a\tb', /must be a name/],
    ['my api: orders', /has a colon and so must be a URI/],
    [':a', /must be a URI/],
    ['http://[x', /must be a URI/],
    ['urn:signet:audience:a', /names of other audiences/],
  ])('an audience may not be %j', (audience, message) => {
    const found = problemsOf({ values: { apis: [{ audience, name: 'Any' }] }, env: {} });
    expect(found).toEqual([expect.stringMatching(message)]);
  });

  test.each([
    ['x'.repeat(31), /32 characters or more/],
    [`${'x'.repeat(32)}\u00fc`, /printable ASCII on one line/],
    [`${'x'.repeat(32)}\n`, /printable ASCII on one line/],
  ])('a client secret may not be %j (RFC 6749 Appendix A.2)', (wrong, message) => {
    expect(problems({ ...service, secret: wrong })).toEqual([expect.stringMatching(message)]);
  });

  test('a name that people read is one line', () => {
    expect(problems({ ...spa, name: 'App\nUser: admin' })).toEqual([
      expect.stringMatching(/must not contain line breaks/),
    ]);
    expect(load({ ...spa, name: '\u0160koda \u2013 \u8ba2\u5355' })?.name).toBe('\u0160koda \u2013 \u8ba2\u5355');
  });
});

describe('what is legal and likely to go wrong is a warning, with its place', () => {
  const warnings = (values: Record<string, unknown>) =>
    configWarnings(loadConfig({ values, env: {} })).map(({ path, message }) => `${path}: ${message}`);
  const warned = (app: object) => warnings({ applications: [app] });

  test.each([
    ['https://APP.example.com/callback', 'https://app.example.com/callback'],
    ['https://app.example.com:443/callback', 'https://app.example.com/callback'],
    ['https://app.example.com/a/../callback', 'https://app.example.com/callback'],
    ['https://b\u00fccher.example/callback', 'https://xn--bcher-kva.example/callback'],
  ])('a redirect URI %s, which a library may send as %s', (uri, other) => {
    const [found, ...more] = warned({ ...spa, redirectUris: [uri] });
    expect(more).toEqual([]);
    expect(found).toContain('applications[0].redirectUris[0]: is compared as it is written');
    expect(found).toContain(`sends ${other} is refused`);
    expect(warned({ ...spa, redirectUris: [uri, other] })).toEqual([]);
    expect(warned({ ...spa, postLogoutRedirectUris: [uri] })).toHaveLength(1);
  });

  test.each(['%', '+', ':', '/', '=', '&', ' ', '@'])('a client secret with "%s" in it', (character) => {
    const secretWith = `${'x'.repeat(32)}${character}y`;
    expect(warned({ ...service, secret: secretWith })).toEqual([
      expect.stringMatching(/^applications\[0\]\.secret: has characters that .* openssl rand -hex 32$/),
    ]);
    expect(warned({ ...service, secret: secretWith }).join()).not.toContain(secretWith);
    expect(warned({ ...service, secret: `${'x'.repeat(32)}-._~` })).toEqual([]);
  });

  test('a client id of that kind, where a secret goes with it', () => {
    expect(warned({ ...service, clientId: 'a:b' })).toEqual([
      expect.stringMatching(/^applications\[0\]\.clientId: has/),
    ]);
    expect(warned({ ...spa, clientId: 'a:b' })).toEqual([]);
  });

  test('an access token of a browser or a device that is renewed as soon as it is there', () => {
    const brief = /is (1m|90s|119s): a library in app .* renew without a pause/;
    expect(warned({ ...spa, accessTokenLife: '1m' })).toEqual([expect.stringMatching(brief)]);
    expect(warned({ ...spa, type: 'native', accessTokenLife: '119s' })).toEqual([expect.stringMatching(brief)]);
    expect(warned({ ...spa, accessTokenLife: '2m' })).toEqual([]);
    expect(warned({ ...web, accessTokenLife: '1m' })).toEqual([]);
    expect(warnings({ tokens: { accessTokenLife: '90s' }, applications: [spa] })).toEqual([
      expect.stringMatching(/^tokens\.accessTokenLife: is 90s: .* in app /),
    ]);
    const apis = [{ ...orders, accessTokenLife: '1m' }];
    expect(warnings({ apis, applications: [{ ...spa, access: { [orders.audience]: [] } }] })).toEqual([
      expect.stringMatching(/^apis\[0\]\.accessTokenLife: is 1m/),
    ]);
    expect(
      warnings({ apis, applications: [{ ...spa, accessTokenLife: '5m', access: { [orders.audience]: [] } }] }),
    ).toEqual([]);
    expect(warnings({ apis, applications: [spa] })).toEqual([]);
  });
});
