// Every function that is published and takes options, held to the same: what it does not know is refused at creation.

import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { proxyTo as expressProxy } from '../../src/bff/express.ts';
import { proxyTo as fastifyProxy } from '../../src/bff/fastify.ts';
import { createBff } from '../../src/bff/index.ts';
import { proxyTo as koaProxy } from '../../src/bff/koa.ts';
import { createTestIssuer } from '../../src/testing/index.ts';
import { requireToken as expressToken } from '../../src/verifier/express.ts';
import { requireToken as fastifyToken } from '../../src/verifier/fastify.ts';
import { createVerifier } from '../../src/verifier/index.ts';
import { requireToken as koaToken } from '../../src/verifier/koa.ts';

const issuer = 'https://id.example.com';
const verifierOptions = { issuer, audience: 'https://orders.example.com', jwks: { keys: [] } };
const bffOptions = {
  issuer,
  clientId: 'shop',
  clientSecret: 'secret',
  baseUrl: 'https://shop.example.com',
  cookieKeys: [randomBytes(32).toString('base64')],
};
const proxyOptions = { from: '/api', to: 'https://orders.example.com' };
const verifier = createVerifier(verifierOptions);
const bff = createBff({ ...bffOptions, verifier });

interface Published {
  make: (options: never) => unknown;
  good: object;
  /** A name with a slip in it, and what was meant. */
  slips: Record<string, string>;
  /** Values that none of the options can have, by name. */
  wrong: Record<string, unknown[]>;
}

const text = [5, true, {}, null];
const flag = ['yes', 1, null];
const seconds = ['5', -1, Number.NaN, null, {}];

const published: Record<string, Published> = {
  createVerifier: {
    make: (options) => createVerifier(options).close(),
    good: verifierOptions,
    slips: {
      audiance: 'audience',
      Audience: 'audience',
      clockTolerance: 'clockToleranceSeconds',
      requirestatus: 'requireStatus',
    },
    wrong: {
      issuer: [
        ...text,
        '',
        `${issuer}/`,
        `${issuer}//`,
        `${issuer}/t/`,
        'https://ID.example.com',
        `${issuer}:443`,
        ` ${issuer}`,
      ],
      audience: [5, '', [], [5], {}],
      service: text,
      jwksUri: text,
      jwks: ['keys', 5, null],
      redis: ['redis://', null],
      requireStatus: flag,
      allowHttpIssuerForTests: flag,
      now: [5, {}],
      onRefreshError: ['log', null],
      staleness: [5, null, { limitSecond: 5 }, { limitSeconds: '5' }],
      revocation: ['off', false, null],
      clockToleranceSeconds: [...seconds, 5000],
      maxTokenBytes: seconds,
      maxRememberedTokens: seconds,
      maxCacheSeconds: seconds,
      lastKnownGoodSeconds: seconds,
      cooldownSeconds: seconds,
      timeoutSeconds: seconds,
    },
  },
  createBff: {
    make: (options) => createBff(options).close(),
    good: bffOptions,
    slips: { clientID: 'clientId', cookieKey: 'cookieKeys', samesite: 'sameSite', scopes: 'scope' },
    wrong: {
      issuer: [...text, `${issuer}/`],
      clientId: [...text, ''],
      clientSecret: [...text, '', undefined],
      baseUrl: [...text, 'https://shop.example.com/x'],
      cookieKeys: ['key', [], [undefined], ['short'], null],
      scope: [...text, 'profile'],
      resource: text,
      verifier: ['verifier', null],
      cookieName: [...text, 'a b'],
      sameSite: ['none', 'Lax', null],
      signedOutPath: [...text, 'https://x'],
      refreshAheadSeconds: [...seconds, 30_000],
      timeoutSeconds: [...seconds, 0, 2_147_484],
      onError: ['log', null],
      allowHttpIssuerForTests: flag,
      now: [5],
    },
  },
  createTestIssuer: {
    make: (options) => createTestIssuer(options).then((made) => made.close()),
    good: {},
    slips: { audiences: 'audience', statusTtl: 'statusTtlSeconds' },
    wrong: { claims: ['sub', null], statusTtlSeconds: [...seconds, 0], now: [5] },
  },
};
for (const [framework, requireToken] of Object.entries({
  express: expressToken,
  fastify: fastifyToken,
  koa: koaToken,
})) {
  published[`requireToken of ${framework}`] = {
    make: (options) => requireToken(verifier, options),
    good: {},
    slips: { cookies: 'cookie', cookieName: 'cookie' },
    wrong: { cookie: [...text, '', 'a b', 'a=b'] },
  };
}
const proxies = {
  'bff.proxyTo': bff.proxyTo,
  ...Object.fromEntries(
    Object.entries({ express: expressProxy, fastify: fastifyProxy, koa: koaProxy }).map(([framework, proxyTo]) => [
      `proxyTo of ${framework}`,
      (options: never) => proxyTo(bff, options),
    ]),
  ),
};
for (const [name, make] of Object.entries(proxies)) {
  published[name] = {
    make,
    good: proxyOptions,
    slips: { timeout: 'timeoutSeconds', form: 'from', allowHttp: 'allowHttpUpstream', passHeader: 'passHeaders' },
    wrong: {
      from: [...text, 'api'],
      to: [...text, '/orders'],
      timeoutSeconds: [...seconds, 0],
      allowHttpUpstream: flag,
      trustedContent: flag,
      passHeaders: ['x-tenant', [5], null],
    },
  };
}

// One that answers later refuses later: createTestIssuer.
const making = async (make: Published['make'], options: unknown) => void (await make(options as never));

describe.each(Object.entries(published))('%s', (_name, { make, good, slips, wrong }) => {
  test('takes what it is documented to take', async () => {
    await expect(making(make, good)).resolves.toBeUndefined();
  });

  test.each(Object.entries(slips))('has no option %s, and says that %s is there', async (slip, meant) => {
    await expect(making(make, { ...good, [slip]: 'x' })).rejects.toThrow(
      new RegExp(`no option ${slip}: did you mean ${meant}\\?`),
    );
  });

  test('names what there is where nothing is near', async () => {
    await expect(making(make, { ...good, zzzzzzzzzzzz: 1 })).rejects.toThrow(/no option zzzzzzzzzzzz; it has \w+/);
  });

  test.each(Object.keys(wrong))('refuses %s where it cannot be meant, and says which it is', async (name) => {
    for (const value of wrong[name]!) {
      const refused = making(make, { ...good, [name]: value });
      await expect(refused, JSON.stringify(value)).rejects.toThrow(TypeError);
      await expect(refused).rejects.toThrow(new RegExp(name));
    }
  });

  test.each([[[]], ['https://id.example.com'], [5], [null]])('refuses options that are none: %j', async (value) => {
    await expect(making(make, value)).rejects.toThrow(TypeError);
  });
});

describe('what a request must have', () => {
  test.each<[object, RegExp]>([
    [{ scopes: 'orders:read' }, /no option scopes: did you mean scope\?/],
    [{ roles: ['clerk'] }, /no option roles: did you mean role\?/],
    [{ scope: 5 }, /scope/],
    [{ role: {} }, /role/],
  ])('%j is a mistake of the caller, not a token that is refused', async (required, message) => {
    await expect(verifier.verify('a.b.c', required as never)).rejects.toThrow(TypeError);
    await expect(verifier.verify('a.b.c', required as never)).rejects.toThrow(message);
  });

  test('a guard without a verifier is no guard', () => {
    expect(() => expressToken(undefined as never)).toThrow(/needs a verifier/);
    expect(() => koaToken({} as never)).toThrow(/needs a verifier/);
  });
});
