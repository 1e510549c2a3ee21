// Every way in which an authorization request ends at the application: in the response mode it asked for, with its state
// and with `iss` (RFC 9207), which libraries demand once it is announced. What is wrong with the request it hears there,
// where application and redirect URI are good; where they are not, nobody is sent anywhere.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callback, declared, ordersApi, secret, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, decode, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';
import { elementsOf } from '../web/html.ts';

let server: TestServer;
let agent: UserAgent;
beforeAll(async () => {
  const queue = { audience: 'rabbitmq', name: 'Queue', scopes: { 'queue:read': 'Read the queue' } };
  const applications = declared.applications.map((app) =>
    app.clientId === 'spa' ? { ...app, access: { ...app.access, rabbitmq: ['queue:read'] } } : app,
  );
  server = await startSignet({ values: { apis: [...declared.apis, queue], applications } });
  ({ agent } = await signIn(server.issuer));
});
afterAll(() => server.close());

type Parameters = Record<string, string | undefined>;
type Ask = (url: string) => Promise<Answer>;
type Way = [name: string, expected: string, parameters: Parameters, ask?: Ask];

const modes = ['query', 'fragment', 'form_post'];
const clientOf = (url: string) => new URL(url).searchParams.get('client_id')!;

const silently: Ask = (url) => new UserAgent(server.issuer).request(`${url}&prompt=none`);
const cancelling: Ask = async (url) => {
  const stranger = new UserAgent(server.issuer);
  return stranger.submit(await stranger.visit(url), { cancel: '' });
};
const declining: Ask = async (url) => agent.submit(await agent.visit(url), { decision: 'deny' });
const twice =
  (name: string): Ask =>
  (url) =>
    agent.request(`${url}&${name}=1&${name}=2`);
const thirdParty = { client_id: 'third-party', redirect_uri: 'https://reports.example.net/cb', scope: 'openid' };
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const requestObject = (claims: unknown) => `${encode({ alg: 'none' })}.${encode(claims)}.`;

const ways: Way[] = [
  ['a code', 'code', {}],
  ['nobody is signed in', 'login_required', {}, silently],
  ['the person cancels', 'access_denied', {}, cancelling],
  ['the person declines', 'access_denied', thirdParty, declining],
  ['consent that may not be asked for', 'consent_required', { ...thirdParty, prompt: 'none' }],
  ['no PKCE', 'invalid_request', { code_challenge: undefined, code_challenge_method: undefined }],
  ['plain PKCE', 'invalid_request', { code_challenge_method: 'plain' }],
  ['a code challenge that is none', 'invalid_request', { code_challenge: 'short' }],
  ['a code challenge that is too long', 'invalid_request', { code_challenge: 'x'.repeat(129) }],
  ['an unknown prompt', 'invalid_request', { prompt: 'maybe' }],
  ['contradicting prompts', 'invalid_request', { prompt: 'none login' }],
  ['an age that is none', 'invalid_request', { max_age: '-1' }],
  ['a scope with a line break', 'invalid_scope', { scope: 'openid\n' }],
  ['an API that is not there', 'invalid_target', { resource: 'https://nothing.example.com' }],
  ['an API that is no URI', 'invalid_target', { resource: 'orders' }],
  ['an audience that is not there', 'invalid_target', { audience: 'https://nothing.example.com' }],
  ['audience and resource apart', 'invalid_target', { audience: stockApi, resource: 'https://orders.example.com' }],
  ['another response type', 'unsupported_response_type', { response_type: 'none' }],
  ['no response type', 'invalid_request', { response_type: undefined }],
  ['a request object', 'request_not_supported', { request: requestObject({}) }],
  ['a request object that is none', 'request_not_supported', { request: 'nonsense' }],
  ['a request URI', 'request_uri_not_supported', { request_uri: 'https://app.example.com/request' }],
  ['a registration', 'registration_not_supported', { registration: '{}' }],
  ['a nonce that is too long', 'invalid_request', { nonce: 'x'.repeat(2049) }],
  ['a state that is too long', 'invalid_request', { state: 's'.repeat(8193) }],
  ['a null character', 'invalid_request', { nonce: 'a\0b' }],
  ['a nonce twice', 'invalid_request', {}, twice('nonce')],
  ['an audience twice', 'invalid_request', {}, twice('audience')],
];

/** What the application at `redirectUri` gets of an answer. */
function received({ headers, body, url }: Answer, mode: string, redirectUri: string): Record<string, string> {
  if (mode === 'form_post') {
    const elements = elementsOf(body).map(({ tag, attributes }) => ({ tag, attributes }));
    expect(elements.find(({ tag }) => tag === 'form')?.attributes.get('action')).toBe(redirectUri);
    const hidden = elements.filter(({ attributes }) => attributes.get('type') === 'hidden');
    return Object.fromEntries(hidden.map(({ attributes }) => [attributes.get('name'), attributes.get('value')]));
  }
  const to = new URL(headers.get('location') ?? url);
  expect(to.origin + to.pathname).toBe(redirectUri);
  return Object.fromEntries(mode === 'query' ? to.searchParams : new URLSearchParams(to.hash.slice(1)));
}

describe.each(modes)('by response_mode=%s', (mode) => {
  test.each(ways)('%s: %s, with its state and iss', async (_name, expected, parameters, ask) => {
    const request = authorizationRequest(server.issuer, { response_mode: mode, ...parameters });
    const answer = await (ask ?? ((url) => agent.request(url)))(request.url);
    const { state, iss, ...rest } = received(answer, mode, parameters.redirect_uri ?? callback);
    expect({ iss, state }).toEqual({ iss: server.issuer, state: parameters.state ?? request.state });
    if (expected === 'code') expect(rest).toEqual({ code: expect.any(String) });
    else expect(rest).toEqual({ error: expected, error_description: expect.any(String) });
  });
});

test('a state too long for any address is answered without it', async () => {
  const { headers } = await agent.request(authorizationRequest(server.issuer, { state: 's'.repeat(25_000) }).url);
  const to = new URL(headers.get('location')!).searchParams;
  expect([to.get('error'), to.get('iss'), to.get('state')]).toEqual(['invalid_request', server.issuer, null]);
});

test('a state sent twice is answered without one', async () => {
  const { url } = authorizationRequest(server.issuer);
  const { headers } = await agent.request(`${url}&state=2`);
  const to = new URL(headers.get('location')!).searchParams;
  expect([to.get('error'), to.get('iss'), to.get('state')]).toEqual(['invalid_request', server.issuer, null]);
});

test('a response mode that is not there is answered in the usual one', async () => {
  const { headers } = await agent.request(authorizationRequest(server.issuer, { response_mode: 'pigeon' }).url);
  const to = new URL(headers.get('location')!).searchParams;
  expect([to.get('error'), to.get('iss')]).toEqual(['unsupported_response_mode', server.issuer]);
});

describe('a request object is refused as it asks to be answered itself', () => {
  test.each(modes)('%s', async (mode) => {
    const request = requestObject({
      response_mode: mode,
      state: 'inside',
      redirect_uri: callback,
      aud: [server.issuer],
    });
    const asked = authorizationRequest(server.issuer, { request, state: undefined, redirect_uri: undefined });
    expect(received(await agent.request(asked.url), mode, callback)).toMatchObject({
      error: 'request_not_supported',
      state: 'inside',
      iss: server.issuer,
    });
  });

  test.each([
    ['another type', { response_mode: 1, state: ['x'], redirect_uri: {} }],
    ['another address', { redirect_uri: 'https://attacker.example/' }],
    ['null characters', { state: '\0', redirect_uri: '\0' }],
  ])('%s in it is no way around the registered address', async (_name, claims) => {
    const { url } = authorizationRequest(server.issuer, { request: requestObject(claims) });
    const { status, headers } = await agent.request(url);
    const location = headers.get('location');
    if (status !== 400)
      expect(location).toMatch(/^https:\/\/app\.example\.com\/callback\?error=request_not_supported&/);
    else expect(location).toBeNull();
  });

  test.each([
    ['another one', 'https://app.example.com/elsewhere'],
    ['one with a query added', `${callback}?x=1`],
    ['one with a fragment', `${callback}#x`],
    ['a space', ' '],
  ])('%s in the query is not registered and leads nowhere, whatever the object says', async (_name, address) => {
    const request = requestObject({ redirect_uri: callback, state: 'inside' });
    const { status, headers, body } = await agent.request(
      authorizationRequest(server.issuer, { request, redirect_uri: address, state: undefined }).url,
    );
    expect([status, headers.get('location'), body.includes('invalid_redirect_uri')]).toEqual([400, null, true]);
  });
});

describe('nobody is sent anywhere, and a program reads why, where', () => {
  test.each<[string, Parameters, string]>([
    ['the application is not known', { client_id: 'nobody' }, 'invalid_client'],
    ['the name has a null character', { client_id: 'spa\0' }, 'invalid_request'],
    ['the address is not registered', { redirect_uri: 'https://attacker.example/' }, 'invalid_redirect_uri'],
    ['there is no address', { redirect_uri: undefined }, 'invalid_request'],
    ['there is no application', { client_id: undefined }, 'invalid_request'],
  ])('%s', async (_name, parameters, error) => {
    for (const wrong of [{}, { state: 's'.repeat(9000) }, { nonce: '\0' }, { request: 'x' }]) {
      const { url } = authorizationRequest(server.issuer, { ...wrong, ...parameters });
      const page = await agent.request(url);
      expect([page.status, page.headers.get('location')]).toEqual([400, null]);
      const program = await agent.request(url, { headers: { Accept: 'application/json' } });
      const told = JSON.parse(program.body) as { error: string; iss: string };
      expect([program.status, told.iss]).toEqual([400, server.issuer]);
      if (Object.keys(wrong).length === 0) expect(told.error).toBe(error);
    }
  });

  test('the application is sent twice, or the address', async () => {
    for (const name of ['client_id', 'redirect_uri']) {
      const { status, headers } = await twice(name)(authorizationRequest(server.issuer).url);
      expect([status, headers.get('location')], name).toEqual([400, null]);
    }
  });
});

test('a state of 8 kB comes back through a sign-in as it went', async () => {
  const state = `é%/"<&+ ${'A-z_0~.*'.repeat(1024)}`.slice(0, 8192);
  const { request, code } = await signIn(server.issuer, { parameters: { state } });
  expect([clientOf(request.url), code]).toEqual(['spa', expect.any(String)]);
  const again = await agent.request(authorizationRequest(server.issuer, { state }).url);
  expect(new URL(again.headers.get('location')!).searchParams.get('state')).toBe(state);
});

test('what we do not know of a request is ignored, however long (RFC 6749 §3.1)', async () => {
  const { url } = authorizationRequest(server.issuer, { claims: 'x'.repeat(5000), utm_source: 'x'.repeat(5000) });
  const { headers } = await agent.request(url);
  expect(new URL(headers.get('location')!).searchParams.has('code')).toBe(true);
});

describe('audience, the name of other providers for resource,', () => {
  const audienceOf = (token: string) => [decode(token).payload.aud].flat();

  test.each([
    [stockApi, 'stock:read'],
    ['rabbitmq', 'queue:read'],
  ])('yields a token for that API: %s', async (audience, scope) => {
    const { tokens } = await signIn(server.issuer, { parameters: { audience, scope: `openid ${scope}` } });
    expect(audienceOf(tokens.access_token)).toContain(audience);
    expect(tokens.scope).toContain(scope);
    const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
    const again = await tokenRequest(server.issuer, { ...refresh, audience });
    expect([again.status, audienceOf(again.body.access_token)]).toEqual([200, expect.arrayContaining([audience])]);
    const other = await tokenRequest(server.issuer, {
      ...refresh,
      refresh_token: again.body.refresh_token,
      audience: 'https://nothing.example.com',
    });
    expect([other.status, other.body.error]).toEqual([400, 'invalid_target']);
  });

  test.each([stockApi, 'rabbitmq'])('is understood beside the same name as resource: %s', async (audience) => {
    const scope = audience === 'rabbitmq' ? 'queue:read' : 'stock:read';
    const { tokens } = await signIn(server.issuer, {
      parameters: { audience, resource: audience, scope: `openid ${scope}` },
    });
    expect(audienceOf(tokens.access_token)).toContain(audience);
  });

  test('is understood where an application asks for itself, and refused with a word', async () => {
    const ask = (parameters: Record<string, string | string[]>) =>
      tokenRequest(server.issuer, { grant_type: 'client_credentials', ...parameters }, { clientId: 'service', secret });
    expect(audienceOf((await ask({ audience: ordersApi })).body.access_token)).toEqual([ordersApi]);
    expect((await ask({ audience: 'rabbitmq' })).body.error).toBe('invalid_target');
    expect((await ask({ audience: ordersApi, resource: stockApi })).body).toMatchObject({
      error: 'invalid_target',
      error_description: 'audience and resource name different APIs',
    });
    expect((await ask({ audience: [ordersApi, stockApi] })).body).toMatchObject({
      error: 'invalid_request',
      error_description: 'audience must not be provided twice',
    });
  });
});
