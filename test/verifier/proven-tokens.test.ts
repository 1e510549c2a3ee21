// The same token again: it is not verified anew, and yet whatever can change is looked at every time.

import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createVerifier, type Verifier, type VerifierOptions } from '../../src/verifier/index.ts';
import { createProvenTokens, type Proven, tokenDigest } from '../../src/verifier/proven-tokens.ts';
import { audience, base64url, firstKey, secondKey, startTestIssuer, type TestIssuer } from './issuer.ts';
import { serveList, statusOf } from './status-lists.ts';

// Counted where the verifier gets it from, for this file alone: the next one in this process has node's own.
const verifySignature = { calls: 0 };
const { verify } = crypto;
beforeAll(() => {
  crypto.verify = ((...values: Parameters<typeof verify>) => {
    verifySignature.calls += 1;
    return verify(...values);
  }) as typeof verify;
  syncBuiltinESMExports();
});
afterAll(() => {
  crypto.verify = verify;
  syncBuiltinESMExports();
});

let issuer: TestIssuer;
let verifiers: Verifier[];

beforeEach(async () => {
  issuer = await startTestIssuer();
  verifiers = [];
  verifySignature.calls = 0;
});
afterEach(async () => {
  for (const verifier of verifiers) verifier.close();
  await issuer.close();
});

function verifierFor(options: Partial<VerifierOptions> = {}): Verifier {
  const verifier = createVerifier({ issuer: issuer.issuer, audience, now: () => issuer.clock.now, ...options });
  verifiers.push(verifier);
  return verifier;
}

const code = (verifier: Verifier, jwt: string) =>
  verifier.verify(jwt).then(
    () => 'accepted',
    (error: { code?: string }) => error.code ?? error,
  );
const eventually = (verifier: Verifier, jwt: string, answer: string) =>
  vi.waitFor(async () => expect(await code(verifier, jwt)).toBe(answer), { timeout: 2000, interval: 5 });
const pass = (seconds: number) => {
  issuer.clock.now += seconds * 1000;
};

describe('a token that comes again', () => {
  test('costs no signature, and says the same', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    const first = await verifier.verify(jwt);
    const again = await verifier.verify(jwt);
    expect(verifySignature.calls).toBe(1);
    expect(again).toEqual(first);
  });

  test('costs one each time where nothing is to be remembered', async () => {
    const verifier = verifierFor({ maxRememberedTokens: 0 });
    const jwt = issuer.token();
    for (let at = 0; at < 3; at++) expect(await code(verifier, jwt)).toBe('accepted');
    expect(verifySignature.calls).toBe(3);
  });

  test('is refused from the moment it expires', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    expect(await code(verifier, jwt)).toBe('accepted');
    pass(1804);
    expect(await code(verifier, jwt)).toBe('accepted');
    pass(1);
    expect(await code(verifier, jwt)).toBe('expired');
    expect(verifySignature.calls).toBe(1);
  });

  test('is refused where the clock goes back before its beginning', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token({ claims: { nbf: issuer.clock.now / 1000 } });
    expect(await code(verifier, jwt)).toBe('accepted');
    pass(-6);
    expect(await code(verifier, jwt)).toBe('not_yet_valid');
  });

  test('is refused when its key is no longer published', async () => {
    const verifier = verifierFor({ cooldownSeconds: 0 });
    issuer.keys = [firstKey.publicJwk, secondKey.publicJwk];
    const jwt = issuer.token();
    expect(await code(verifier, jwt)).toBe('accepted');
    issuer.keys = [secondKey.publicJwk];
    pass(300);
    await eventually(verifier, jwt, 'unknown_key');
  });

  test('is verified anew when another key took over the name of its own', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    expect(await code(verifier, jwt)).toBe('accepted');
    issuer.keys = [{ ...secondKey.publicJwk, kid: firstKey.kid }];
    issuer.instead.set('/jwks', (_request, response) => response.end(JSON.stringify({ keys: issuer.keys })));
    pass(300);
    await eventually(verifier, jwt, 'bad_signature');
  });

  test('is refused when the last known keys are too old', async () => {
    const verifier = verifierFor({ lastKnownGoodSeconds: 60 });
    const jwt = issuer.token();
    expect(await code(verifier, jwt)).toBe('accepted');
    issuer.instead.set('/jwks', (_request, response) => response.writeHead(500).end());
    pass(61);
    expect(await code(verifier, jwt)).toBe('keys_unavailable');
  });

  test('is refused once it is revoked', async () => {
    serveList(issuer);
    const verifier = verifierFor();
    const jwt = issuer.token({ claims: statusOf(issuer, 7) });
    expect(await code(verifier, jwt)).toBe('accepted');
    serveList(issuer, { set: [7] });
    pass(15);
    await eventually(verifier, jwt, 'revoked');
    expect(verifySignature.calls).toBe(3); // the token once, and two lists
  });

  test('is refused after close', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    expect(await code(verifier, jwt)).toBe('accepted');
    verifier.close();
    expect(await code(verifier, jwt)).toBe('keys_unavailable');
  });

  test('is asked for its privileges each time', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    await expect(verifier.verify(jwt, { scope: 'orders:read' })).resolves.toBeDefined();
    const more = verifier.verify(jwt, { scope: 'orders:delete' });
    await expect(more).rejects.toMatchObject({ code: 'insufficient_scope' });
  });

  test("is in nobody's power: what one handler does to its result, the next does not see", async () => {
    const verifier = verifierFor();
    const jwt = issuer.token({ claims: { aud: audience, scope: 'a b' } });
    for (let at = 0; at < 2; at++) {
      const token = await verifier.verify(jwt);
      token.expiresAt.setTime(0);
      token.issuedAt.setTime(0);
      token.authTime?.setTime(0);
      Object.assign(token, { sub: 'admin', roles: ['admin'] });
      for (const list of [token.scopes, token.audience]) expect(() => (list as string[]).push('x')).toThrow(TypeError);
    }
    const token = await verifier.verify(jwt);
    expect(token).toMatchObject({ sub: 'person-1', roles: ['clerk'], scopes: ['a', 'b'] });
    expect(token.expiresAt.getTime()).toBe(issuer.clock.now + 1_800_000);
    expect(token.authTime?.getTime()).toBe(issuer.clock.now - 60_000);
  });

  test('has to be that token to the letter', async () => {
    const verifier = verifierFor();
    const jwt = issuer.token();
    expect(await code(verifier, jwt)).toBe('accepted');
    const [head, payload, signature] = jwt.split('.') as [string, string, string];
    const other = base64url(JSON.stringify(issuer.claims({ roles: ['admin'] })));
    expect(await code(verifier, `${head}.${other}.${signature}`)).toBe('bad_signature');
    expect(await code(verifier, `${head}.${payload}.${signature.slice(0, -1)}B`)).toBe('malformed');
    expect(await code(verifier, `${jwt} `)).toBe('malformed');
    expect(await code(verifier, jwt)).toBe('accepted');
  });
});

test('a refused token is not remembered', async () => {
  const verifier = verifierFor();
  await verifier.ready();
  const [head, payload] = issuer.token().split('.');
  const forged = `${head}.${payload}.${base64url(Buffer.alloc(256))}`;
  for (let at = 0; at < 3; at++) expect(await code(verifier, forged)).toBe('bad_signature');
  expect(verifySignature.calls).toBe(3);
});

describe('what is remembered', () => {
  const proven = (kid: string) => ({ kid }) as Proven;

  test.each([1, 2, 3, 10, 1000])('is never more than asked for: %i', (size) => {
    const results = createProvenTokens(size);
    const names = Array.from({ length: size * 3 + 1 }, (_, at) => tokenDigest(`token ${at}`));
    for (const name of names) results.set(name, proven(name));
    expect(names.filter((name) => results.get(name) !== undefined).length).toBeLessThanOrEqual(size);
    expect(results.get(names.at(-1)!)).toEqual(proven(names.at(-1)!));
  });

  test('is what was used lately: a token in use outlasts any number of others', () => {
    const results = createProvenTokens(10);
    results.set('used', proven('used'));
    for (let at = 0; at < 1000; at++) {
      results.set(`other ${at}`, proven('other'));
      expect(results.get('used')).toEqual(proven('used'));
    }
    expect(results.get('other 0')).toBeUndefined();
  });
});
