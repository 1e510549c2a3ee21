// What other sides write (redirect URIs, schemes, audiences, client ids, origins) as it comes back over HTTP.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { person, secret, startSignet, type TestServer } from '../support/signet.ts';
import {
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  redemption,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

/** Registered, and another spelling of the same place. */
const spellings = [
  ['https://app.example.com:443/cb', 'https://app.example.com/cb'],
  ['https://App.Example.com/cb', 'https://app.example.com/cb'],
  ['https://app.example.com/a/../cb', 'https://app.example.com/cb'],
  ['https://app.example.com/%7Eada', 'https://app.example.com/~ada'],
  ['https://b\u00fccher.example/cb', 'https://xn--bcher-kva.example/cb'],
  ['https://app.example.com', 'https://app.example.com/'],
] as const;
const claimed = ['vscode://publisher.extension/callback', 'kitchenowl:/signin/redirect', 'oc://ios.owncloud.com'];
const scopes = { 'queue:read': 'Read the queue', 'queue:write': 'Write into it' };
const audiences = ['rabbitmq', 'my api', 'B\u00fccher & Co/#1', 'urn:example:queue', 'constructor'];
const ids = ['argocd:web', 'https://app.example.com/client', 'a+b c', '100%'];
const web = { type: 'web', secret, firstParty: true, pkce: 'optional', redirectUris: ['https://app.example.com/cb'] };

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({
    values: {
      apis: audiences.map((audience) => ({ audience, name: `API ${audience}`, scopes })),
      applications: [
        ...spellings.map(([uri], at) => ({
          clientId: `spelling-${at}`,
          name: 'App',
          type: 'spa',
          firstParty: true,
          redirectUris: [uri],
          postLogoutRedirectUris: [uri],
        })),
        {
          clientId: 'phone',
          name: 'Phone',
          type: 'native',
          firstParty: true,
          redirectUris: claimed,
          allowRedirectSchemesThatAnyAppMayClaim: true,
        },
        ...ids.map((clientId) => ({ ...web, clientId, name: 'App' })),
        ...audiences.map((audience, at) => ({
          clientId: `job-${at}`,
          name: 'Job',
          type: 'service',
          secret,
          access: { [audience]: ['queue:read'] },
        })),
        {
          ...web,
          clientId: 'all',
          name: 'All',
          access: Object.fromEntries(audiences.map((one) => [one, ['queue:read']])),
        },
        {
          ...web,
          clientId: 'other',
          name: 'Other',
          firstParty: false,
          access: Object.fromEntries(audiences.map((one) => [one, ['queue:read']])),
        },
        {
          clientId: 'shell',
          name: 'Shell',
          type: 'spa',
          redirectUris: ['http://localhost/cb'],
          origins: ['Capacitor://localhost', 'https://App.Example.com:443/'],
        },
      ],
    },
  });
});
afterAll(() => server.close());

const basic = (clientId: string) => ({
  Authorization: `Basic ${btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(secret)}`)}`,
});

describe('a redirect URI is compared as it was written', () => {
  test.each(spellings.map(([uri, other], at) => [uri, other, `spelling-${at}`]))(
    '%s passes /auth and /token; %s is refused at both',
    async (uri, other, clientId) => {
      const parameters = { client_id: clientId, redirect_uri: uri };
      const agent = new UserAgent(server.issuer);
      for (const [sent, expected] of [
        [uri, 200],
        [other, 400],
      ] as const) {
        const request = authorizationRequest(server.issuer, parameters);
        const code = (await authorize(agent, request.url)).get('code')!;
        const { status, body } = await tokenRequest(server.issuer, redemption(request, code, sent), { clientId });
        expect([status, body.error]).toEqual([expected, expected === 200 ? undefined : 'invalid_grant']);
      }
      const wrong = await agent.visit(authorizationRequest(server.issuer, { ...parameters, redirect_uri: other }).url);
      expect([wrong.status, wrong.headers.get('location')]).toEqual([400, null]);
    },
  );

  test.each(spellings.map(([uri, other], at) => [uri, other, `spelling-${at}`]))(
    'and so is where people return after sign-out: %s, not %s',
    async (uri, other, clientId) => {
      const ends = async (address: string) => {
        const query = new URLSearchParams({ client_id: clientId, post_logout_redirect_uri: address });
        return (await new UserAgent(server.issuer).visit(`${server.issuer}/session/end?${query}`)).status;
      };
      expect(await ends(uri)).not.toBe(400);
      expect(await ends(other)).toBe(400);
    },
  );
});

describe('a native application that has to live with a scheme without a dot', () => {
  test.each(claimed)('is sent back to %s', async (uri) => {
    const request = authorizationRequest(server.issuer, { client_id: 'phone', redirect_uri: uri });
    const agent = new UserAgent(server.issuer);
    let answer = await agent.visit(request.url);
    answer = await agent.submit(answer, { email: person.email, password: person.password });
    // Anything on the device may have asked in its name: so the person is asked (RFC 8252 §8.6).
    answer = await agent.submit(answer, { decision: 'allow' });
    expect(answer.url).toMatch(new RegExp(`^${uri}\\?code=`));
    const code = new URL(answer.url).searchParams.get('code')!;
    const { status } = await tokenRequest(server.issuer, redemption(request, code, uri), { clientId: 'phone' });
    expect(status).toBe(200);
  });
});

describe('an audience is any text; the parameter resource takes a URI (RFC 8707 §2)', () => {
  const nameOf = (audience: string) =>
    audience.includes(':') ? audience : `urn:signet:audience:${encodeURIComponent(audience)}`;

  test.each(audiences.map((audience, at) => [audience, `job-${at}`]))(
    'the only API of an application needs no name: aud is "%s"',
    async (audience, clientId) => {
      const { body } = await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, { clientId, secret });
      expect(decode(body.access_token).payload).toMatchObject({ aud: audience, scope: 'queue:read' });
    },
  );

  test.each(audiences)('one of several is asked for by a name that is a URI: aud is "%s"', async (audience) => {
    for (const clientId of ['all', 'other']) {
      const parameters = {
        client_id: clientId,
        redirect_uri: web.redirectUris[0]!,
        scope: 'openid email queue:read offline_access',
        prompt: 'consent',
        resource: nameOf(audience),
      };
      const agent = new UserAgent(server.issuer);
      const { tokens } = await signIn(server.issuer, { agent, clientId, parameters });
      const { payload } = decode(tokens.access_token);
      expect(payload.aud).toEqual([audience, server.issuer]);
      expect(payload.scope.split(' ')).toContain('queue:read');
      expect((await askUserinfo(server.issuer, tokens.access_token)).status).toBe(200);
      const refreshed = await tokenRequest(
        server.issuer,
        { grant_type: 'refresh_token', refresh_token: tokens.refresh_token },
        { clientId, secret },
      );
      expect(decode(refreshed.body.access_token).payload.aud).toEqual([audience, server.issuer]);
    }
    const listed = (await server.store.grants.list(server.accountId)).map(({ audiences: of }) => of);
    expect(listed).toContainEqual([audience]);
  });

  test('the consent page calls the API by its name', async () => {
    const agent = new UserAgent(server.issuer);
    const { url } = authorizationRequest(server.issuer, {
      client_id: 'other',
      redirect_uri: web.redirectUris[0]!,
      scope: 'openid queue:read',
      prompt: 'consent',
      resource: 'urn:signet:audience:rabbitmq',
    });
    const page = await agent.submit(await agent.visit(url), { email: person.email, password: person.password });
    expect(page.body).toContain('API rabbitmq');
    expect(page.body).not.toContain('urn:signet');
  });

  test.each([
    'rabbitmq',
    'urn:signet:audience:nothing',
    'urn:signet:audience:%72abbitmq',
    'urn:signet:audience:%ff',
    'urn:signet:audience:urn%3Aexample%3Aqueue',
    'urn:signet:audience:',
    'urn:signet:audience:constructor',
  ])('what names nothing is refused: %s', async (resource) => {
    const { status, body } = await tokenRequest(
      server.issuer,
      { grant_type: 'client_credentials', resource },
      { clientId: 'job-0', secret },
    );
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_target' });
  });
});

describe('a client id is any printable ASCII (RFC 6749 Appendix A.1)', () => {
  test.each(ids)('"%s" signs people in, and authenticates in both ways', async (clientId) => {
    const request = authorizationRequest(server.issuer, { client_id: clientId, redirect_uri: web.redirectUris[0]! });
    const code = (await authorize(new UserAgent(server.issuer), request.url)).get('code')!;
    const { status, body } = await tokenRequest(
      server.issuer,
      {
        ...redemption(request, code, web.redirectUris[0]),
        client_id: clientId,
        client_secret: secret,
      },
      { clientId },
    );
    expect(status).toBe(200);
    expect(decode(body.id_token).payload.aud).toBe(clientId);
    const introspected = await fetch(`${server.issuer}/token/introspection`, {
      method: 'POST',
      headers: basic(clientId),
      body: new URLSearchParams({ token: body.access_token }),
    });
    expect(await introspected.json()).toMatchObject({ active: true, client_id: clientId });
  });
});

test.each([
  ['capacitor://localhost', true],
  ['https://app.example.com', true],
  ['https://other.example.com', false],
  ['null', false],
])('a page of %s may read the answer of the token endpoint: %s', async (origin, may) => {
  const { headers } = await tokenRequest(
    server.issuer,
    { grant_type: 'authorization_code', code: 'x' },
    { clientId: 'shell', headers: { Origin: origin } },
  );
  expect(headers.get('access-control-allow-origin')).toBe(may ? origin : null);
});
