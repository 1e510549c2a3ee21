import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { datedBack } from '../../src/keys/dating.ts';
import { createVerifier } from '../../src/verifier/index.ts';
import {
  callback,
  declared,
  ordersApi,
  person,
  secret,
  startSignet,
  stockApi,
  type TestServer,
} from '../support/signet.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  redemption,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({
    values: {
      applications: [
        ...declared.applications,
        {
          clientId: 'two-apis',
          name: 'Clearing job',
          type: 'service',
          secret,
          access: { [ordersApi]: ['orders:read'], [stockApi]: ['stock:read'] },
        },
        {
          clientId: 'default-api',
          name: 'Warehouse',
          type: 'spa',
          redirectUris: [callback],
          firstParty: true,
          access: { [ordersApi]: ['orders:read'], [stockApi]: ['stock:read'] },
          defaultAudience: stockApi,
          accessTokenLife: '2m',
        },
      ],
    },
  });
});
afterAll(() => server.close());

const accessToken = (jwt: string) => decode(jwt).payload;
const scopesOf = (jwt: string) => String(accessToken(jwt).scope).split(' ').sort();

async function personsToken(parameters: Record<string, string>, clientId = 'spa'): Promise<string> {
  return (await signIn(server.issuer, { clientId, parameters })).tokens.access_token;
}

describe('whom an access token is for', () => {
  test('the API that the request names (RFC 8707), and the issuer, whose userinfo it opens', async () => {
    const token = await personsToken({ resource: ordersApi, scope: 'openid orders:read' });
    expect(accessToken(token)).toMatchObject({ aud: [ordersApi, server.issuer] });
    expect(scopesOf(token)).toEqual(['openid', 'orders:read']);
  });

  test('the API alone, where openid was not asked for', async () => {
    const token = await personsToken({ resource: ordersApi, scope: 'orders:read' });
    expect(accessToken(token).aud).toBe(ordersApi);
  });

  test('the issuer alone, where the application has several APIs and names none', async () => {
    const token = await personsToken({ scope: 'openid email orders:read' });
    expect(accessToken(token).aud).toBe(server.issuer);
    expect(scopesOf(token)).toEqual(['email', 'openid']);
  });

  test('the only API of an application, where the request names none', async () => {
    const token = await personsToken({ scope: 'openid orders:read' }, 'web');
    expect(accessToken(token).aud).toEqual([ordersApi, server.issuer]);
  });

  test('the default API of an application, where it declares one', async () => {
    const token = accessToken((await signInWithoutSecret('default-api', { scope: 'openid stock:read' })).access_token);
    expect(token.aud).toEqual([stockApi, server.issuer]);
  });

  test('never an API that the application may not call, or a scope of another one', async () => {
    const scope = 'openid orders:read orders:write stock:read';
    const granted = async (resource: string, clientId: string) =>
      scopesOf(await personsToken({ resource, scope }, clientId));
    expect(await granted(ordersApi, 'spa')).toEqual(['openid', 'orders:read', 'orders:write']);
    expect(await granted(stockApi, 'spa')).toEqual(['openid', 'stock:read']);
    expect(await granted(ordersApi, 'web')).toEqual(['openid', 'orders:read']);
    await expect(personsToken({ resource: stockApi, scope }, 'web')).rejects.toThrow('invalid_target');
  });

  test('at the token endpoint, never an API that the sign-in did not name', async () => {
    const { code, request } = await codeOnly({ resource: ordersApi });
    const widened = await tokenRequest(server.issuer, { ...redemption(request, code), resource: stockApi });
    expect(widened).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
  });
});

describe('how long an access token lives', () => {
  test('as long as the API says', async () => {
    const { exp, iat } = accessToken(await personsToken({ resource: stockApi, scope: 'stock:read' }));
    expect(exp - iat).toBe(300 + datedBack);
  });

  test('as long as the application says, where it says so', async () => {
    const tokens = await signInWithoutSecret('default-api', { resource: stockApi, scope: 'stock:read' });
    const { exp, iat } = accessToken(tokens.access_token);
    expect([exp - iat, tokens.expires_in]).toEqual([120 + datedBack, 120]);
  });
});

describe('what an access token says (RFC 9068 §2.2)', () => {
  const bit = { status_list: { idx: expect.any(Number), uri: expect.stringMatching(/\/status-lists\/\d+$/) } };

  test('of a person', async () => {
    const token = await personsToken({ resource: ordersApi, scope: 'orders:read' });
    const { jti, iat, exp, auth_time: authTime, sid, ...rest } = accessToken(token);
    expect(rest).toEqual({
      iss: server.issuer,
      aud: ordersApi,
      sub: server.accountId,
      client_id: 'spa',
      scope: 'orders:read',
      email: 'ada@example.com',
      roles: ['buyer'],
      status: bit,
    });
    expect([typeof jti, typeof sid, exp > iat, authTime <= iat]).toEqual(['string', 'string', true, true]);
  });

  test('of a service, which is nobody: no e-mail, no roles, no session', async () => {
    const { body } = await tokenRequest(server.issuer, { grant_type: 'client_credentials' }, asClient('service'));
    const { jti: _jti, iat: _iat, exp: _exp, ...rest } = accessToken(body.access_token);
    expect(rest).toEqual({
      iss: server.issuer,
      aud: ordersApi,
      sub: 'service',
      client_id: 'service',
      scope: 'orders:read',
      status: bit,
    });
  });
});

describe('a service asks for a token (RFC 6749 §4.4)', () => {
  const ask = (parameters: Record<string, string | string[]> = {}, client = asClient('service')) =>
    tokenRequest(server.issuer, { grant_type: 'client_credentials', ...parameters }, client);

  const refusedAs = (error: string) => ({ status: 400, body: { error } });

  test('and gets all its scopes by default, no refresh token and no ID token', async () => {
    const { status, body, headers } = await ask();
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type']);
    expect(body).toMatchObject({ scope: 'orders:read', token_type: 'Bearer', expires_in: 1800 });
    expect(headers.get('cache-control')).toBe('no-store');
  });

  test('also with its secret in the form (client_secret_post)', async () => {
    expect(await ask({ client_secret: secret }, { clientId: 'service' })).toMatchObject({ status: 200 });
  });

  test.each(['orders:write', 'orders:read orders:write', 'openid', 'email', 'offline_access', 'stock:read', 'unknown'])(
    'and is refused a scope it may not have: %s',
    async (scope) => {
      expect(await ask({ scope })).toMatchObject(refusedAs('invalid_scope'));
      expect(await ask({ scope, resource: ordersApi })).toMatchObject(refusedAs('invalid_scope'));
    },
  );

  test.each([stockApi, 'https://unknown.example.com', `${ordersApi}/`, 'orders'])(
    'and is refused an API it may not call: %s',
    async (resource) => {
      expect(await ask({ resource })).toMatchObject(refusedAs('invalid_target'));
    },
  );

  test('and is refused the issuer, which has no scopes for services', async () => {
    expect(await ask({ resource: server.issuer })).toMatchObject(refusedAs('invalid_target'));
  });

  test('for one API at a time: a service of several has to say for which', async () => {
    const client = asClient('two-apis');
    const vague = [{ resource: [ordersApi, stockApi] }, {}, { scope: 'openid' }, { scope: 'orders:read' }];
    for (const parameters of vague as Array<Record<string, string>>) {
      expect(await ask(parameters, client), JSON.stringify(parameters)).toMatchObject(refusedAs('invalid_target'));
    }
    const { body } = await ask({ resource: stockApi }, client);
    expect(accessToken(body.access_token)).toMatchObject({ aud: stockApi, scope: 'stock:read' });
  });

  test('and is refused with a wrong secret, none, an empty one, or as nobody', async () => {
    for (const client of [
      { clientId: 'service', secret: 'x'.repeat(40) },
      { clientId: 'service', secret: `${secret} ` },
      { clientId: 'nobody', secret },
      { clientId: 'service' },
    ]) {
      const { status, body, headers } = await ask({}, client);
      expect([status, body.error], JSON.stringify(client)).toEqual([401, 'invalid_client']);
      if (client.secret !== undefined) expect(headers.get('www-authenticate')).toMatch(/^Basic realm=/);
    }
    expect(await ask({}, { clientId: 'service', secret: '' })).toMatchObject({ status: 400 });
  });

  test('and the digest of its secret, which a stolen backup shows, is no secret', async () => {
    const { config } = server;
    const digest = config.applications.find(({ clientId }) => clientId === 'service')!.secretHash!;
    expect(await ask({}, { clientId: 'service', secret: digest })).toMatchObject({ status: 401 });
  });

  test('but an application of people gets none without a person', async () => {
    for (const clientId of ['spa', 'web', 'device']) {
      expect(await ask({}, asClient(clientId)), clientId).toMatchObject(refusedAs('invalid_request'));
    }
  });

  test('and a service signs nobody in', async () => {
    const code = { grant_type: 'authorization_code', code: 'x', redirect_uri: 'x' };
    expect(await ask(code)).toMatchObject(refusedAs('invalid_request'));
    expect(await ask({ grant_type: 'refresh_token', refresh_token: 'x' })).toMatchObject(refusedAs('invalid_request'));
  });
});

describe('a token of one kind or one audience is good for nothing else', () => {
  const userinfo = (token: string) => askUserinfo(server.issuer, token);

  test('userinfo takes an access token that is addressed to the issuer, and no other token', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { scope: 'openid email' } });
    const forApi = await personsToken({ scope: 'orders:read', resource: ordersApi });
    const { body: service } = await tokenRequest(
      server.issuer,
      { grant_type: 'client_credentials' },
      asClient('service'),
    );
    expect((await userinfo(tokens.access_token)).status).toBe(200);
    for (const [kind, token] of Object.entries({
      'an ID token': tokens.id_token,
      'a refresh token': tokens.refresh_token,
      'a token for an API': forApi,
      'a token of a service': service.access_token,
      'a token with another signature': `${tokens.access_token.slice(0, -4)}AAAA`,
      nonsense: 'nonsense',
    })) {
      const answer = await userinfo(token);
      expect(answer.status, kind).toBe(401);
      expect(answer.headers.get('www-authenticate'), kind).toContain('error="invalid_token"');
    }
  });

  test('userinfo says what the scopes allow, and no more', async () => {
    const claims = async (scope: string) => {
      const answer = await userinfo(await personsToken({ scope }));
      return Object.keys((await answer.json()) as object).sort();
    };
    expect(await claims('openid')).toEqual(['sub']);
    expect(await claims('openid email')).toEqual(['email', 'email_verified', 'sub']);
    expect(await claims('openid profile roles')).toEqual(['name', 'preferred_username', 'roles', 'sub']);
  });

  test('userinfo does not read a token from the address, where logs would keep it', async () => {
    const token = await personsToken({ scope: 'openid' });
    expect((await fetch(`${server.issuer}/me?access_token=${token}`)).status).not.toBe(200);
  });

  test('an API verifies its tokens offline, and takes no other: of another API, an ID or a refresh token', async () => {
    const verifier = createVerifier({ issuer: server.issuer, audience: ordersApi });
    const parameters = { scope: 'openid orders:read', resource: ordersApi };
    const { tokens } = await signIn(server.issuer, { parameters });
    expect(await verifier.verify(tokens.access_token, { scope: 'orders:read' })).toMatchObject({
      sub: server.accountId,
      clientId: 'spa',
    });
    await expect(verifier.verify(tokens.access_token, { scope: 'orders:write' })).rejects.toMatchObject({
      code: 'insufficient_scope',
    });
    await expect(verifier.verify(tokens.id_token)).rejects.toMatchObject({ code: 'wrong_type' });
    await expect(verifier.verify(tokens.refresh_token)).rejects.toMatchObject({ code: 'wrong_type' });
    const stock = await personsToken({ scope: 'stock:read', resource: stockApi });
    await expect(verifier.verify(stock)).rejects.toMatchObject({ code: 'wrong_audience' });
    const identity = await personsToken({ scope: 'openid' });
    await expect(verifier.verify(identity)).rejects.toMatchObject({ code: 'wrong_audience' });
    verifier.close();
  });
});

async function codeOnly(parameters: Record<string, string>) {
  const request = authorizationRequest(server.issuer, parameters);
  return { request, code: (await authorize(new UserAgent(server.issuer), request.url)).get('code')! };
}

async function signInWithoutSecret(clientId: string, parameters: Record<string, string>) {
  const { code, request } = await codeOnly({ client_id: clientId, ...parameters });
  return (await tokenRequest(server.issuer, redemption(request, code), { clientId })).body;
}

describe("what an API learns of a person through somebody else's application", () => {
  const ofThirdParty = async (scope: string) => {
    const agent = new UserAgent(server.issuer);
    const redirectUri = 'https://reports.example.net/cb';
    const request = authorizationRequest(server.issuer, {
      client_id: 'third-party',
      redirect_uri: redirectUri,
      scope,
      prompt: 'consent',
    });
    let page = await agent.visit(request.url);
    page = await agent.submit(page, person);
    const { url } = await agent.submit(page, { decision: 'allow' });
    const { body } = await tokenRequest(
      server.issuer,
      {
        grant_type: 'authorization_code',
        code: new URL(url).searchParams.get('code')!,
        code_verifier: request.verifier,
        redirect_uri: redirectUri,
      },
      { clientId: 'third-party', secret },
    );
    return decode(body.access_token).payload;
  };

  test('is what that person allowed: no e-mail address and no roles unless asked for', async () => {
    const bare = await ofThirdParty('openid orders:read');
    expect(bare).not.toHaveProperty('email');
    expect(bare).not.toHaveProperty('roles');
    const full = await ofThirdParty('openid email roles orders:read');
    expect(full).toMatchObject({ email: person.email, roles: ['buyer'] });
  });
});
