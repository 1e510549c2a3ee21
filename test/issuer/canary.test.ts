// oidc-provider's version is pinned, because we rely on more than it documents. An upgrade fails here first, and says
// where: read what changed in that file, decide whether the reason beside it still holds, then write down the digest.

import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Configuration, ExternalSigningKey, errors, Provider } from 'oidc-provider';
import { describe, expect, test } from 'vitest';
import { PublishedKey } from '../../src/issuer/external-signing-key.ts';
import { testKeys } from '../support/keys.ts';

const home = new URL('../../node_modules/oidc-provider/', import.meta.url);
const textOf = (path: string) => readFileSync(new URL(path, home), 'utf8');

/** File → why it matters, and the digest of the text for which we found it so. */
const reliedOn: Record<string, [reason: string, digest: string]> = {
  'lib/actions/grants/refresh_token.js': [
    'client, scope and account are checked, then consume(), save() of the successor, and only then the rest',
    'd3bcebb1e448545e',
  ],
  'lib/actions/grants/authorization_code.js': [
    'client, PKCE and redirect URI are checked before the code is consumed',
    '2d46dcf995804956',
  ],
  'lib/actions/grants/client_credentials.js': ['a token without an API would be opaque and stored', 'eade620806012fa4'],
  'lib/actions/authorization/interactions.js': [
    'sets the two cookies of a sign-in that cookies.ts makes one of',
    '952b60a38bf9e76a',
  ],
  'lib/actions/authorization/resume.js': ['reads them; compares the cookie with the interaction', 'a0eaff78325ca491'],
  'lib/actions/userinfo.js': ['takes what AccessToken.find gives; refuses a token with aud', '99aa2b34d891c95c'],
  'lib/actions/end_session.js': ['ends the grants of a session, and the session', '259ee7afaade26de'],
  'lib/helpers/grant_source.js': ['reads a code, then consumes it: single use is adapter.ts', '4309a85ac090d6c7'],
  'lib/helpers/grant_common.js': ['issues access, refresh and ID token, in this order', '2a9abbce97278836'],
  'lib/helpers/revoke.js': ['what goes when a grant is revoked', '19fd95af4ba7f83a'],
  'lib/helpers/keystore.js': ['the first key that fits signs', '9d78577c6055cdf0'],
  'lib/helpers/oidc_context.js': [
    'entities and params as claims.ts and configuration.ts read them',
    '4a7a5e09bf3377f6',
  ],
  'lib/helpers/resolve_resource.js': [
    'which API a token is for, and what defaultResource is asked with',
    'ad1c38e95cb32d47',
  ],
  'lib/response_modes/form_post.js': ['the form on its page is taken over by form-post.ts', 'e9d9ce601497df84'],
  'lib/shared/check_resource.js': [
    'resource is taken from defaultResource where a request names none',
    '510eab377909b220',
  ],
  'lib/shared/assemble_params.js': [
    'sets the parameters of a request, which request-parameters.ts looks at first',
    'cf7e9870b8c05f4e',
  ],
  'lib/shared/authorization_error_handler.js': [
    'sends a refusal back to the application by the parameters, with iss',
    '8c02c7d60b9a8411',
  ],
  'lib/actions/authorization/claims.js': [
    'takes what a hint says, and has no further use for the hint',
    '32b526c767ceddc0',
  ],
  'lib/shared/error_handler.js': ['answers first, then emits the event that events.ts hears', 'c0350b8ee7a33164'],
  'lib/shared/selective_body.js': ['how large a body may be, and what it says of a larger one', '850da4702de01145'],
  'lib/shared/session.js': ['saves the session after every request that may change it', 'd7299d8358bbf3a8'],
  'lib/models/base_model.js': [
    'find → adapter.find → verify; save → getValueAndPayload → adapter.upsert',
    '77623c1d7d76d840',
  ],
  'lib/models/base_token.js': ['setting resourceServer sets aud; remainingTTL', '8471708d3bf67095'],
  'lib/models/refresh_token.js': ['what a refresh token remembers; bound to its session', '395763fba05b7deb'],
  'lib/models/access_token.js': ['what an access token remembers', '6d16f6fe27d961c3'],
  'lib/models/interaction.js': [
    'copies the session cookie into its payload, which adapter.ts takes out',
    '5c1bb286f1872c9f',
  ],
  'lib/models/session.js': ["the cookie is the row's id; uid is not", '305aff9ef7c9c3c0'],
  'lib/models/token_helpers.js': ['a token bound to a session is not found without it', '48537da10b858215'],
  'lib/models/formats/jwt.js': [
    'writes the claims of an access token; calls formats.customizers.jwt',
    '8de09847ca60ddbe',
  ],
  'lib/helpers/epoch_time.js': ['the clock of its models, of which models/clock.ts makes ours', 'bb35b9ec9ad9a779'],
  'lib/helpers/jwt.js': ['adds a life to the time of the machine, and keeps an iat that is there', 'e52ef4048fcf0277'],
  'lib/models/formats/opaque.js': ['dates what has no date yet; refuses what has expired', '116a242cbe98d59b'],
  'lib/models/grant.js': ['is saved as every model is', '5fab33d4ef0a46bc'],
  'lib/models/id_token.js': ['asks expiresIn for its life; claims that are set go into it', '809a238a6d68b391'],
  'lib/provider.js': [
    'use() puts our middleware before its own; interactionDetails reads through createContext',
    '94a64ce834032c4d',
  ],
};

/**
 * The same of what src/issuer/token-endpoint/ does as well, in its own words: it answers as these files do, and as those of
 * lib/actions/grants/ and the models above.
 */
const mirrored: typeof reliedOn = {
  'lib/actions/token.js': ['the order in which a token request is looked at', 'b02246009810acd6'],
  'lib/shared/client_auth.js': [
    'the ways to authenticate, one at a time; unknown and wrong are answered alike',
    '2ef832c2ce4093cb',
  ],
  'lib/shared/cors.js': ['the headers for a page, and that its origin is one of its client', 'aeeccf48c6b577d7'],
  'lib/shared/no_cache.js': ['no-store', 'c801de3a55171463'],
  'lib/shared/reject_dupes.js': ['no parameter twice but resource', '69934fa46b9b328a'],
  'lib/shared/check_rar.js': ['authorization_details, which are switched off', 'b1c273c0f98d0427'],
  'lib/helpers/params.js': ['an empty parameter is none', 'fbd49e5cbe6215f0'],
  'lib/helpers/validate_presence.js': ['code, redirect_uri and refresh_token have to be there', '434f4ab63ca973a8'],
  'lib/helpers/is_valid_scope.js': ['how a scope may be written', '19cbe712cb1caa4f'],
  'lib/helpers/grants.js': ['what a grant type is made of', '42a3a1447765b7fa'],
  'lib/helpers/grant_authorization.js': ['the API and the scope of an access token', '54088b190f95154e'],
  'lib/helpers/grant_refresh_token.js': ['whether a refresh token comes with it', 'cdd6e1508c6afb1a'],
  'lib/helpers/grant_response.js': ['the members of the answer', '8f1e3f1303572bf1'],
  'lib/helpers/set_rt_bindings.js': ['what a refresh token is bound to: nothing of ours', '5ee03556c14dbb6b'],
  'lib/helpers/sender_constraints.js': ['certificates and DPoP, which no client of ours has', '317ff5fb9ebf0f59'],
  'lib/helpers/validate_dpop.js': [
    'a DPoP proof, which is not looked at while DPoP is switched off',
    '937991243a02287d',
  ],
  'lib/helpers/pkce.js': ['verifier and challenge', 'c2a604db9b2fd043'],
  'lib/helpers/pkce_format.js': ['how a verifier may be written', '6b1c51a8bbb0c03a'],
  'lib/helpers/filter_claims.js': ['claims that were asked for one by one', 'eca00589024b058c'],
  'lib/helpers/account_claims.js': ['whose claims an ID token has', '508456c118d23638'],
  'lib/helpers/claims.js': ['which of them a scope opens', 'e00c035a932ea2e6'],
  'lib/helpers/resource_server.js': ['the scopes of an API', '8817f447b5631bd3'],
  'lib/helpers/configuration_result.js': ['what configuration may answer', '9aca45b204b1a9f1'],
  'lib/consts/client_attributes.js': ['characters of names and secrets', 'f62df587880274bb'],
  'lib/consts/non_rejectable_claims.js': ['claims of the sign-in, which nobody consents to', '0a8d74e136ab6fea'],
  'lib/models/authorization_code.js': ['what a code remembers', 'b36d62f6de0510e0'],
  'lib/models/client_credentials.js': ['what a token of a service remembers', '6455d415284e1021'],
  'lib/models/payload.js': ['what of a model is stored', 'b2c6a5b3c174f958'],
};

/** Of those further up. */
const ofTokenRequests = /grant|resource|selective_body|assemble_params|_token\.js$|formats\//;

const whatToDo =
  'oidc-provider answers token requests by this file, and src/issuer/token-endpoint/ answers as it does. Read what changed, ' +
  'do the same there, give test/differential/ whatever it could not ask before, and look further than usual: ' +
  'SIGNET_TEST_DIFFERENTIAL=20 npm test -- test/differential. Then write down the digest';

describe('the version of oidc-provider that we know', () => {
  test('is the one that is installed, and package.json allows no other', () => {
    const { version } = JSON.parse(textOf('package.json')) as { version: string };
    const ours = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    expect(ours.dependencies['oidc-provider']).toBe(version);
  });

  const files = Object.entries({ ...reliedOn, ...mirrored }).map(
    ([path, [reason, digest]]) => [path, reason, digest] as const,
  );
  test.each(files)('%s: %s', (path, _reason, digest) => {
    const isMirrored = ofTokenRequests.test(path) || Object.hasOwn(mirrored, path);
    expect(hash('sha256', textOf(path), 'hex').slice(0, 16), isMirrored ? whatToDo : path).toBe(digest);
  });
});

const issuer = 'http://localhost:3999';
const [first, second] = testKeys.map(({ publicJwk }) => publicJwk);
const configuration = {
  adapter: () => ({}) as never,
  jwks: { keys: [new PublishedKey(first!), new PublishedKey(second!)] as never },
  features: {
    devInteractions: { enabled: false },
    externalSigningSupport: { enabled: true, ack: 'experimental-01' },
  } as Configuration['features'],
  cookies: { keys: ['a key of a test, and of nothing else'] },
} satisfies Configuration;

describe('what we extend', () => {
  const provider = new Provider(issuer, configuration);

  test('models have the methods that provider.ts overrides', () => {
    for (const model of [provider.AccessToken, provider.RefreshToken]) {
      for (const method of ['save', 'generateTokenId', 'getValueAndPayload']) {
        expect((model.prototype as unknown as Record<string, unknown>)[method], method).toBeTypeOf('function');
      }
    }
    expect((provider.RefreshToken.prototype as unknown as Record<string, unknown>).consume).toBeTypeOf('function');
    expect(Object.getOwnPropertyDescriptor(provider.BaseToken.prototype, 'resourceServer')?.set).toBeTypeOf('function');
    expect(provider.Client.prototype).toHaveProperty('compareClientSecret');
    expect(provider.Client.prototype).toHaveProperty('includeSid');
  });

  test('a model that was replaced on the provider is the one it uses', () => {
    const replaced = class AccessToken extends (provider.AccessToken as unknown as new () => object) {};
    Object.defineProperty(provider, 'AccessToken', { value: replaced, configurable: true });
    expect(provider.AccessToken).toBe(replaced);
  });

  test('an external key needs kid, alg, keyObject() and sign()', () => {
    const key = new PublishedKey(first!, async () => Buffer.from('signature'));
    expect(key).toBeInstanceOf(ExternalSigningKey);
    expect(key).toMatchObject({ kid: first!.kid, alg: 'RS256' });
    expect(key.keyObject().type).toBe('public');
  });

  test('a key that is published for verification only does not sign', async () => {
    await expect(new PublishedKey(first!).sign(Buffer.from('data'))).rejects.toThrow('verification only');
  });

  test('the errors that we throw and catch have their codes and statuses', () => {
    const answered = { statusCode: 400, expose: true };
    expect(new errors.InvalidGrant('why')).toMatchObject({ message: 'invalid_grant', ...answered });
    expect(new errors.InvalidTarget('why')).toMatchObject({ message: 'invalid_target', ...answered });
    expect(new errors.InvalidScope('why', 'scope')).toMatchObject({ message: 'invalid_scope', ...answered });
    expect(new errors.SessionNotFound('why')).toMatchObject({ name: 'SessionNotFound', statusCode: 400 });
  });
});

describe('how it handles a request', () => {
  async function ask(provider: Provider, path: string): Promise<Response> {
    const server = createServer(provider.callback());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
    await answer.clone().text();
    await new Promise((resolve) => server.close(resolve));
    return answer;
  }

  test('our middleware stands around its own, in the order of use()', async () => {
    const provider = new Provider(issuer, configuration);
    const order: string[] = [];
    for (const name of ['outer', 'inner']) {
      provider.use(async (ctx, next) => {
        order.push(`${name} before ${ctx.status}`);
        await next();
        order.push(`${name} after ${ctx.status}`);
      });
    }
    await ask(provider, '/jwks');
    expect(order).toEqual(['outer before 404', 'inner before 404', 'inner after 200', 'outer after 200']);
  });

  test('its context comes from the createContext of the instance', async () => {
    const provider = new Provider(issuer, configuration);
    const createContext = provider.createContext.bind(provider);
    provider.createContext = (req, res) => {
      const ctx = createContext(req, res);
      (ctx.state as { mark?: string }).mark = 'ours';
      return ctx as never;
    };
    let mark: unknown;
    provider.use(async (ctx, next) => {
      mark = ctx.state.mark;
      await next();
    });
    await ask(provider, '/jwks');
    expect(mark).toBe('ours');
  });

  test('the JWKS keeps our order of keys, and shows public halves only', async () => {
    const answer = await ask(new Provider(issuer, configuration), '/jwks');
    const { keys } = (await answer.json()) as { keys: Array<Record<string, string>> };
    expect(keys.map(({ kid }) => kid)).toEqual([first!.kid, second!.kid]);
    for (const key of keys) expect(Object.keys(key).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });
});
