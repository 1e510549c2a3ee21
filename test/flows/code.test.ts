import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Engine, engines } from '../support/engines.ts';
import { callback, ordersApi, secret, startSignet, type TestServer } from '../support/signet.ts';
import { expire } from '../support/stored.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  redemption,
  signIn,
  type TokenAnswer,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

/** A fresh code, and what redeems it. */
async function freshCode(parameters: Record<string, string | undefined> = {}, at = server) {
  const request = authorizationRequest(at.issuer, parameters);
  const answer = await authorize(new UserAgent(at.issuer), request.url);
  const code = answer.get('code');
  if (!code) throw new Error(`no code: ${answer}`);
  return { code, redeeming: redemption(request, code) };
}

/** What the application's redirect URI is told when an authorization request is refused. */
async function refusal(parameters: Record<string, string | undefined>, extra = ''): Promise<Record<string, string>> {
  const { url } = authorizationRequest(server.issuer, parameters);
  const { headers } = await new UserAgent(server.issuer).request(url + extra);
  const location = headers.get('location');
  if (!location?.startsWith(callback)) throw new Error(`not sent back: ${location}`);
  // An answer to a response type of the implicit flow goes into the fragment, where its reader looks for it.
  const { search, hash } = new URL(location);
  return Object.fromEntries(new URLSearchParams(search || hash.slice(1)));
}

const refresh = (refreshToken: string, clientId = 'spa', at = server) =>
  tokenRequest(at.issuer, { grant_type: 'refresh_token', refresh_token: refreshToken }, asClient(clientId));

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } };

describe('an authorization request without good PKCE (RFC 7636)', () => {
  const none = { code_challenge: undefined, code_challenge_method: undefined };
  const oldPortal = { client_id: 'web-no-pkce', scope: 'openid' };

  test('is refused without a challenge', async () => {
    expect(await refusal(none)).toMatchObject({ error: 'invalid_request', iss: server.issuer });
    expect(await refusal({ ...none, client_id: 'web' })).toMatchObject({
      error: 'invalid_request',
      iss: server.issuer,
    });
  });

  test.each([
    ['plain', { code_challenge_method: 'plain' }],
    ['plain by default, when no method is named', { code_challenge_method: undefined }],
    ['an unknown method', { code_challenge_method: 'S512' }],
    ['a challenge too short to be a digest', { code_challenge: 'abc' }],
    ['a challenge with foreign characters', { code_challenge: `${'a'.repeat(42)}!` }],
  ])('is refused with %s', async (_name, parameters) => {
    expect(await refusal(parameters)).toMatchObject({ error: 'invalid_request' });
    expect(await refusal({ ...parameters, ...oldPortal })).toMatchObject({ error: 'invalid_request' });
  });

  test('is accepted of the one application that declares pkce: optional', async () => {
    const {
      redeeming: { code_verifier: _unused, ...redeeming },
    } = await freshCode({ ...oldPortal, ...none });
    expect(await tokenRequest(server.issuer, redeeming, asClient('web-no-pkce'))).toMatchObject({ status: 200 });
  });

  test('and a verifier for a code without challenge is refused: somebody took it away (RFC 9700 §4.8.2)', async () => {
    const { redeeming } = await freshCode({ ...oldPortal, ...none });
    expect(await tokenRequest(server.issuer, redeeming, asClient('web-no-pkce'))).toMatchObject(invalidGrant);
  });
});

describe('a code is redeemed only by whoever asked for it', () => {
  test.each([
    ['a wrong verifier', { code_verifier: 'a'.repeat(43) }],
    ['a verifier too short', { code_verifier: 'a'.repeat(42) }, 'invalid_request'],
    ['a verifier too long', { code_verifier: 'a'.repeat(129) }, 'invalid_request'],
    ['another redirect URI', { redirect_uri: `${callback}/` }],
    ['an invented code', { code: 'a'.repeat(43) }],
  ])('not with %s', async (_name, wrong, error = 'invalid_grant') => {
    const { redeeming } = await freshCode();
    const refused = await tokenRequest(server.issuer, { ...redeeming, ...wrong });
    expect(refused).toMatchObject({ status: 400, body: { error } });
    expect(refused.headers.get('cache-control')).toBe('no-store');
  });

  test.each(['code_verifier', 'redirect_uri', 'code'])('not without %s', async (missing) => {
    const { redeeming } = await freshCode();
    const { [missing as 'code']: _left, ...rest } = redeeming;
    const refused = await tokenRequest(server.issuer, rest as Record<string, string>);
    expect(refused.status).toBe(400);
    expect(refused.body.error).toBe(missing === 'code_verifier' ? 'invalid_grant' : 'invalid_request');
  });

  test('not by another application, which does not spend it either', async () => {
    const { redeeming } = await freshCode();
    expect(await tokenRequest(server.issuer, redeeming, asClient('web'))).toMatchObject(invalidGrant);
    expect(await tokenRequest(server.issuer, redeeming)).toMatchObject({ status: 200 });
  });

  test('not by an application that fails to authenticate', async () => {
    const { redeeming } = await freshCode({ client_id: 'web', scope: 'openid' });
    const wrong = await tokenRequest(server.issuer, redeeming, { clientId: 'web', secret: 'x'.repeat(40) });
    expect(wrong).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    expect(wrong.headers.get('www-authenticate')).toMatch(/^Basic /);
    for (const client of [{ clientId: 'web' }, asClient('nobody')]) {
      const refused = await tokenRequest(server.issuer, redeeming, client);
      expect(refused).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    }
    expect(await tokenRequest(server.issuer, redeeming, asClient('web'))).toMatchObject({ status: 200 });
  });

  test('not after its life', async () => {
    const { code, redeeming } = await freshCode();
    await expire(server.store.db, 'AuthorizationCode', code);
    expect(await tokenRequest(server.issuer, redeeming)).toMatchObject(invalidGrant);
  });
});

describe('a code that is redeemed a second time', () => {
  test('ends everything the first redemption gave: somebody else has seen the code (RFC 6749 §4.1.2)', async () => {
    const { redeeming } = await freshCode();
    const { body: tokens } = await tokenRequest(server.issuer, redeeming);
    expect((await askUserinfo(server.issuer, tokens.access_token)).status).toBe(200);

    expect(await tokenRequest(server.issuer, redeeming)).toMatchObject(invalidGrant);

    expect(await refresh(tokens.refresh_token)).toMatchObject(invalidGrant);
    expect((await askUserinfo(server.issuer, tokens.access_token)).status).toBe(401);
  });

  test('ends nothing when whoever tries cannot prove to have asked for it', async () => {
    const { redeeming } = await freshCode();
    const { body: tokens } = await tokenRequest(server.issuer, redeeming);
    await tokenRequest(server.issuer, { ...redeeming, code_verifier: 'a'.repeat(43) });
    await tokenRequest(server.issuer, redeeming, asClient('web'));
    expect(await refresh(tokens.refresh_token)).toMatchObject({ status: 200 });
  });
});

const successes = (answers: TokenAnswer[]) => answers.filter(({ status }) => status === 200);

describe.each(engines)('fifty redemptions of one code at the same moment, on $name', (engine: Engine) => {
  test('give one success and forty-nine refusals', async () => {
    const contended = await startSignet({ database: await engine.freshUrl() });
    try {
      const { redeeming } = await freshCode({}, contended);
      const answers = await Promise.all(Array.from({ length: 50 }, () => tokenRequest(contended.issuer, redeeming)));
      expect(successes(answers)).toHaveLength(1);
      expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(49);
    } finally {
      await contended.close();
    }
  });
});

describe('an authorization request that cannot be granted', () => {
  test.each([
    ['response_type=token', { response_type: 'token' }, 'unsupported_response_type'],
    ['response_type=id_token', { response_type: 'id_token' }, 'unsupported_response_type'],
    ['response_type=code id_token', { response_type: 'code id_token' }, 'unsupported_response_type'],
    ['response_type=none', { response_type: 'none' }, 'unsupported_response_type'],
    ['an unknown response_mode', { response_mode: 'carrier_pigeon' }, 'unsupported_response_mode'],
    ['a request object', { request: 'eyJhbGciOiJub25lIn0.e30.' }, 'request_not_supported'],
    ['a request_uri', { request_uri: 'https://attacker.example/request' }, 'request_uri_not_supported'],
    ['registration', { registration: '{}' }, 'registration_not_supported'],
    ['prompt=none from somebody who is not signed in', { prompt: 'none' }, 'login_required'],
    ['prompt=none with another prompt', { prompt: 'none login' }, 'invalid_request'],
    ['max_age that is no number', { max_age: 'soon' }, 'invalid_request'],
    ['an API that does not exist', { resource: 'https://unknown.example.com' }, 'invalid_target'],
    ['a resource that is no URI', { resource: 'orders' }, 'invalid_target'],
    ['a resource with a fragment', { resource: `${ordersApi}#part` }, 'invalid_target'],
    ['a scope with a line break', { scope: 'openid\nemail' }, 'invalid_scope'],
  ])("is answered at the redirect URI, in the issuer's name (RFC 9207): %s", async (_name, parameters, error) => {
    const { state, ...answer } = await refusal(parameters);
    expect(answer).toMatchObject({ error, iss: server.issuer });
    expect(state).toBeTruthy();
  });

  test('is refused when a parameter stands in it twice (RFC 6749 §3.1)', async () => {
    const repetitions = [
      '&scope=openid',
      '&state=other',
      '&nonce=other',
      '&response_type=code',
      '&code_challenge=other',
    ];
    for (const twice of repetitions) {
      expect(await refusal({}, twice), twice).toMatchObject({ error: 'invalid_request' });
    }
  });

  test.each([
    ['an unknown application', { client_id: 'nobody' }, 'This application is not known here'],
    ['no application', { client_id: undefined }, 'client_id'],
    ['an application named twice', { client_id: 'spa&client_id=spa' }, ''],
    ['a service, where nobody signs in', { client_id: 'service' }, ''],
  ])('shows a page of ours and sends nobody anywhere: %s', async (_name, parameters, text) => {
    const { url } = authorizationRequest(server.issuer, parameters);
    const page = await new UserAgent(server.issuer).request(url.replace('spa%26client_id%3D', 'spa&client_id='));
    expect(page.status).toBe(400);
    expect(page.headers.get('location')).toBeNull();
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.body).toContain(text);
  });

  test('a parameter that is not supported changes nothing: claims', async () => {
    const claims = JSON.stringify({ id_token: { email: null, roles: null } });
    const { redeeming } = await freshCode({ scope: 'openid', claims });
    const { body } = await tokenRequest(server.issuer, redeeming);
    expect(decode(body.id_token).payload).not.toHaveProperty('email');
  });

  test('a scope that the application may not have is not granted', async () => {
    const scope = 'openid orders:read orders:write admin';
    const { redeeming } = await freshCode({ client_id: 'web', scope, resource: ordersApi });
    const { body } = await tokenRequest(server.issuer, redeeming, asClient('web'));
    expect(body.scope.split(' ').sort()).toEqual(['openid', 'orders:read']);
  });
});

describe('a token request that is no proper form', () => {
  const post = (headers: Record<string, string>, body: string) =>
    fetch(`${server.issuer}/token`, { method: 'POST', headers, body });
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' };

  test('JSON, text and multipart are refused', async () => {
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x']) {
      const answer = await post({ 'Content-Type': type }, JSON.stringify({ grant_type: 'client_credentials' }));
      expect(answer.status, type).toBe(400);
      expect(await answer.json(), type).toMatchObject({ error: 'invalid_request' });
    }
  });

  test('an oversized body is refused, announced or not, and the server goes on', async () => {
    const huge = `grant_type=client_credentials&padding=${'x'.repeat(1_000_000)}`;
    const announced = await post(form, huge);
    const said = { error: 'invalid_request', error_description: expect.stringMatching(/larger than the 57344 bytes/) };
    expect([announced.status, await announced.json()]).toEqual([413, said]);
    expect(await sendInChunks(`${server.issuer}/token`, huge)).toBe(413);
    const page = await post({ ...form, Accept: 'text/html' }, huge);
    expect([page.status, await page.text()]).toEqual([413, expect.stringMatching(/larger than the 57344 bytes/)]);
    const largest = `grant_type=none&padding=${'x'.repeat(57_344 - 'grant_type=none&padding='.length)}`;
    expect((await post(form, largest)).status).toBe(400);
    expect((await post(form, `${largest}x`)).status).toBe(413);
    expect((await fetch(`${server.issuer}/health/live`)).status).toBe(200);
  });

  test('a parameter twice, an unknown grant type and none at all are refused', async () => {
    const service = { Authorization: `Basic ${btoa(`service:${secret}`)}`, ...form };
    for (const [body, error] of [
      ['grant_type=client_credentials&grant_type=client_credentials', 'invalid_request'],
      ['grant_type=client_credentials&scope=orders:read&scope=orders:read', 'invalid_request'],
      ['grant_type=password&username=a&password=b', 'unsupported_grant_type'],
      ['grant_type=implicit', 'unsupported_grant_type'],
      ['grant_type=authorization_code&code=x&redirect_uri=x', 'invalid_request'],
      ['', 'invalid_request'],
    ] as const) {
      const answer = await post(service, body);
      expect([answer.status, ((await answer.json()) as { error: string }).error], body).toEqual([400, error]);
    }
  });

  test('GET gives no token, and neither does a query string', async () => {
    const { redeeming } = await freshCode();
    const query = new URLSearchParams({ ...redeeming, client_id: 'spa' });
    expect((await fetch(`${server.issuer}/token?${query}`)).status).toBe(405);
    expect((await post(form, '')).status).toBe(400);
    expect((await fetch(`${server.issuer}/token?${query}`, { method: 'POST', headers: form })).status).toBe(400);
    expect(await tokenRequest(server.issuer, redeeming)).toMatchObject({ status: 200 });
  });

  test('two ways to authenticate at once are refused (RFC 6749 §2.3)', async () => {
    const parameters = { grant_type: 'client_credentials', client_id: 'service', client_secret: secret };
    const answer = await tokenRequest(server.issuer, parameters, { clientId: 'service', secret });
    expect(answer.body.error).toBe('invalid_request');
  });
});

describe('what belongs to one browser', () => {
  test('a second sign-in in the same browser asks for nothing', async () => {
    const { agent } = await signIn(server.issuer);
    const answer = await agent.visit(authorizationRequest(server.issuer, { prompt: 'none' }).url);
    expect(new URL(answer.url).searchParams.get('code')).toBeTruthy();
  });

  test('applications, and tabs of one, that are opened at the same moment all get their tokens', async () => {
    const { agent } = await signIn(server.issuer, { clientId: 'web-no-pkce', parameters: { scope: 'openid' } });
    const opened = ['spa', 'spa', 'spa', 'web'].map((clientId) => ({
      clientId,
      ...authorizationRequest(server.issuer, { client_id: clientId, scope: 'openid' }),
    }));
    const codes = await Promise.all(opened.map(async ({ url }) => (await authorize(agent, url)).get('code')!));
    const answers = await Promise.all(
      opened.map(({ clientId, ...request }, index) =>
        tokenRequest(server.issuer, redemption(request, codes[index]!), asClient(clientId)),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const renewed = await Promise.all(
      opened.map(({ clientId }, index) => refresh(answers[index]!.body.refresh_token, clientId)),
    );
    expect(renewed.map(({ status }) => status)).toEqual([200, 200, 200, 200]);

    await agent.submit(await agent.visit('/session/end'), { logout: 'yes' });
    const ended = await Promise.all(
      opened.map(({ clientId }, index) => refresh(renewed[index]!.body.refresh_token, clientId)),
    );
    expect(ended.map(({ status }) => status)).toEqual([400, 400, 400, 400]);
  });

  test('a code is worth nothing once the person has signed out', async () => {
    const { agent } = await signIn(server.issuer);
    const request = authorizationRequest(server.issuer);
    const code = (await authorize(agent, request.url)).get('code')!;
    await agent.submit(await agent.visit('/session/end'), { logout: 'yes' });
    expect(await tokenRequest(server.issuer, redemption(request, code))).toMatchObject(invalidGrant);
  });

  test("knowing the address of somebody's sign-in is not enough to take part in it", async () => {
    const victim = new UserAgent(server.issuer);
    const page = await victim.visit(authorizationRequest(server.issuer).url);
    const [name, value] = [...victim.cookies].find(([cookie]) => cookie.includes('sign_in_'))!;
    const uid = new URL(page.url).pathname.split('/')[2]!;
    const forged = (cookie: string) =>
      new UserAgent(server.issuer).request(page.url, { headers: { Cookie: `${name}=${cookie}` } });
    expect((await forged(value)).status).toBe(200);
    expect((await forged(uid)).status).toBe(400);
    expect((await forged(`${uid}.${'A'.repeat(27)}`)).status).toBe(400);
  });
});

function sendInChunks(url: string, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded', 'Transfer-Encoding': 'chunked' };
    const request = httpRequest(url, { method: 'POST', headers });
    request.once('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once('error', reject);
    request.end(body);
  });
}
