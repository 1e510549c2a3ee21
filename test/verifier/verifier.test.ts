import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { createVerifier, VerificationError, type VerifierOptions } from '../../src/verifier/index.ts';
import { version } from '../../src/verifier/version.ts';
import { audience, discoveryPath, firstKey, startTestIssuer, type TestIssuer } from './issuer.ts';

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await startTestIssuer();
});
afterAll(() => issuer.close());

const verifierFor = (options: Partial<VerifierOptions> = {}) =>
  createVerifier({ issuer: issuer.issuer, audience, now: () => issuer.clock.now, ...options });

describe('a genuine access token', () => {
  test('becomes a typed result', async () => {
    const verifier = verifierFor();
    const token = await verifier.verify(issuer.token());
    expect(token).toMatchObject({
      sub: 'person-1',
      clientId: 'spa',
      scopes: ['orders:read', 'orders:write'],
      roles: ['clerk'],
      email: 'ada@example.com',
      audience: [audience],
      jti: 'token-1',
      sid: 'session-1',
    });
    expect(token.issuedAt.getTime()).toBe(issuer.clock.now);
    expect(token.expiresAt.getTime()).toBe(issuer.clock.now + 1_800_000);
    expect(token.authTime?.getTime()).toBe(issuer.clock.now - 60_000);
    verifier.close();
  });

  test('needs no person: what is not in it is absent or empty', async () => {
    const verifier = verifierFor();
    const absent = { scope: undefined, roles: undefined, email: undefined, sid: undefined, auth_time: undefined };
    const token = await verifier.verify(issuer.token({ claims: { ...absent, sub: 'spa' } }));
    expect(token.scopes).toEqual([]);
    expect(token.roles).toEqual([]);
    expect(token).not.toHaveProperty('email');
    expect(token).not.toHaveProperty('sid');
    verifier.close();
  });

  test('has claims that nobody can change afterwards', async () => {
    const verifier = verifierFor();
    const { claims } = await verifier.verify(issuer.token({ claims: { deep: { list: [{ x: 1 }] } } }));
    const { deep } = claims as { deep: { list: { x: number }[] } };
    expect(() => {
      (claims as Record<string, unknown>).sub = 'other';
    }).toThrow(TypeError);
    expect(() => {
      (claims.roles as string[]).push('admin');
    }).toThrow(TypeError);
    expect(() => {
      deep.list[0]!.x = 2;
    }).toThrow(TypeError);
    verifier.close();
  });

  test.each([
    ['typ in full and in capitals', { header: { typ: 'APPLICATION/AT+JWT' } }],
    ['an unknown header parameter', { header: { 'x5t#S256': 'abc' } }],
    ['several audiences, ours among them', { claims: { aud: ['https://other.example.com', audience] } }],
    ['nbf within the tolerance', { claims: { nbf: 1767225605 } }],
    ['iat ahead: the clock of the replica that issued it is fast', { claims: { iat: 1767225660 } }],
    ['exp just past, within the tolerance', { claims: { iat: 1767225000, exp: 1767225596 } }],
    ['names and colons inside strings', { claims: { note: '{"a":1,"a":2} \\" : ünïcode \u{1F511}' } }],
    ['a member called __proto__', { claims: JSON.parse('{"__proto__":{"sub":"x"}}') as Record<string, unknown> }],
  ])('is accepted with %s', async (_case, changes) => {
    const verifier = verifierFor();
    await expect(verifier.verify(issuer.token(changes))).resolves.toMatchObject({ sub: 'person-1' });
    verifier.close();
  });

  test.each([
    ['exp', 'expired', { iat: 1767225000, exp: 1767225595 }],
    ['nbf', 'not_yet_valid', { nbf: 1767225606 }],
  ])('is refused one second beyond the tolerance of its %s', async (_claim, code, claims) => {
    const verifier = verifierFor();
    await expect(verifier.verify(issuer.token({ claims }))).rejects.toMatchObject({ code });
    verifier.close();
  });

  test('is verified by a fixed key set without any request', async () => {
    const before = issuer.requests.length;
    const verifier = verifierFor({ jwks: { keys: [firstKey.publicJwk] } });
    await expect(verifier.verify(issuer.token())).resolves.toMatchObject({ sub: 'person-1' });
    await expect(verifier.verify(issuer.token())).resolves.toMatchObject({ sub: 'person-1' });
    const unknown = issuer.token({ header: { kid: 'other' } });
    await expect(verifier.verify(unknown)).rejects.toMatchObject({ code: 'unknown_key' });
    expect(issuer.requests.length).toBe(before);
  });

  test('is refused where more is required than it gives', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    const enough = { scope: ['orders:read', 'orders:write'], role: 'clerk' };
    await expect(verifier.verify(jwt, enough)).resolves.toBeDefined();
    await expect(verifier.verify(jwt, { scope: ['orders:read', 'orders:delete'] })).rejects.toMatchObject({
      code: 'insufficient_scope',
      status: 403,
      wwwAuthenticate:
        'Bearer error="insufficient_scope", ' +
        'error_description="the token does not have the scope this needs", scope="orders:read orders:delete"',
    });
    const lacking = { code: 'insufficient_role', status: 403 };
    await expect(verifier.verify(jwt, { role: ['clerk', 'admin'] })).rejects.toMatchObject(lacking);
    await expect(verifier.verify(jwt, { scope: '' })).rejects.toThrow(TypeError);
    await expect(verifier.verify(jwt, { scope: 'a" realm="b' })).rejects.toThrow(TypeError);
    await expect(verifier.verify(jwt, { scope: undefined, role: [undefined as never] })).rejects.toThrow(TypeError);
    verifier.close();
  });
});

describe('audience', () => {
  test.each([[undefined], [''], [[]], [['']], [[undefined]], [42]])('%j is refused with a sentence', (value) => {
    expect(() => verifierFor({ audience: value as never })).toThrow(/audience is required/);
  });

  test('null, and only null, accepts a token for another service', async () => {
    const verifier = verifierFor({ audience: null });
    const elsewhere = issuer.token({ claims: { aud: 'https://other.example.com' } });
    await expect(verifier.verify(elsewhere)).resolves.toBeDefined();
    verifier.close();
  });

  test('of several, any will do', async () => {
    const verifier = verifierFor({ audience: ['https://old.example.com', audience] });
    await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
    const other = issuer.token({ claims: { aud: 'https://x.example.com' } });
    await expect(verifier.verify(other)).rejects.toMatchObject({ code: 'wrong_audience' });
    verifier.close();
  });
});

describe('an issuer', () => {
  test.each([
    'http://id.example.com',
    'http://localhost.example.com',
    'http://127.0.0.1.example.com',
    'http://notlocalhost',
    'ftp://localhost',
    'id.example.com',
    'https://user@id.example.com',
    'https://id.example.com/#x',
    'https://id.example.com/?x',
    '',
    undefined,
  ])('%s is refused', (value) => {
    expect(() => createVerifier({ issuer: value as string, audience })).toThrow(TypeError);
  });

  test.each([
    'http://localhost:3000',
    'http://id.localhost',
    'http://127.9.9.9',
    'http://[::1]:3000',
    'https://id.example.com/tenant',
  ])('%s is accepted', (value) => {
    expect(() => createVerifier({ issuer: value, audience }).close()).not.toThrow();
  });

  test('on http elsewhere needs the long option, and so do its keys', () => {
    const insecure = { issuer: 'http://id.example.com', audience };
    expect(() => createVerifier({ ...insecure, allowHttpIssuerForTests: true })).not.toThrow();
    expect(() => verifierFor({ jwksUri: 'http://id.example.com/jwks' })).toThrow(/jwksUri must be https/);
  });
});

describe('other options', () => {
  test.each([
    { clockToleranceSeconds: -1 },
    { maxTokenBytes: Number.NaN },
    { timeoutSeconds: '5' as never },
    { service: 'a\r\nb' },
    { service: 'a) (b' },
    { jwks: {} as never },
    { jwks: { keys: [] }, jwksUri: 'https://id.example.com/jwks' },
  ])('%j is refused', (options) => {
    expect(() => verifierFor(options)).toThrow(TypeError);
  });

  // Each would make a timer that goes off at once, over and over.
  test.each<[string, number[]]>([
    ['maxCacheSeconds', [0, 0.5, -1, Number.NaN, Infinity, 1e9]],
    ['cooldownSeconds', [-1, Number.NaN, Infinity, 1e9]],
    ['timeoutSeconds', [0, -1, Number.NaN, Infinity, 1e9]],
  ])('%s is refused where it could not be kept: %j', (name, values) => {
    for (const value of values) expect(() => verifierFor({ [name]: value }), String(value)).toThrow(`${name} must be`);
  });

  test('service is told to the issuer, with the version of the package', async () => {
    const verifier = verifierFor({ service: 'orders-api' });
    await verifier.ready();
    expect(issuer.requests.at(-1)?.userAgent).toBe(`signet-verifier/${packageJson.version} (orders-api)`);
    expect(version).toBe(packageJson.version);
    verifier.close();
  });

  test('jwksUri skips discovery', async () => {
    const before = issuer.requests.length;
    const verifier = verifierFor({ jwksUri: issuer.jwksUri });
    await verifier.verify(issuer.token());
    expect(issuer.requests.slice(before).map(({ path }) => path)).toEqual(['/jwks']);
    verifier.close();
  });
});

describe('a verifier', () => {
  test('asks for nothing before it is used, and once for many that come together', async () => {
    const before = issuer.requests.length;
    const verifier = verifierFor();
    expect(issuer.requests.length).toBe(before);
    await Promise.all(Array.from({ length: 50 }, () => verifier.verify(issuer.token())));
    expect(issuer.requests.slice(before).map(({ path }) => path)).toEqual([discoveryPath, '/jwks']);
    verifier.close();
  });

  test('refuses after close, as what it is: unable to tell', async () => {
    const verifier = verifierFor();
    await verifier.ready();
    verifier.close();
    const error: unknown = await verifier.verify(issuer.token()).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(VerificationError);
    expect(error).toMatchObject({ code: 'keys_unavailable', status: 503, wwwAuthenticate: undefined });
  });
});
