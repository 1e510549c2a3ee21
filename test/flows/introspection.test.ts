import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { compactVerify, createRemoteJWKSet } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type HostileTokens, hostileTokens } from '../support/hostile-tokens.ts';
import { declared, ordersApi, secret, spaOrigin, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import { statusBit } from '../support/status.ts';
import { ageRotation } from '../support/stored.ts';
import { asClient, decode, signIn, tokenRequest } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({
    values: {
      applications: [
        ...declared.applications,
        { clientId: 'orders', name: 'Orders API', type: 'service', secret, introspects: [ordersApi] },
        { clientId: 'stock', name: 'Stock API', type: 'service', secret, introspects: [stockApi] },
      ],
    },
  });
});
afterAll(() => server.close());

interface Asked {
  status: number;
  headers: Headers;
  text: string;
  body: Record<string, any>;
}

async function post(path: string, form: Record<string, string>, headers: Record<string, string> = {}): Promise<Asked> {
  const answer = await fetch(server.issuer + path, { method: 'POST', body: new URLSearchParams(form), headers });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text.startsWith('{') ? JSON.parse(text) : {} };
}

const basic = (clientId: string, proof = secret) => ({ Authorization: `Basic ${btoa(`${clientId}:${proof}`)}` });
const introspect = (token: string, clientId = 'orders', headers: Record<string, string> = {}) =>
  post('/token/introspection', { token }, { ...basic(clientId), ...headers });

function revoke(token: string, clientId: string): Promise<Asked> {
  const proof = asClient(clientId).secret;
  return post('/token/revocation', { token, client_id: clientId, ...(proof && { client_secret: proof }) });
}

const personsTokens = async (clientId = 'web') =>
  (await signIn(server.issuer, { clientId, parameters: { resource: ordersApi } })).tokens;
const serviceToken = async () =>
  (await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'))).body.access_token;

const refresh = (token: string) =>
  tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token }, asClient('web'));

describe('introspection (RFC 7662)', () => {
  test('says of a good access token whose it is and what it allows', async () => {
    const { access_token: token } = await personsTokens();
    const { status, headers, body } = await introspect(token);
    expect([status, headers.get('content-type'), headers.get('cache-control')]).toEqual([
      200,
      'application/json; charset=utf-8',
      'no-store',
    ]);
    expect(body).toEqual({ ...decode(token).payload, active: true, token_type: 'Bearer' });
    expect(body).toMatchObject({ iss: server.issuer, sub: server.accountId, client_id: 'web' });
  });

  test('says of a refresh token that it is good, and that it is not when it is spent and its grace is over', async () => {
    const { refresh_token: token } = await personsTokens();
    const { body } = await introspect(token, 'web');
    expect(body).toEqual({
      active: true,
      iss: server.issuer,
      sub: server.accountId,
      client_id: 'web',
      scope: expect.any(String),
      iat: expect.any(Number),
      exp: expect.any(Number),
    });
    const { body: next } = await refresh(token);
    // Until then it is answered again; and whoever stole it does not learn here when to ask for that.
    expect((await introspect(token, 'web')).body).toEqual(body);
    await ageRotation(server.store.db, token, server.config.tokens.refreshGrace + 1);
    expect((await introspect(token, 'web')).body).toEqual({ active: false });
    expect((await introspect(next.refresh_token, 'web')).body.active).toBe(true);
  });

  test('says of a refresh token that it is not good when its successor has been used', async () => {
    const { refresh_token: token } = await personsTokens();
    await refresh((await refresh(token)).body.refresh_token);
    expect((await introspect(token, 'web')).body).toEqual({ active: false });
  });

  test('says of a token whose grant ended that it is not good, the same moment', async () => {
    const tokens = await personsTokens();
    await revoke(tokens.refresh_token, 'web');
    expect((await introspect(tokens.access_token)).body).toEqual({ active: false });
    expect((await introspect(tokens.refresh_token, 'web')).body).toEqual({ active: false });
  });

  test('says of an expired token that it is not good, to the second', async () => {
    const { access_token: token } = await personsTokens();
    vi.useFakeTimers({ toFake: ['Date'], now: decode(token).payload.exp * 1000 - 1 });
    const before = await introspect(token);
    vi.setSystemTime(decode(token).payload.exp * 1000);
    const after = await introspect(token).finally(() => vi.useRealTimers());
    expect([before.body.active, after.body.active]).toEqual([true, false]);
  });

  test('answers with a signed token to whoever asks for one (RFC 9701)', async () => {
    const { access_token: token } = await personsTokens();
    const accept = { Accept: 'application/token-introspection+jwt' };
    for (const [presented, active] of [
      [token, true],
      ['nonsense', false],
    ] as const) {
      const { headers, text } = await introspect(presented, 'orders', accept);
      expect(headers.get('content-type')).toBe('application/token-introspection+jwt');
      const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
      const { payload, protectedHeader } = await compactVerify(text, keys);
      expect(protectedHeader).toMatchObject({ alg: 'RS256', typ: 'token-introspection+jwt' });
      // RFC 9701 §5: neither sub nor exp at the top, so that it cannot be taken for an access token.
      expect(JSON.parse(new TextDecoder().decode(payload))).toEqual({
        iss: server.issuer,
        aud: 'orders',
        iat: expect.any(Number),
        token_introspection: expect.objectContaining({ active }),
      });
      expect((await introspect(text)).body).toEqual({ active: false });
    }
  });

  describe('tells an application of', () => {
    type Row = [what: string, who: string, make: () => Promise<string>, active: boolean];
    const rows: Row[] = [
      ["a person's token for an API that it is", 'orders', async () => (await personsTokens()).access_token, true],
      ["a service's token for an API that it is", 'orders', serviceToken, true],
      ["a person's token that it got itself", 'web', async () => (await personsTokens()).access_token, true],
      ['a token that it got for itself', 'service', serviceToken, true],
      ['no token for another API', 'stock', async () => (await personsTokens()).access_token, false],
      ['no token that another application got', 'third-party', async () => (await personsTokens()).access_token, false],
      [
        'no refresh token of another application, not even the API',
        'orders',
        async () => (await personsTokens()).refresh_token,
        false,
      ],
      ['no ID token', 'web', async () => (await personsTokens()).id_token, false],
    ];
    test.each(rows)('%s (%s)', async (_what, who, make, active) => {
      expect((await introspect(await make(), who)).body.active).toBe(active);
    });
  });

  describe('answers nobody who does not prove who they are:', () => {
    const form = { token: 'anything' };
    test.each([
      ['nobody at all', form, {}, 401, 'invalid_client'],
      ['a name without a secret', { ...form, client_id: 'orders' }, {}, 401, 'invalid_client'],
      ['a wrong secret', form, basic('orders', 'wrong'), 401, 'invalid_client'],
      ['a wrong one in the form', { ...form, client_id: 'orders', client_secret: 'wrong' }, {}, 401, 'invalid_client'],
      ['an unknown name', form, basic('nobody'), 401, 'invalid_client'],
      ['an application that has no secret', { ...form, client_id: 'spa' }, {}, 401, 'invalid_client'],
      ['two ways at once', { ...form, client_secret: secret }, basic('orders'), 400, 'invalid_request'],
      ['two names', { ...form, client_id: 'stock' }, basic('orders'), 400, 'invalid_request'],
      ['another scheme', form, { Authorization: 'Bearer abc' }, 400, 'invalid_request'],
      ['a header that is no Base64', form, { Authorization: 'Basic %%%' }, 400, 'invalid_request'],
      ['no token', {}, basic('orders'), 400, 'invalid_request'],
    ])('%s', async (_who, given, headers, status, error) => {
      const sent = headers as Record<string, string>;
      const answer = await post('/token/introspection', given as Record<string, string>, sent);
      expect(answer).toMatchObject({ status, body: { error, error_description: expect.any(String) } });
      const challenged = status === 401 && sent.Authorization !== undefined;
      expect(answer.headers.get('www-authenticate')).toBe(challenged ? `Basic realm="${server.issuer}"` : null);
    });

    test('a form with a field twice, a body that is no form, and GET', async () => {
      const ask = (options: RequestInit) => fetch(`${server.issuer}/token/introspection`, options);
      const form = { 'Content-Type': 'application/x-www-form-urlencoded', ...basic('orders') };
      const answers = await Promise.all([
        ask({ method: 'POST', body: 'token=a&token=b', headers: form }),
        ask({ method: 'POST', body: '{}', headers: { ...form, 'Content-Type': 'application/json' } }),
        ask({ method: 'GET' }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([400, 415, 405]);
      for (const answer of answers) expect(await answer.json()).toMatchObject({ error: 'invalid_request' });
    });
  });
});

describe('revocation (RFC 7009)', () => {
  test('is for the application that the token was issued to; another learns nothing, and changes nothing', async () => {
    const tokens = await personsTokens('web');
    for (const token of [tokens.access_token, tokens.refresh_token]) {
      for (const other of ['spa', 'service', 'third-party']) {
        expect(await revoke(token, other)).toMatchObject({ status: 200, text: '' });
      }
    }
    expect(await statusBit(tokens.access_token)).toBe(0);
    expect(await revoke(tokens.access_token, 'web')).toMatchObject({ status: 200, text: '' });
    expect(await statusBit(tokens.access_token)).toBe(1);
  });

  test('of a token that is none is answered like any other', async () => {
    const { id_token: idToken } = await personsTokens();
    for (const token of ['nonsense', 'a.b.c', idToken, 'x'.repeat(5_000)]) {
      expect(await revoke(token, 'web')).toMatchObject({ status: 200, text: '' });
    }
  });

  test('works with a refresh token that was already spent: whoever has it must not have its successors', async () => {
    const tokens = await personsTokens();
    const asked = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
    const { body: next } = await tokenRequest(server.issuer, asked, asClient('web'));
    await revoke(tokens.refresh_token, 'web');
    expect(await statusBit(next.access_token)).toBe(1);
  });

  test('needs the secret of an application that has one', async () => {
    const { refresh_token: token } = await personsTokens();
    const answer = await post('/token/revocation', { token, client_id: 'web' });
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('works for a page of the application, and for no other page', async () => {
    const { refresh_token: token } = await personsTokens('spa');
    const from = (origin: string) => post('/token/revocation', { token, client_id: 'spa' }, { Origin: origin });
    const stranger = await from('https://evil.example');
    expect([stranger.status, stranger.headers.get('access-control-allow-origin')]).toEqual([400, null]);
    const ours = await from(spaOrigin);
    expect([ours.status, ours.headers.get('access-control-allow-origin')]).toEqual([200, spaOrigin]);
  });
});

describe('tokens that somebody made to be believed', () => {
  const strangersKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

  /** The server's own key, and a good token: what a forger would give much for. */
  async function forgery(): Promise<HostileTokens> {
    const {
      rows: [row],
    } = await server.store.db.query<{ kid: string; sealed_private: string }>(
      'select kid, sealed_private from signing_keys where sealed_private is not null and activated_at is not null',
    );
    const pkcs8 = server.store.seal.open(row!.sealed_private, `signing key ${row!.kid}`);
    const privateKey = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' });
    const good = decode(await serviceToken()).payload;
    return hostileTokens({
      issuer: server.issuer,
      audience: ordersApi,
      kid: row!.kid,
      privateKey,
      strangersKey,
      claims: () => ({ ...good }),
      trapUrl: 'http://127.0.0.1:9/trap',
    });
  }

  test('are not active, and none breaks either endpoint', async () => {
    const { offline, unknownKeys, genuine } = await forgery();
    expect((await introspect(genuine[0]!())).body.active).toBe(true);
    const wrong: string[] = [];
    for (const [name, code, make] of [...offline, ...unknownKeys]) {
      const token = make();
      // For whom a token is does not matter to who asks about it: that is the one thing that may differ here.
      if (typeof token !== 'string' || token === '' || code === 'wrong_audience') continue;
      const asked = await introspect(token);
      const gone = await revoke(token, 'service');
      const isRefused = asked.status === 200 && asked.body.active === false && gone.status === 200;
      // What a form may not hold, for its size or for a null character, is refused as a form.
      const isNoForm = asked.status === 413 || (asked.status === 400 && token.includes('\0'));
      if (!isRefused && !isNoForm) wrong.push(`${name}: ${asked.status} ${asked.text.slice(0, 80)}`);
    }
    expect(offline.length).toBeGreaterThan(50);
    expect(wrong).toEqual([]);
    expect(await statusBit(genuine[0]!())).toBe(0);
  });
});
