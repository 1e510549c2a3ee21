import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createVerifier, type Verifier, type VerifierOptions } from '../../src/verifier/index.ts';
import {
  type Answer,
  audience,
  base64url,
  discoveryPath,
  firstKey as first,
  json,
  secondKey as second,
  startTestIssuer,
  type TestIssuer,
  thirdKey as third,
} from './issuer.ts';

const day = 86_400_000;

let issuer: TestIssuer;
let closers: (() => unknown)[];
beforeEach(async () => {
  issuer = await startTestIssuer();
  closers = [() => issuer.close()];
});
afterEach(async () => {
  for (const close of closers.reverse()) await close();
});

function verifierFor(options: Partial<VerifierOptions> = {}): Verifier {
  const verifier = createVerifier({ issuer: issuer.issuer, audience, now: () => issuer.clock.now, ...options });
  closers.push(() => verifier.close());
  return verifier;
}

const jwksRequests = () => issuer.requests.filter(({ path }) => path === '/jwks').length;

/** Waits for the background: until `check` is true, or the test's own time is over. */
async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Costs nothing to make, as for an attacker: a header around somebody's claims, and no signature worth checking. */
const forgery = (kid: string) => {
  const header = JSON.stringify({ alg: 'RS256', typ: 'at+jwt', kid });
  return `${base64url(header)}.${base64url(JSON.stringify(issuer.claims()))}.AAAA`;
};

/** 'accepted', or the code of the refusal. */
const outcome = (verifier: Verifier, jwt: string): Promise<string> =>
  verifier.verify(jwt).then(
    () => 'accepted',
    (error: { code: string }) => error.code,
  );

describe('a rotation', () => {
  test('is noticed by the first token of the new key', async () => {
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    issuer.keys = [second.publicJwk, first.publicJwk];
    await expect(verifier.verify(issuer.token({ key: second }))).resolves.toMatchObject({ sub: 'person-1' });
    expect(jwksRequests()).toBe(2);
  });

  test('is noticed by the first good token even while forgeries have spent the refetch', async () => {
    const verifier = verifierFor({ cooldownSeconds: 0.3, now: Date.now });
    issuer.clock.now = Date.now();
    await verifier.verify(issuer.token());
    await expect(verifier.verify(forgery('forged-0'))).rejects.toMatchObject({ code: 'unknown_key' });
    const flood = Array.from({ length: 400 }, (_, at) => outcome(verifier, forgery(`forged-${at}`)));
    issuer.keys = [second.publicJwk, first.publicJwk];
    await expect(verifier.verify(issuer.token({ key: second }))).resolves.toMatchObject({ sub: 'person-1' });
    expect(new Set(await Promise.all(flood))).toEqual(new Set(['unknown_key']));
    expect(jwksRequests()).toBe(3);
  });

  test('is noticed by a token that comes while an older answer is on its way', async () => {
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    const late = { answer: () => {} };
    issuer.instead.set('/jwks', (_request, response) => {
      late.answer = () => json(response, { keys: [first.publicJwk] });
    });
    issuer.clock.now += 400_000;
    await verifier.verify(issuer.token()); // starts a background refresh
    await until(() => jwksRequests() === 2);
    issuer.keys = [second.publicJwk, first.publicJwk];
    const good = verifier.verify(issuer.token({ key: second }));
    issuer.instead.clear();
    await new Promise((resolve) => setTimeout(resolve, 20)); // time enough to join the older request, were that allowed
    late.answer();
    await expect(good).resolves.toMatchObject({ sub: 'person-1' });
  });

  test('takes a withdrawn key away within the time its issuer allowed', async () => {
    issuer.cacheControl = 'public, max-age=60';
    const verifier = verifierFor();
    const jwt = issuer.token();
    await verifier.verify(jwt);
    issuer.keys = [second.publicJwk];
    issuer.clock.now += 60_000;
    await verifier.verify(jwt); // answered from the copy, while the new one is fetched
    await until(() => jwksRequests() === 2);
    await expect.poll(() => outcome(verifier, jwt)).toBe('unknown_key');
  });
});

describe('a flood of unknown keys', () => {
  test('makes one request per cool-down, and none that delays a known key', async () => {
    const verifier = verifierFor({ cooldownSeconds: 0.2, now: Date.now });
    issuer.clock.now = Date.now();
    await verifier.verify(issuer.token());
    const flood = Array.from({ length: 300 }, (_, at) => outcome(verifier, forgery(`kid-${at}`)));
    expect(new Set(await Promise.all(flood))).toEqual(new Set(['unknown_key']));
    expect(jwksRequests()).toBe(2);
    const waiting = verifier.verify(forgery('one-more')).catch(() => {});
    await verifier.verify(issuer.token());
    expect(jwksRequests()).toBe(2);
    await waiting;
    expect(jwksRequests()).toBe(3);
  });

  test('beyond a thousand that wait gets 503, since nobody can tell yet', async () => {
    const verifier = verifierFor({ cooldownSeconds: 0.2, now: Date.now });
    issuer.clock.now = Date.now();
    await verifier.verify(issuer.token());
    const jwt = forgery('unknown');
    const codes = await Promise.all(Array.from({ length: 1001 }, () => outcome(verifier, jwt)));
    expect(codes.filter((code) => code === 'keys_unavailable')).toHaveLength(1);
    expect(codes.filter((code) => code === 'unknown_key')).toHaveLength(1000);
    expect(await outcome(verifier, jwt)).toBe('unknown_key');
  });

  test('is let go by close', async () => {
    const verifier = verifierFor({ cooldownSeconds: 60 });
    await verifier.verify(issuer.token());
    await verifier.verify(forgery('a')).catch(() => {});
    const waiting = verifier.verify(forgery('b'));
    await Promise.resolve();
    verifier.close();
    await expect(waiting).rejects.toMatchObject({ code: 'keys_unavailable' });
  });
});

describe('an issuer that is down', () => {
  test('is not needed for 24 hours, and then nobody can tell', async () => {
    const failures: unknown[] = [];
    const verifier = verifierFor({ onRefreshError: (error) => failures.push(error) });
    await verifier.verify(issuer.token());
    issuer.instead.set('/jwks', (_request, response) => json(response, {}, 500));
    issuer.clock.now += day - 1000;
    await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
    await until(() => failures.length === 1);
    issuer.clock.now += 1000;
    await expect(verifier.verify(issuer.token())).rejects.toMatchObject({
      code: 'keys_unavailable',
      status: 503,
      retryAfterSeconds: 5,
      wwwAuthenticate: undefined,
    });
  });

  test('is believed again as soon as it answers', async () => {
    const verifier = verifierFor();
    issuer.instead.set(discoveryPath, (_request, response) => json(response, {}, 503));
    await expect(verifier.verify(issuer.token())).rejects.toMatchObject({ code: 'keys_unavailable' });
    issuer.instead.clear();
    issuer.clock.now += 5000;
    await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
  });

  test('is asked once per cool-down, however many requests come in', async () => {
    const verifier = verifierFor();
    issuer.instead.set(discoveryPath, (_request, response) => json(response, {}, 503));
    for (let at = 0; at < 20; at++) expect(await outcome(verifier, issuer.token())).toBe('keys_unavailable');
    expect(issuer.requests).toHaveLength(1);
  });

  test('may come back with its keys in another place', async () => {
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    issuer.instead.set('/jwks', (_request, response) => json(response, {}, 404));
    expect(await outcome(verifier, issuer.token({ key: second }))).toBe('keys_unavailable');
    issuer.jwksUri = `${issuer.issuer}/new`;
    issuer.instead.set('/new', (_request, response) => json(response, { keys: [second.publicJwk] }));
    issuer.clock.now += 5000;
    expect(await outcome(verifier, issuer.token({ key: second }))).toBe('accepted');
  });

  test('makes an unknown key a question, not a refusal', async () => {
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    issuer.instead.set('/jwks', (request) => request.socket.destroy());
    await expect(verifier.verify(issuer.token({ key: second }))).rejects.toMatchObject({ code: 'keys_unavailable' });
  });
});

describe('keys and discovery are refused, and the reason is told to ready(),', () => {
  const answers = (path: string, answer: Answer) => (at: TestIssuer) => {
    at.instead.set(path, answer);
  };
  const discovers = (document: (at: TestIssuer) => unknown) => (at: TestIssuer) =>
    answers(discoveryPath, (_request, response) => json(response, document(at)))(at);
  const tooLarge = JSON.stringify({ keys: [], x: 'x'.repeat(600_000) });

  const reasons: [string, (issuer: TestIssuer) => void, RegExp][] = [
    [
      'when discovery speaks for another issuer',
      discovers((at) => ({ issuer: `${at.issuer}/`, jwks_uri: at.jwksUri })),
      /"issuer" differs/,
    ],
    ['when discovery is not an object', discovers(() => null), /"issuer" differs/],
    ['when discovery has no jwks_uri', discovers((at) => ({ issuer: at.issuer })), /no "jwks_uri"/],
    [
      'when jwks_uri is http on another host',
      discovers((at) => ({ issuer: at.issuer, jwks_uri: 'http://keys.example.com/' })),
      /must be https/,
    ],
    [
      'when jwks_uri is a file',
      discovers((at) => ({ issuer: at.issuer, jwks_uri: 'file:///etc/passwd' })),
      /must be https/,
    ],
    [
      'when the keys redirect',
      answers('/jwks', (_, response) => response.writeHead(302, { location: '/elsewhere' }).end()),
      /fetch failed/,
    ],
    ['when the answer is too large', answers('/jwks', (_, response) => response.end(tooLarge)), /more than 524288/],
    [
      'when the answer never ends',
      answers('/jwks', (_, response) => {
        response.write('{"keys":[');
      }),
      /in time/,
    ],
    ['when the answer is not JSON', answers('/jwks', (_, response) => response.end('<html>')), /JSON/],
    ['when the answer is no key set', answers('/jwks', (_, response) => json(response, { keys: {} })), /not a JWK Set/],
    [
      'when the answer is 304 and nothing is cached',
      answers('/jwks', (_, response) => response.writeHead(304).end()),
      /304/,
    ],
  ];

  test.each(reasons)('%s', async (_case, misbehave, reason) => {
    misbehave(issuer);
    const verifier = verifierFor({ timeoutSeconds: 0.3 });
    const error = (await verifier.ready().catch((caught: unknown) => caught)) as { code: string; cause: Error };
    expect(error.code).toBe('keys_unavailable');
    expect(error.cause.message).toMatch(reason);
    expect(issuer.requests.map(({ path }) => path)).not.toContain('/elsewhere');
  });

  test('but none of it takes away keys that are known', async () => {
    for (const [, misbehave] of reasons) {
      const verifier = verifierFor({ cooldownSeconds: 0 });
      issuer.instead.clear();
      await verifier.ready();
      misbehave(issuer);
      issuer.clock.now += 3_600_000;
      await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
      verifier.close();
    }
  });
});

describe('the cache', () => {
  test.each([
    ['max-age=120', 89, 90],
    ['max-age=1', 22, 23],
    ['max-age=99999', 449, 450],
    ['no-store', 22, 23],
    [undefined, 224, 225],
  ])('with Cache-Control %s still rests after %i s and asks again at %i s', async (cacheControl, rests, asks) => {
    issuer.cacheControl = cacheControl;
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    issuer.clock.now += rests * 1000;
    await verifier.verify(issuer.token());
    expect(jwksRequests()).toBe(1);
    issuer.clock.now += (asks - rests) * 1000;
    await verifier.verify(issuer.token());
    await until(() => jwksRequests() === 2);
  });

  test('never makes a token wait while a copy is usable', async () => {
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    issuer.instead.set('/jwks', () => {}); // never answers
    issuer.clock.now += 3_600_000;
    await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
    await until(() => jwksRequests() === 2);
    await expect(verifier.verify(issuer.token())).resolves.toBeDefined();
  });

  test('sends the ETag, and takes 304 for an answer', async () => {
    const verifier = verifierFor();
    await verifier.verify(issuer.token());
    for (let round = 1; round <= 2; round++) {
      issuer.clock.now += 23 * 3_600_000;
      const seen = async () => [await outcome(verifier, issuer.token()), jwksRequests()];
      await expect.poll(seen).toEqual(['accepted', 1 + round]);
      expect(issuer.requests.at(-1)?.ifNoneMatch).toBe(`"${first.kid}"`);
    }
  });

  test('refreshes by itself in a service that is idle', async () => {
    const verifier = verifierFor({ maxCacheSeconds: 1, now: Date.now });
    await verifier.ready();
    await until(() => jwksRequests() >= 3);
    verifier.close();
  });

  test('does not ask an issuer that is down without pause, even with no cool-down', async () => {
    const verifier = verifierFor({ maxCacheSeconds: 1, cooldownSeconds: 0, now: Date.now });
    await verifier.ready();
    const askedAt: number[] = [];
    issuer.instead.set(discoveryPath, (_request, response) => {
      askedAt.push(performance.now());
      json(response, {}, 503);
    });
    issuer.instead.set('/jwks', (_request, response) => json(response, {}, 503)); // and discovery is asked again
    await until(() => askedAt.length >= 3);
    const pauses = askedAt.slice(1).map((at, index) => at - askedAt[index]!);
    expect(Math.min(...pauses)).toBeGreaterThan(400); // of 500 ms
    verifier.close();
  });
});

describe('a published key', () => {
  const weak = { kty: 'RSA', n: Buffer.alloc(128, 0xc5).toString('base64url'), e: 'AQAB' };
  test.each<[string, () => unknown[]]>([
    ['for encryption', () => [{ ...first.publicJwk, use: 'enc' }]],
    ['for another algorithm', () => [{ ...first.publicJwk, alg: 'RS512' }]],
    ['with other operations', () => [{ ...first.publicJwk, key_ops: ['encrypt'] }]],
    ['of 1024 bits', () => [{ ...weak, kid: first.kid }]],
    ['of another type', () => [{ kty: 'oct', k: 'c2VjcmV0', kid: first.kid }]],
    ['without a kid', () => [{ ...first.publicJwk, kid: undefined }]],
    ['with its private half', () => [{ ...first.publicJwk, d: 'AQAB' }]],
    ['with broken numbers', () => [{ ...first.publicJwk, n: 7 }, null, 'x']],
    ['whose kid names another key too', () => [first.publicJwk, { ...second.publicJwk, kid: first.kid }]],
  ])('%s verifies nothing', async (_case, keys) => {
    issuer.instead.set('/jwks', (_request, response) => json(response, { keys: keys() }));
    expect(await outcome(verifierFor(), issuer.token())).toBe('unknown_key');
  });

  test.each<[string, () => unknown[]]>([
    ['without alg and use', () => [{ kty: 'RSA', kid: first.kid, n: first.publicJwk.n, e: first.publicJwk.e }]],
    ['twice', () => [first.publicJwk, first.publicJwk]],
    [
      'beside keys of no use',
      () => [{ kty: 'EC', kid: first.kid }, { ...second.publicJwk, n: '' }, third.publicJwk, first.publicJwk],
    ],
  ])('%s verifies', async (_case, keys) => {
    issuer.instead.set('/jwks', (_request, response) => json(response, { keys: keys() }));
    await expect(verifierFor().verify(issuer.token())).resolves.toBeDefined();
  });
});

test('an issuer below a path is discovered below that path', async () => {
  const server = createServer((request, response) => {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tenant`;
    const discovery = request.url === '/tenant/.well-known/openid-configuration';
    json(response, discovery ? { issuer: base, jwks_uri: `${base}/jwks` } : { keys: [first.publicJwk] });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(
    () => server.close(),
    () => server.closeAllConnections(),
  );
  const path = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tenant`;
  expect(await outcome(verifierFor({ issuer: path }), issuer.token({ claims: { iss: path } }))).toBe('accepted');
});
