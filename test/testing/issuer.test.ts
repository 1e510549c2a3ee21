import { createHmac, createPublicKey, createVerify, type JsonWebKey } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createTestIssuer, type Forgery, forgeries, type TestIssuer } from '../../src/testing/index.ts';
import { createVerifier, VerificationError, type Verifier } from '../../src/verifier/index.ts';

const audience = 'https://orders.example.com';
const start = Date.UTC(2026, 0, 1);

let clock: number;
let issuer: TestIssuer;
let verifier: Verifier;

beforeEach(async () => {
  clock = start;
  const now = () => clock;
  issuer = await createTestIssuer({ audience, now });
  verifier = createVerifier({ issuer: issuer.issuer, audience, now });
});
afterEach(async () => {
  verifier.close();
  await issuer.close();
});

/** Why a token is refused, or that it is not. */
const refusal = (token: string, by = verifier) =>
  by.verify(token).then(
    () => 'accepted',
    (error: unknown) => (error instanceof VerificationError ? error.code : error),
  );

describe('a service is tested against an issuer in memory', () => {
  test('its verifier accepts the tokens, told nothing but another address', async () => {
    const token = await verifier.verify(issuer.sign({ sub: 'ada', scope: 'orders:read', roles: ['clerk'] }));
    expect(token).toMatchObject({ sub: 'ada', clientId: 'test-client', scopes: ['orders:read'], roles: ['clerk'] });
    expect(token.expiresAt.getTime() - token.issuedAt.getTime()).toBe(30 * 60_000);
  });

  test('it may be given claims once, and a token others', async () => {
    const claims = { sub: 'ada', email: 'ada@example.com' };
    const other = await createTestIssuer({ audience, claims, now: () => clock });
    const otherVerifier = createVerifier({ issuer: other.issuer, audience, now: () => clock });
    expect(await otherVerifier.verify(other.sign())).toMatchObject(claims);
    expect((await otherVerifier.verify(other.sign({ email: undefined }))).claims).not.toHaveProperty('email');
    otherVerifier.close();
    await other.close();
  });

  test('a token is for somebody: without an audience, none is signed', async () => {
    const vague = await createTestIssuer();
    expect(() => vague.sign()).toThrow('say whom the token is for');
    expect(() => vague.sign({ aud: audience })).not.toThrow();
    await vague.close();
  });

  test('it is there within 50 ms, on loopback alone', async () => {
    const times: number[] = [];
    for (let tries = 0; tries < 5; tries += 1) {
      // the fastest: what the machine does beside it is not ours
      const before = performance.now();
      const another = await createTestIssuer({ audience });
      another.sign();
      times.push(performance.now() - before);
      expect(another.issuer).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
      await another.close();
    }
    expect(Math.min(...times)).toBeLessThan(50);
  });

  test('it publishes no private key over HTTP', async () => {
    const response = await fetch(`${issuer.issuer}/jwks`);
    expect(await response.json()).toEqual(issuer.jwks);
    expect(Object.keys(issuer.jwks.keys[0]!).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
    expect(issuer.jwks.keys[0]!.kid).toBe('for-tests-only-1');
  });

  test('closed, it is an issuer that is away: known keys still verify', async () => {
    await verifier.verify(issuer.sign());
    await issuer.close();
    expect(await refusal(issuer.sign())).toBe('accepted');
    expect(await refusal(issuer.forge('unknown-key'))).toBe('keys_unavailable');
  });
});

describe('a service is shown tokens that it must refuse', () => {
  const reasons = {
    expired: 'expired',
    'not-yet-valid': 'not_yet_valid',
    'without-expiry': 'invalid_claims',
    'other-audience': 'wrong_audience',
    'other-issuer': 'wrong_issuer',
    'id-token': 'wrong_type',
    'refresh-token': 'wrong_type',
    unsigned: 'malformed',
    'hmac-with-public-key': 'unsupported_algorithm',
    'other-signature': 'bad_signature',
    'other-key': 'bad_signature',
    'key-in-header': 'malformed',
    'unknown-key': 'unknown_key',
  };

  test.each(['expird', 'constructor', undefined])('%s is none, and the message says which there are', (none) => {
    expect(() => issuer.forge(none as Forgery)).toThrow(/there is no forgery .*expired/);
  });

  test('there is a reason for each of them', () => {
    expect(Object.keys(reasons)).toEqual(forgeries);
  });

  test.each(forgeries)('%s', async (forgery) => {
    expect(await refusal(issuer.forge(forgery))).toBe(reasons[forgery]);
  });
});

describe('a forged token is what somebody without the key of the issuer can make', () => {
  const parts = (jwt: string) => {
    const [header, claims, signature] = jwt.split('.') as [string, string, string];
    return { header: decodeProtectedHeader(jwt), text: Buffer.from(`${header}.${claims}`), signature };
  };
  const isSignedBy = (jwt: string, jwk: object) => {
    const { text, signature } = parts(jwt);
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
    return createVerify('sha256').update(text).verify(key, signature, 'base64url');
  };

  test.each<Forgery>([
    'other-key',
    'key-in-header',
    'unknown-key',
    'other-signature',
    'hmac-with-public-key',
    'unsigned',
  ])('%s: no published key verifies it', (forgery) => {
    const jwt = issuer.forge(forgery);
    expect(issuer.jwks.keys.map((jwk) => isSignedBy(jwt, jwk))).toEqual([false]);
  });

  test("key-in-header: the key that it brings along verifies it, under the name of the issuer's", () => {
    const jwt = issuer.forge('key-in-header');
    const { jwk, kid } = parts(jwt).header;
    expect(isSignedBy(jwt, jwk!)).toBe(true);
    expect(kid).toBe(issuer.jwks.keys[0]!.kid);
    expect(issuer.jwks.keys.map(({ n }) => n)).not.toContain(jwk!.n);
  });

  test('hmac-with-public-key: the public key as PEM is the secret', () => {
    const jwt = issuer.forge('hmac-with-public-key');
    const { text, signature } = parts(jwt);
    const pem = createPublicKey({ key: issuer.jwks.keys[0]! as never, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    });
    expect(createHmac('sha256', pem).update(text).digest('base64url')).toBe(signature);
  });
});

describe('a service is taken through a change of keys', () => {
  test('tokens of both keys are accepted after a rotation', async () => {
    const before = issuer.sign();
    await verifier.verify(before);
    const kid = await issuer.rotate();
    expect(kid).toBe('for-tests-only-2');
    expect(issuer.jwks.keys.map((key) => key.kid)).toEqual([kid, 'for-tests-only-1']);
    expect(await refusal(issuer.sign())).toBe('accepted');
    expect(await refusal(before)).toBe('accepted');
  });

  test('one rotation after the other, where the verifier is told not to wait between them', async () => {
    const hurried = createVerifier({ issuer: issuer.issuer, audience, cooldownSeconds: 0, now: () => clock });
    for (let rotations = 0; rotations < 3; rotations += 1) {
      await issuer.rotate();
      expect(await refusal(issuer.sign(), hurried)).toBe('accepted');
    }
    hurried.close();
  });

  test('the tokens of a revoked key are refused, once the verifier has looked', async () => {
    const before = issuer.sign();
    await issuer.rotate();
    issuer.revoke('for-tests-only-1');
    expect(await refusal(before)).toBe('unknown_key');
    expect(await refusal(issuer.sign())).toBe('accepted');
  });

  test('the key that signs is not revoked by mistake, nor one that there is not', () => {
    expect(() => issuer.revoke('for-tests-only-1')).toThrow('call rotate() first');
    expect(() => issuer.revoke('for-tests-only-7')).toThrow('there is no key');
  });
});

describe('a service is taken through a revocation', () => {
  interface StatusClaims {
    status: { status_list: { idx: number; uri: string } };
  }
  const placeOf = (token: string) => decodeJwt<StatusClaims>(token).status.status_list;

  async function isRevoked(token: string): Promise<boolean> {
    const { idx, uri } = placeOf(token);
    const list = await (await fetch(uri)).text();
    const {
      status_list: { lst },
    } = decodeJwt<{ status_list: { lst: string } }>(list);
    return ((inflateSync(Buffer.from(lst, 'base64url'))[idx >> 3]! >> (idx & 7)) & 1) === 1;
  }

  test('a revoked token has its bit set in the status list, and no other has', async () => {
    const tokens = Array.from({ length: 20 }, () => issuer.sign());
    issuer.revoke(tokens[11]!);
    const revoked = await Promise.all(tokens.map(isRevoked));
    expect(revoked.flatMap((is, at) => (is ? [at] : []))).toEqual([11]);
  });

  test('the verifier refuses the token, and no other of the same person', async () => {
    const [revoked, other] = [issuer.sign(), issuer.sign()];
    expect(await refusal(revoked)).toBe('accepted');
    issuer.revoke(revoked);
    clock += 1000; // the list's ttl
    await vi.waitFor(async () => expect(await refusal(revoked)).toBe('revoked'));
    expect(await refusal(other)).toBe('accepted');
  });

  test('the list is what a status list is: signed by a published key, short-lived, about itself', async () => {
    const { uri } = placeOf(issuer.sign());
    const response = await fetch(uri);
    const list = await response.text();
    expect(response.headers.get('content-type')).toBe('application/statuslist+jwt');
    expect(decodeProtectedHeader(list)).toEqual({ alg: 'RS256', typ: 'statuslist+jwt', kid: issuer.jwks.keys[0]!.kid });
    const iat = start / 1000;
    expect(decodeJwt(list)).toMatchObject({ iss: issuer.issuer, sub: uri, iat, exp: iat + 300, ttl: 1 });
  });

  test('what has no place in the list cannot be revoked', () => {
    expect(() => issuer.revoke(issuer.sign({ status: undefined }))).toThrow('no place in the status list');
    expect(() => issuer.revoke(issuer.sign({ iss: 'https://somebody-else.example.com' }))).toThrow('no place');
  });
});
