import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config/config.ts';
import { isAppError } from '../../src/errors.ts';
import { problemsOf } from './problems.ts';

const load = (values: Record<string, unknown>) => loadConfig({ values, env: {} });
const problems = (values: Record<string, unknown>) => problemsOf({ values, env: {} });

const spa = { clientId: 'app', name: 'App', type: 'spa', redirectUris: ['https://app.example.com/callback'] };
const service = { clientId: 'billing', name: 'Billing', type: 'service', secret: 'x'.repeat(32) };
const native = { clientId: 'phone', name: 'Phone', type: 'native' };
const orders = { audience: 'https://orders.example.com', name: 'Orders', scopes: { 'orders:read': 'See orders' } };

describe('many mistakes at once', () => {
  test('are all listed, each with its setting', () => {
    expect(
      problems({
        isuer: 'https://id.example.com',
        keys: { rotateEvry: '1d', publishAhead: '1m' },
        tokens: { accessTokenLife: '2h' },
        passwords: { minLength: 'long' },
        applications: [
          { ...spa, access: { 'https://other.example.com': ['a'], 'https://orders.example.com': ['orders:write'] } },
          { ...spa, name: 7, redirectUri: 'x' },
          { ...service, secret: 'short', refreshTokens: true },
        ],
        apis: [orders, orders],
      }),
    ).toEqual([
      'keys.rotateEvry: is not a setting; did you mean rotateEvery?',
      expect.stringMatching(/^keys\.publishAhead: is 60 s, but jwksMaxAge .* = 300 \+ 10 \+ 60 = 370 s/),
      'tokens.accessTokenLife: must be between 1m and 1h',
      'passwords.minLength: must be a number',
      'applications[1].name: must be text; put it in quotes',
      'applications[1].redirectUri: is not a setting; did you mean redirectUris?',
      'applications[2].secret: must have 32 characters or more: openssl rand -hex 32',
      'applications[2].refreshTokens: is not for type service (RFC 6749 §4.4.3); remove it',
      'isuer: is not a setting; did you mean issuer?',
      'applications[1].clientId: is used by an application above',
      'apis[1].audience: is used by an API above',
    ]);
  });

  test('are an AppError with a code to branch on and the next step to take', () => {
    let thrown: unknown;
    try {
      load({ issuer: 'x', log: { level: 'loud' } });
    } catch (error) {
      thrown = error;
    }
    expect(isAppError(thrown, 'config_invalid')).toBe(true);
    expect((thrown as ConfigError).hint).toContain('signet config check');
    expect((thrown as ConfigError).problems.map(({ path }) => path)).toEqual(['issuer', 'log.level']);
  });

  test('are all that can come of whatever is written: a list of problems, never a crash', () => {
    const anything = fc.oneof(fc.jsonValue(), fc.constantFrom('x', spa, service, native, [spa], orders, [orders]));
    const names = (sample: object) => fc.constantFrom(...Object.keys(sample));
    const section = fc.oneof(anything, fc.dictionary(names(load({}).keys), anything));
    const fields = names({ ...spa, ...service, access: 0, origins: 0, pkce: 0, audience: 0, scopes: 0 });
    const list = fc.oneof(anything, fc.array(fc.oneof(anything, fc.dictionary(fields, anything))));
    const sections = { issuer: anything, keys: section, listen: section, applications: list, apis: list };
    const values = fc.record(sections, { requiredKeys: [] });
    fc.assert(
      fc.property(values, (written) => {
        try {
          load(written);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('never repeat a secret', () => {
    const secret = 'hunter2-hunter2';
    const found = problems({
      database: { url: `mysql://u:${secret}@h/d` },
      keys: { masterKey: secret },
      issuer: `https://u:${secret}@id.example.com`,
      applications: [
        { ...service, secret },
        { ...service, secretSha256: secret },
      ],
    });
    expect(found.map((line) => line.split(':')[0])).toEqual([
      'issuer',
      'database.url',
      'keys.masterKey',
      'applications[0].secret',
      'applications[1].secretSha256',
      'applications[1].clientId',
    ]);
    expect(found.join()).not.toContain(secret);
  });
});

describe('the issuer', () => {
  test.each([
    'https://id.example.com',
    'https://id.example.com:8443',
    'http://localhost:3000',
    'http://signet.localhost',
    'http://127.0.0.1:3000',
    'http://127.8.9.10',
    'http://[::1]:3000',
  ])('may be %s', (issuer) => {
    expect(load({ issuer }).issuer).toBe(issuer);
  });

  test.each([
    ['http://id.example.com', /must be https: over http anybody/],
    ['http://192.168.0.1', /must be https/],
    ['http://localhost.example.com', /must be https/],
    ['http://[::2]', /must be https/],
    ['https://id.example.com/', /must be written as https:\/\/id\.example\.com/],
    ['https://ID.example.com', /must be written as https:\/\/id\.example\.com/],
    ['https://id.example.com:443', /must be written as https:\/\/id\.example\.com/],
    ['https://id.example.com/auth', /must not have a path/],
    ['https://id.example.com?', /query or a fragment/],
    ['https://id.example.com#', /query or a fragment/],
    ['https://me@id.example.com', /user name or password/],
    ['id.example.com', /must be the public URL/],
    ['ftp://id.example.com', /must be the public URL/],
  ])('may not be %s', (issuer, message) => {
    expect(problems({ issuer })).toEqual([expect.stringMatching(message)]);
  });

  test('may not be the audience of an API, whose tokens could then pass for its own', () => {
    const issuer = 'https://id.example.com';
    const problem = 'apis[0].audience: must not be the issuer itself';
    expect(problems({ issuer, apis: [{ ...orders, audience: issuer }] })).toEqual([problem]);
    expect(problems({ apis: [{ ...orders, audience: 'http://localhost:3000' }] })).toEqual([problem]);
  });
});

describe('durations', () => {
  test.each([
    ['90s', 90],
    ['30m', 1800],
    ['1h', 3600],
    ['1d', 86_400],
    [90, 90],
    ['90', 90],
  ])('%s is read as %i seconds', (life, seconds) => {
    expect(load({ session: { life } }).session.life).toBe(seconds);
  });

  test.each(['500ms', '1.5h', '-1m', 'soon', '', '1w', 1.5, true])('%s is refused', (written) => {
    expect(problems({ session: { life: written } })).toEqual([expect.stringMatching(/must be a duration such as/)]);
  });

  test('an access token lives from one minute to one hour, wherever that is said', () => {
    expect(
      problems({
        tokens: { accessTokenLife: '59s' },
        applications: [{ ...spa, accessTokenLife: '61m' }],
        apis: [{ ...orders, accessTokenLife: '2h' }],
      }),
    ).toEqual([
      'tokens.accessTokenLife: must be between 1m and 1h',
      'applications[0].accessTokenLife: must be between 1m and 1h',
      'apis[0].accessTokenLife: must be between 1m and 1h',
    ]);
  });
});

describe('keys', () => {
  test('a key is published no later than every cache has run out', () => {
    expect(load({ keys: { publishAhead: 370 } }).keys.publishAhead).toBe(370);
    expect(problems({ keys: { publishAhead: 369 } })[0]).toMatch(/300 \+ 10 \+ 60 = 370 s/);
  });

  test('a key signs for longer than its successor is published ahead', () => {
    expect(problems({ keys: { rotateEvery: '24h' } })[0]).toMatch(/: is 86400 s, not longer than publishAhead/);
  });

  test('a JWKS is cached for as long as our own verifier keeps one, at least', () => {
    expect(load({ keys: { jwksMaxAge: '30s' } }).keys.jwksMaxAge).toBe(30);
    expect(problems({ keys: { jwksMaxAge: '29s' } })).toEqual(['keys.jwksMaxAge: must be between 30s and 1d']);
  });

  test('a code lives longer than clocks may be apart', () => {
    expect(load({ tokens: { authorizationCodeLife: 61 } }).tokens.authorizationCodeLife).toBe(61);
    expect(problems({ tokens: { authorizationCodeLife: 60 } })).toEqual([
      expect.stringMatching(
        /^tokens\.authorizationCodeLife: is 60 s, not longer than keys\.clockSkew .* 60 - 60 = 0 s/,
      ),
    ]);
  });

  test('a master key is 32 bytes in hex, base64 or base64url', () => {
    const key = Buffer.alloc(32, 0xfb);
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(load({ keys: { masterKey: key.toString(encoding) } }).keys.masterKey).toBe(key.toString(encoding));
    }
    expect(problems({ keys: { masterKey: key.subarray(1).toString('base64') } })[0]).toMatch(/must be 32 random bytes/);
  });
});

describe('other settings', () => {
  test('a cheap password hash is for loopback issuers only', () => {
    expect(load({ passwords: { bcryptCost: 4 } }).passwords.bcryptCost).toBe(4);
    const issuer = 'https://id.example.com';
    expect(problems({ issuer, passwords: { bcryptCost: 9 } })[0]).toMatch(/must be at least 10/);
  });

  test.each([
    ['proxy', { trusted: ['10.0.0.0/33'] }, /prefix of 1 to 32/],
    ['proxy', { trusted: ['0.0.0.0/0'] }, /would believe everybody/],
    ['proxy', { trusted: ['proxy.example.com'] }, /must be an IP address or a network/],
    ['branding', { color: 'blue' }, /must be a colour/],
    ['database', { url: 'data/signet.db' }, /must be sqlite:<file>/],
    ['database', { url: 'sqlite://data/signet.db' }, /must be sqlite:<file>/],
    ['listen', { port: 70_000 }, /must be at most 65535/],
    ['keys', 'master.key', /must hold names and values/],
    ['applications', {}, /must be a list/],
    ['__proto__', {}, /is not a setting; known here: issuer, listen/],
  ])('%s: %o is refused', (section, value, message) => {
    expect(problems({ [section]: value })).toEqual([expect.stringMatching(message)]);
  });
});
