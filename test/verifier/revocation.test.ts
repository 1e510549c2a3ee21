// Tokens that were revoked before they expired, as a verifier learns of them from status lists. The issuer's clock is
// the verifier's; where something has to happen in the background, the test asks until it has.

import { deflateSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createVerifier, type Verifier, type VerifierOptions } from '../../src/verifier/index.ts';
import { audience, base64url, firstKey, secondKey, startTestIssuer, type TestIssuer } from './issuer.ts';
import { breakList, listPath, listToken, serveList, statusOf } from './status-lists.ts';
import { startTrap } from './trap.ts';

let issuer: TestIssuer;
let verifiers: Verifier[];
let reported: unknown[];

beforeEach(async () => {
  issuer = await startTestIssuer();
  verifiers = [];
  reported = [];
});
afterEach(async () => {
  for (const verifier of verifiers) verifier.close();
  await issuer.close();
});

function verifierFor(options: Partial<VerifierOptions> = {}): Verifier {
  const verifier = createVerifier({
    issuer: issuer.issuer,
    audience,
    now: () => issuer.clock.now,
    onRefreshError: (error) => reported.push(error),
    ...options,
  });
  verifiers.push(verifier);
  return verifier;
}

const tokenWith = (idx: number, path?: string) => issuer.token({ claims: statusOf(issuer, idx, path) });
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
const listRequests = () => issuer.requests.filter(({ path }) => path.startsWith('/status-lists/')).length;

describe('a token that names a status list', () => {
  test('is refused where its entry is set, and accepted where it is not', async () => {
    serveList(issuer, { set: [0, 9, 63] });
    const verifier = verifierFor();
    const refused = verifier.verify(tokenWith(9));
    await expect(refused).rejects.toMatchObject({
      code: 'revoked',
      status: 401,
      wwwAuthenticate: 'Bearer error="invalid_token", error_description="the token has been revoked"',
    });
    for (const idx of [0, 63]) expect(await code(verifier, tokenWith(idx))).toBe('revoked');
    for (const idx of [1, 8, 10, 62]) expect(await code(verifier, tokenWith(idx))).toBe('accepted');
  });

  test.each([1, 2, 4, 8])('is refused for any value but 0, where entries have %i bits', async (bits) => {
    const highest = 2 ** bits - 1;
    serveList(issuer, {
      bits,
      set: new Map([
        [3, highest],
        [4, 1],
        [31, 2 ** (bits - 1)],
      ]),
    });
    const verifier = verifierFor();
    for (const idx of [3, 4, 31]) expect(await code(verifier, tokenWith(idx))).toBe('revoked');
    for (const idx of [0, 2, 5, 30, 32]) expect(await code(verifier, tokenWith(idx))).toBe('accepted');
  });

  test('is decoded as the specification has its own example', async () => {
    // draft-ietf-oauth-status-list §4.2: sixteen entries of one bit.
    const status_list = { bits: 1, lst: 'eNrbuRgAAhcBXQ' };
    serveList(issuer, { claims: { status_list } });
    const verifier = verifierFor();
    const answers = [];
    for (let idx = 0; idx < 16; idx++) answers.push((await code(verifier, tokenWith(idx))) === 'revoked' ? 1 : 0);
    expect(answers).toEqual([1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
  });

  test('waits for a list that nobody has yet, once for all that come together', async () => {
    const served = serveList(issuer, { set: [1] });
    const verifier = verifierFor();
    const answers = await Promise.all(Array.from({ length: 40 }, (_, at) => code(verifier, tokenWith(at % 2))));
    expect(new Set(answers.filter((_, at) => at % 2 === 0))).toEqual(new Set(['accepted']));
    expect(new Set(answers.filter((_, at) => at % 2 === 1))).toEqual(new Set(['revoked']));
    expect(served.asked).toBe(1);
  });

  test('asks nobody once the list is here', async () => {
    serveList(issuer);
    const verifier = verifierFor();
    await verifier.verify(tokenWith(1));
    const before = issuer.requests.length;
    for (let idx = 0; idx < 20; idx++) await verifier.verify(tokenWith(idx));
    expect(issuer.requests.length).toBe(before);
  });

  test('is refused where its list has no such entry', async () => {
    serveList(issuer, { size: 64 });
    const verifier = verifierFor();
    expect(await code(verifier, tokenWith(64))).toBe('invalid_claims');
    expect(await code(verifier, tokenWith(2 ** 40))).toBe('invalid_claims');
  });

  test('of another place than the issuer leads nobody there', async () => {
    const trap = await startTrap();
    const verifier = verifierFor();
    const { port } = new URL(issuer.issuer);
    for (const uri of [
      trap.url,
      `http://localhost:${port}/status-lists/1`,
      `http://127.0.0.1:${port}@${new URL(trap.url).host}/`,
      'status-lists/1',
      `https://127.0.0.1:${port}/status-lists/1`,
      'file:///etc/passwd',
      'data:,x',
      `${issuer.issuer}/status-lists/1#x`,
    ]) {
      const jwt = issuer.token({ claims: { status: { status_list: { idx: 1, uri } } } });
      expect(await code(verifier, jwt), uri).toBe('invalid_claims');
    }
    expect(trap.asked).toBe(0);
    expect(listRequests()).toBe(0);
    trap.close();
  });

  test('is checked after its signature: a forged one fetches no list', async () => {
    serveList(issuer);
    const verifier = verifierFor();
    const [head, payload] = tokenWith(1).split('.');
    expect(await code(verifier, `${head}.${payload}.${base64url(Buffer.alloc(256))}`)).toBe('bad_signature');
    const elsewhere = issuer.token({ claims: { ...statusOf(issuer, 1), aud: 'https://x.example.com' } });
    expect(await code(verifier, elsewhere)).toBe('wrong_audience');
    expect(listRequests()).toBe(0);
  });
});

describe('a token without a status list', () => {
  test('is accepted, unless it has to have one', async () => {
    expect(await code(verifierFor(), issuer.token())).toBe('accepted');
    expect(await code(verifierFor(), issuer.token({ claims: { status: { other: 1 } } }))).toBe('accepted');
    const strict = verifierFor({ requireStatus: true });
    expect(await code(strict, issuer.token())).toBe('invalid_claims');
    serveList(issuer);
    expect(await code(strict, tokenWith(1))).toBe('accepted');
  });
});

describe('without revocation', () => {
  test('a revoked token is good until it expires, and no list is fetched', async () => {
    serveList(issuer, { set: [1] });
    expect(await code(verifierFor({ revocation: 'none' }), tokenWith(1))).toBe('accepted');
    expect(await code(verifierFor({ jwks: { keys: issuer.keys } }), tokenWith(1))).toBe('accepted');
    expect(listRequests()).toBe(0);
  });

  test('a fixed key set goes with lists where that is asked for', async () => {
    serveList(issuer, { set: [1] });
    const verifier = verifierFor({ jwks: { keys: issuer.keys }, revocation: 'status-list' });
    expect(await code(verifier, tokenWith(1))).toBe('revoked');
    expect(issuer.requests.map(({ path }) => path)).toEqual([listPath]);
  });
});

describe('a list in use', () => {
  test('is asked for again before its ttl is over, and what was revoked meanwhile is refused', async () => {
    serveList(issuer);
    const verifier = verifierFor();
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    pass(1);
    serveList(issuer, { set: [5] });
    pass(14);
    // The request that notices is answered from the list that is here; it waits for nothing.
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    await eventually(verifier, tokenWith(5), 'revoked');
  });

  test('is asked for by the clock, without any token', async () => {
    const served = serveList(issuer, { claims: { ttl: 1 } });
    const verifier = verifierFor({ now: Date.now });
    issuer.clock.now = Date.now();
    serveList(issuer, { claims: { ttl: 1 } });
    await verifier.verify(tokenWith(5));
    const after = serveList(issuer, { set: [5], claims: { ttl: 1 } });
    await vi.waitFor(() => expect(after.asked).toBeGreaterThan(0), { timeout: 2000, interval: 20 });
    expect(served.asked).toBe(0);
    await eventually(verifier, tokenWith(5), 'revoked');
  });

  test('that has not changed is not sent again', async () => {
    const served = serveList(issuer);
    const verifier = verifierFor();
    for (let at = 1; at <= 3; at++) {
      await verifier.verify(tokenWith(5));
      await vi.waitFor(() => expect(served.asked).toBe(at));
      pass(15);
    }
    expect(served.full).toBe(1);
  });

  test('is believed up to its limit while there is no newer one, and then nobody can tell', async () => {
    serveList(issuer, { set: [1] });
    const verifier = verifierFor({ staleness: { limitSeconds: 60 } });
    await verifier.ready();
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    breakList(issuer);
    pass(74);
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    expect(await code(verifier, tokenWith(1))).toBe('revoked');
    await vi.waitFor(() => expect(reported.length).toBeGreaterThan(0));
    pass(1);
    await expect(verifier.verify(tokenWith(5))).rejects.toMatchObject({
      code: 'revocation_unavailable',
      status: 503,
      error: 'temporarily_unavailable',
      retryAfterSeconds: 5,
      wwwAuthenticate: undefined,
    });
    pass(5);
    serveList(issuer, { set: [5] });
    expect(await code(verifier, tokenWith(5))).toBe('revoked');
    expect(await code(verifier, tokenWith(1))).toBe('accepted');
  });

  test('is believed where the clock of the replica that signed it is fast', async () => {
    serveList(issuer, { set: [5], claims: { iat: issuer.clock.now / 1000 + 60 } });
    const verifier = verifierFor();
    expect(await code(verifier, tokenWith(1))).toBe('accepted');
    expect(await code(verifier, tokenWith(5))).toBe('revoked');
  });

  test('is not believed beyond its own exp, whatever the limit', async () => {
    serveList(issuer, { claims: { exp: issuer.clock.now / 1000 + 30 } });
    const verifier = verifierFor({ staleness: { limitSeconds: 86_400 } });
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    pass(34);
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    pass(1); // the clock tolerance is over, too
    expect(await code(verifier, tokenWith(5))).toBe('revocation_unavailable');
  });

  test('is not replaced by an older one, which renews nothing either', async () => {
    const older = listToken(issuer, { claims: { iat: issuer.clock.now / 1000 - 20 } });
    serveList(issuer, { set: [5] });
    const verifier = verifierFor({ staleness: { limitSeconds: 0 } });
    expect(await code(verifier, tokenWith(5))).toBe('revoked');
    const served = serveList(issuer, older);
    pass(13);
    expect(await code(verifier, tokenWith(5))).toBe('revoked');
    await vi.waitFor(() => expect(served.asked).toBe(1));
    expect(await code(verifier, tokenWith(5))).toBe('revoked');
    pass(2);
    expect(await code(verifier, tokenWith(5))).toBe('revocation_unavailable');
  });

  test('is forgotten when no token named it for long, and waited for when one does', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      serveList(issuer);
      const verifier = verifierFor({ staleness: { limitSeconds: 7200 } });
      expect(await code(verifier, tokenWith(5))).toBe('accepted');
      pass(1000);
      const served = serveList(issuer, { set: [5] });
      vi.advanceTimersByTime(12_000); // the next look at it, which finds that nobody asked
      expect(await code(verifier, tokenWith(5))).toBe('revoked');
      expect(served.asked).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });

  test('may be one of several, each with its own entries', async () => {
    serveList(issuer, { set: [1] }, '/status-lists/1');
    serveList(issuer, { set: [2] }, '/status-lists/2');
    const verifier = verifierFor();
    expect(await code(verifier, tokenWith(1, '/status-lists/1'))).toBe('revoked');
    expect(await code(verifier, tokenWith(1, '/status-lists/2'))).toBe('accepted');
    expect(await code(verifier, tokenWith(2, '/status-lists/2'))).toBe('revoked');
  });

  test('gives way when tokens name more than are kept', async () => {
    const verifier = verifierFor();
    for (let list = 1; list <= 70; list++) {
      serveList(issuer, {}, `/status-lists/${list}`);
      expect(await code(verifier, tokenWith(1, `/status-lists/${list}`))).toBe('accepted');
      pass(0.01);
    }
    const before = listRequests();
    expect(await code(verifier, tokenWith(1, '/status-lists/70'))).toBe('accepted');
    expect(listRequests()).toBe(before);
    expect(await code(verifier, tokenWith(1, '/status-lists/1'))).toBe('accepted');
    expect(listRequests()).toBe(before + 1);
  });
});

describe('a list that cannot be had', () => {
  test('refuses its tokens as what it is, without asking again for each', async () => {
    const served = breakList(issuer, 404);
    const verifier = verifierFor();
    for (let at = 0; at < 5; at++) expect(await code(verifier, tokenWith(at))).toBe('revocation_unavailable');
    expect(served.asked).toBe(1);
    expect(reported).toHaveLength(1);
    pass(5);
    serveList(issuer);
    expect(await code(verifier, tokenWith(1))).toBe('accepted');
  });

  test('is not asked for without pause, even with no cool-down', async () => {
    serveList(issuer, { claims: { ttl: 1, exp: Math.floor(Date.now() / 1000) + 3600 } });
    const verifier = verifierFor({ cooldownSeconds: 0, now: Date.now });
    issuer.clock.now = Date.now();
    expect(await code(verifier, tokenWith(1))).toBe('accepted');
    const askedAt: number[] = [];
    issuer.instead.set(listPath, (_request, response) => {
      askedAt.push(performance.now());
      response.writeHead(503).end();
    });
    await vi.waitFor(() => expect(askedAt.length).toBeGreaterThan(2), { timeout: 4000, interval: 20 });
    const pauses = askedAt.slice(1).map((at, index) => at - askedAt[index]!);
    expect(Math.min(...pauses)).toBeGreaterThan(400); // of 500 ms
  });

  test('is not waited for without end', async () => {
    issuer.instead.set(listPath, () => {});
    const verifier = verifierFor({ timeoutSeconds: 0.1 });
    await verifier.ready();
    expect(await code(verifier, tokenWith(1))).toBe('revocation_unavailable');
  });

  test('refuses after close', async () => {
    serveList(issuer);
    const verifier = verifierFor({ jwks: { keys: issuer.keys }, revocation: 'status-list' });
    await verifier.verify(tokenWith(1));
    verifier.close();
    expect(await code(verifier, tokenWith(1))).toBe('revocation_unavailable');
  });
});

describe('a list is not believed', () => {
  const seconds = () => issuer.clock.now / 1000;
  const lst = (bytes: Uint8Array) => base64url(deflateSync(bytes));
  const entries = (status_list: unknown) => () => listToken(issuer, { claims: { status_list } });
  const byStranger =
    (header: Record<string, unknown> = {}) =>
    () =>
      listToken(issuer, { key: secondKey, header: { kid: firstKey.kid, ...header } });
  const wrong: Record<string, () => string> = {
    'of another type': () => listToken(issuer, { header: { typ: 'JWT' } }),
    'that is an access token': () => listToken(issuer, { header: { typ: 'at+jwt' } }),
    'without a type': () => listToken(issuer, { header: { typ: undefined } }),
    'of another algorithm': () => listToken(issuer, { header: { alg: 'none' } }),
    'with a key inside': byStranger({ jwk: secondKey.publicJwk }),
    'by a stranger under a known name': byStranger(),
    'of another address': () => listToken(issuer, { claims: { sub: `${issuer.issuer}/status-lists/2` } }),
    'of no address': () => listToken(issuer, { claims: { sub: undefined } }),
    'from another issuer': () => listToken(issuer, { claims: { iss: 'https://evil.example.com' } }),
    'that has expired': () => listToken(issuer, { claims: { exp: seconds() - 5 } }),
    'without iat': () => listToken(issuer, { claims: { iat: undefined } }),
    'with exp as text': () => listToken(issuer, { claims: { exp: String(seconds() + 60) } }),
    'with a ttl of zero': () => listToken(issuer, { claims: { ttl: 0 } }),
    'with ttl as text': () => listToken(issuer, { claims: { ttl: '15' } }),
    'without a list': entries(undefined),
    'whose list is null': entries(null),
    'of three bits': entries({ bits: 3, lst: lst(Buffer.alloc(9)) }),
    'without bits': entries({ lst: lst(Buffer.alloc(9)) }),
    'that is not compressed': entries({ bits: 1, lst: base64url(Buffer.alloc(9)) }),
    'that is cut off': entries({ bits: 1, lst: lst(Buffer.alloc(99)).slice(0, -8) }),
    'that is empty': entries({ bits: 1, lst: '' }),
    'that unfolds to more than a list may be': entries({ bits: 1, lst: lst(Buffer.alloc(5 * 1024 * 1024)) }),
    'with spare bits in its signature': () => `${listToken(issuer).slice(0, -1)}B`,
    'that is a page': () => '<html></html>',
    'that is longer than an answer may be': () => 'a'.repeat(600 * 1024),
  };

  test.each(Object.keys(wrong))('%s', async (name) => {
    serveList(issuer, wrong[name]!());
    const verifier = verifierFor({ cooldownSeconds: 0, timeoutSeconds: 2 });
    expect(await code(verifier, tokenWith(5))).toBe('revocation_unavailable');
    expect(reported).toHaveLength(1);
  });

  test('behind a redirect', async () => {
    const trap = await startTrap();
    issuer.instead.set(listPath, (_request, response) => response.writeHead(302, { location: trap.url }).end());
    expect(await code(verifierFor(), tokenWith(5))).toBe('revocation_unavailable');
    expect(trap.asked).toBe(0);
    trap.close();
  });

  test('in the place of one that was good: that one stays', async () => {
    serveList(issuer, { set: [1] });
    const verifier = verifierFor();
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    serveList(issuer, listToken(issuer, { key: secondKey, header: { kid: firstKey.kid } }));
    pass(15);
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    await vi.waitFor(() => expect(reported).toHaveLength(1));
    expect(await code(verifier, tokenWith(5))).toBe('accepted');
    expect(await code(verifier, tokenWith(1))).toBe('revoked');
  });
});

test('options that would promise what does not happen are refused', () => {
  const redis = { exists: async () => 0 };
  for (const options of [
    { revocation: 'redis' },
    { redis },
    { revocation: 'status-list', redis },
    { revocation: 'none', requireStatus: true },
    { revocation: 'statuslist' },
    { revocation: null },
    { staleness: { limitSeconds: -1 } },
    { staleness: { limitSeconds: Number.POSITIVE_INFINITY } },
    { maxRememberedTokens: -1 },
    { maxRememberedTokens: Number.NaN },
  ])
    expect(() => verifierFor(options as never), JSON.stringify(options)).toThrow(TypeError);
});
