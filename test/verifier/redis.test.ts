// Revocation by Redis: at once while it answers, by the status lists while it does not.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createVerifier, type RedisReader, type Verifier, type VerifierOptions } from '../../src/verifier/index.ts';
import { audience, startTestIssuer, type TestIssuer } from './issuer.ts';
import { breakList, serveList, statusOf } from './status-lists.ts';

/** What a client of node-redis does with one command, over a set of keys. */
interface Redis extends RedisReader {
  keys: Set<string>;
  asked: string[][];
  state: 'here' | 'refusing' | 'silent';
}

function createRedis(): Redis {
  const redis: Redis = {
    keys: new Set(),
    asked: [],
    state: 'here',
    exists(keys) {
      redis.asked.push(keys);
      if (redis.state === 'silent') return new Promise(() => {});
      if (redis.state === 'refusing') return Promise.reject(new Error('The client is closed'));
      return Promise.resolve(keys.filter((key) => redis.keys.has(key)).length);
    },
  };
  return redis;
}

let issuer: TestIssuer;
let redis: Redis;
let verifiers: Verifier[];
let reported: unknown[];

beforeEach(async () => {
  issuer = await startTestIssuer();
  redis = createRedis();
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
    revocation: 'redis',
    redis,
    now: () => issuer.clock.now,
    onRefreshError: (error) => reported.push(error),
    ...options,
  });
  verifiers.push(verifier);
  return verifier;
}

const token = (claims: Record<string, unknown> = {}) => issuer.token({ claims: { jti: 'grant-1.token-1', ...claims } });
const listed = (idx: number) => token(statusOf(issuer, idx));
const code = (verifier: Verifier, jwt: string) =>
  verifier.verify(jwt).then(
    () => 'accepted',
    (error: { code?: string }) => error.code ?? error,
  );

describe('while Redis answers', () => {
  test.each([
    ['grant', 'signet:revoked:grant:grant-1'],
    ['own id', 'signet:revoked:jti:grant-1.token-1'],
    ['person', 'signet:revoked:sub:person-1'],
  ])('a token is refused as soon as its %s is there', async (_what, key) => {
    serveList(issuer);
    const verifier = verifierFor();
    const jwt = listed(5);
    expect(await code(verifier, jwt)).toBe('accepted');
    redis.keys.add(key);
    expect(await code(verifier, jwt)).toBe('revoked');
    redis.keys.delete(key);
    expect(await code(verifier, jwt)).toBe('accepted');
  });

  test('it is asked once for a token, for names and for no token', async () => {
    const verifier = verifierFor();
    await verifier.verify(token());
    expect(redis.asked).toEqual([
      ['signet:revoked:grant:grant-1', 'signet:revoked:jti:grant-1.token-1', 'signet:revoked:sub:person-1'],
    ]);
  });

  test('a token that only the list knows is refused as well', async () => {
    serveList(issuer, { set: [5] });
    expect(await code(verifierFor(), listed(5))).toBe('revoked');
  });

  test('a list that cannot be had stops nobody', async () => {
    breakList(issuer);
    const verifier = verifierFor();
    expect(await code(verifier, listed(5))).toBe('accepted');
    redis.keys.add('signet:revoked:grant:grant-1');
    expect(await code(verifier, listed(5))).toBe('revoked');
  });

  test('it is not asked about what is refused anyway', async () => {
    const verifier = verifierFor();
    expect(await code(verifier, token({ aud: 'https://x.example.com' }))).toBe('wrong_audience');
    expect(await code(verifier, `${token().slice(0, -40)}${'A'.repeat(40)}`)).toBe('bad_signature');
    expect(redis.asked).toEqual([]);
  });
});

describe.each(['refusing', 'silent'] as const)('while Redis is %s', (state) => {
  beforeEach(() => {
    redis.state = state;
  });

  test('the list decides', async () => {
    serveList(issuer, { set: [5] });
    const verifier = verifierFor();
    expect(await code(verifier, listed(5))).toBe('revoked');
    expect(await code(verifier, listed(6))).toBe('accepted');
    expect(reported.length).toBeGreaterThan(0);
  });

  test('a token that no list can answer for is not accepted', async () => {
    const verifier = verifierFor();
    const unavailable = { code: 'revocation_unavailable', status: 503, retryAfterSeconds: 1 };
    await expect(verifier.verify(token())).rejects.toMatchObject(unavailable);
    breakList(issuer);
    expect(await code(verifier, listed(5))).toBe('revocation_unavailable');
  });

  test('it is left in peace for a second, and then asked again', async () => {
    serveList(issuer);
    const verifier = verifierFor();
    for (let at = 0; at < 5; at++) expect(await code(verifier, listed(6))).toBe('accepted');
    expect(redis.asked).toHaveLength(1);
    redis.state = 'here';
    redis.keys.add('signet:revoked:grant:grant-1');
    issuer.clock.now += 1000;
    expect(await code(verifier, listed(6))).toBe('revoked');
  });
});

describe('what Redis answers is a count, or no answer', () => {
  const answering = (answer: unknown) => verifierFor({ redis: { exists: async () => answer as number } });

  test.each([
    undefined,
    null,
    'garbage',
    '',
    '0',
    '1',
    {},
    [],
    [0],
    [1],
    true,
    false,
    NaN,
    -1,
    -Infinity,
    0n,
    1n,
    new Error('away'),
  ])('%o does not say that a token is good', async (answer) => {
    serveList(issuer, { set: [5] });
    expect(await code(answering(answer), token())).toBe('revocation_unavailable');
    expect(await code(answering(answer), listed(5))).toBe('revoked');
    expect(await code(answering(answer), listed(6))).toBe('accepted'); // by its list, as while Redis is away
    expect(reported).toContainEqual(expect.objectContaining({ message: expect.stringContaining('is no count') }));
  });

  test.each([
    [0, 'accepted'],
    [1, 'revoked'],
    [2, 'revoked'],
    [3, 'revoked'],
  ])('%o: %s', async (answer, expected) => {
    expect(await code(answering(answer), token())).toBe(expected);
    expect(reported).toEqual([]);
  });
});

test('a token has to name a list where that is asked for, whatever Redis says', async () => {
  expect(await code(verifierFor({ requireStatus: true }), token())).toBe('invalid_claims');
});
