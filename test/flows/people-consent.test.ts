import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { returned } from '../support/pages.ts';
import { declared, ordersApi, person, secret, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import {
  type Answer,
  authorizationRequest,
  authorize,
  decode,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

const reports = 'https://reports.example.net/cb';
const notes = { scheme: 'net.example.notes:/cb', https: 'https://notes.example.net/cb' };

let server: TestServer;
beforeAll(async () => {
  const applications = [
    ...declared.applications.filter(({ clientId }) => clientId !== 'third-party'),
    {
      clientId: 'third-party',
      name: 'Reports & <b>more</b>',
      type: 'web',
      secret,
      redirectUris: [reports],
      access: { [ordersApi]: ['orders:read', 'orders:write'], [stockApi]: ['stock:read'] },
    },
    {
      clientId: 'other',
      name: 'Other',
      type: 'web',
      secret,
      redirectUris: [reports],
      access: { [ordersApi]: ['orders:read'] },
    },
    {
      clientId: 'own-notes',
      name: 'Own notes',
      type: 'native',
      firstParty: true,
      redirectUris: [notes.https],
      access: { [ordersApi]: ['orders:read'] },
    },
    {
      clientId: 'notes',
      name: 'Notes',
      type: 'native',
      redirectUris: [notes.scheme, notes.https],
      access: { [ordersApi]: ['orders:read'] },
    },
  ];
  server = await startSignet({ values: { applications } });
});
afterAll(() => server.close());

const asks = (page: Answer) => page.body.includes('name="decision"');
const allow = (agent: UserAgent, page: Answer) => agent.submit(page, { decision: 'allow' });

function request(parameters: Record<string, string | undefined> = {}) {
  return authorizationRequest(server.issuer, {
    client_id: 'third-party',
    redirect_uri: reports,
    resource: ordersApi,
    scope: 'openid email orders:read',
    ...parameters,
  });
}

/** The page after the sign-in, where there is one; signed in already, the first one. */
async function begin(agent: UserAgent, parameters: Record<string, string | undefined> = {}): Promise<Answer> {
  const page = await agent.visit(request(parameters).url);
  return page.body.includes('name="password"') ? agent.submit(page, person) : page;
}

/** A browser of a person who has never been asked for anything. */
async function stranger() {
  await server.store.db.query('delete from consents');
  return new UserAgent(server.issuer);
}

async function tokensFor(agent: UserAgent, parameters: Record<string, string | undefined> = {}) {
  const { url, verifier } = request(parameters);
  let answer = await agent.visit(url);
  if (answer.body.includes('name="password"')) answer = await agent.submit(answer, person);
  if (asks(answer)) answer = await allow(agent, answer);
  const { code } = returned(answer);
  const { body } = await tokenRequest(
    server.issuer,
    {
      grant_type: 'authorization_code',
      code: code!,
      redirect_uri: reports,
      code_verifier: verifier,
    },
    { clientId: 'third-party', secret },
  );
  return body;
}

describe('an application of somebody else asks for access', () => {
  test('the page names the application, the person, the place, the API and each scope in words', async () => {
    const page = await begin(await stranger(), { scope: 'openid email profile orders:read' });
    expect(page.status).toBe(200);
    for (const words of [
      'Reports &amp; &lt;b&gt;more&lt;/b&gt;',
      person.email,
      'https://reports.example.net',
      'Orders',
      'See your orders',
      'orders:read',
      'Your e-mail address',
      'Your name',
    ])
      expect(page.body).toContain(words);
    expect(page.body).not.toContain('Place orders');
    expect(page.body).not.toContain('while you are not using it');
  });

  test('allowed, it gets exactly what was on the page', async () => {
    const tokens = await tokensFor(await stranger());
    expect(tokens.scope.split(' ').sort()).toEqual(['email', 'openid', 'orders:read']);
    const { payload } = decode(tokens.access_token);
    expect([payload.aud, payload.scope.split(' ').sort()]).toEqual([
      [ordersApi, server.issuer],
      ['email', 'openid', 'orders:read'],
    ]);
  });

  test('denied, it is told access_denied, with its state and the issuer, and nothing is kept', async () => {
    const agent = await stranger();
    const { url, state } = request();
    const page = await agent.submit(await agent.visit(url), person);
    const answer = await agent.submit(page, { decision: 'deny' });
    expect(answer.url.startsWith(reports)).toBe(true);
    expect(returned(answer)).toMatchObject({ error: 'access_denied', state, iss: server.issuer });
    expect(asks(await begin(agent))).toBe(true);
  });

  test('without an answer nothing is decided: the question stays', async () => {
    const agent = await stranger();
    const page = await begin(agent);
    for (const decision of ['', 'maybe', 'ALLOW']) {
      const answer = await agent.submit(page, { decision });
      expect([answer.status, asks(answer)]).toEqual([400, true]);
    }
    expect((await agent.submit(page, {})).status).toBe(400);
    expect(returned(await allow(agent, page)).code).toBeDefined();
  });

  test('prompt=none cannot ask: consent_required', async () => {
    const agent = await stranger();
    await authorize(agent, authorizationRequest(server.issuer).url);
    expect(returned(await begin(agent, { prompt: 'none' })).error).toBe('consent_required');
  });

  test('a browser that goes straight on instead of answering is asked again', async () => {
    const agent = await stranger();
    const page = await begin(agent);
    const answer = await agent.visit(`/auth/${new URL(page.url).pathname.split('/')[2]}`);
    expect(asks(answer)).toBe(true);
  });

  test('a token that named no API opens userinfo, although only the person was asked about', async () => {
    const tokens = await tokensFor(await stranger(), { scope: 'openid email', resource: ordersApi });
    const headers = { Authorization: `Bearer ${tokens.access_token}` };
    const response = await fetch(`${server.issuer}/me`, { headers });
    expect(await response.json()).toMatchObject({ email: person.email });
  });
});

describe('an API that is named with no scope of it', () => {
  const audiences = (tokens: Record<string, any>) => [decode(tokens.access_token).payload.aud].flat();

  test('an API that the page did not name is in no token', async () => {
    const agent = await stranger();
    const page = await begin(agent, { scope: 'openid email' });
    expect(page.body).not.toContain('Orders');
    const tokens = await tokensFor(agent, { scope: 'openid email' });
    expect(audiences(tokens)).toEqual([server.issuer]);
    const refresh = (parameters: Record<string, string>) =>
      tokenRequest(
        server.issuer,
        { grant_type: 'refresh_token', refresh_token: tokens.refresh_token, ...parameters },
        { clientId: 'third-party', secret },
      );
    expect((await refresh({ resource: ordersApi })).body.error).toBe('invalid_target');
    expect(audiences((await refresh({})).body)).toEqual([server.issuer]);
  });

  test('yes to one API is no yes to another', async () => {
    const agent = await stranger();
    expect(audiences(await tokensFor(agent))).toEqual([ordersApi, server.issuer]);
    expect(audiences(await tokensFor(agent, { resource: stockApi, scope: 'openid email' }))).toEqual([server.issuer]);
    expect(audiences(await tokensFor(agent, { resource: stockApi, scope: 'openid orders:read' }))).toEqual([
      server.issuer,
    ]);
    const given = (await server.store.grants.list(server.accountId)).map((grant) => grant.audiences);
    expect(given).toContainEqual([ordersApi]);
    expect(given.flat()).not.toContain(stockApi);
    const page = await begin(agent, { resource: stockApi, scope: 'openid email stock:read' });
    expect([asks(page), page.body.includes('See the stock')]).toEqual([true, true]);
    expect(returned(await agent.submit(page, { decision: 'deny' })).error).toBe('access_denied');
    expect((await server.store.grants.list(server.accountId)).flatMap((given) => given.audiences)).not.toContain(
      stockApi,
    );
    expect(audiences(await tokensFor(agent, { resource: stockApi, scope: 'openid email stock:read' }))).toEqual([
      stockApi,
      server.issuer,
    ]);
  });
});

describe('consent is remembered', () => {
  test('within a session, and over sign-out and other browsers', async () => {
    const agent = await stranger();
    expect(returned(await allow(agent, await begin(agent))).code).toBeDefined();
    expect(returned(await begin(agent)).code).toBeDefined();
    expect(returned(await begin(new UserAgent(server.issuer))).code).toBeDefined();
  });

  test('and the tokens of a remembered consent are like those of the first', async () => {
    const first = await tokensFor(await stranger());
    const later = await tokensFor(new UserAgent(server.issuer));
    expect(later.scope).toBe(first.scope);
    expect(decode(later.access_token).payload.scope).toBe(decode(first.access_token).payload.scope);
  });

  test('for what was allowed and no more: a new scope, a new API and new facts are asked for, each alone', async () => {
    const agent = await stranger();
    await allow(agent, await begin(agent));
    const wider = await begin(agent, { scope: 'openid email orders:read orders:write' });
    expect(wider.body).toContain('Place orders');
    expect(wider.body).not.toContain('See your orders');
    expect(wider.body).not.toContain('Your e-mail address');
    await allow(agent, wider);
    const elsewhere = await begin(new UserAgent(server.issuer), {
      resource: stockApi,
      scope: 'openid email stock:read profile',
    });
    expect(elsewhere.body).toContain('See the stock');
    expect(elsewhere.body).toContain('Your name');
    expect(elsewhere.body).not.toContain('Your e-mail address');
  });

  test('one yes after another adds up in the tokens', async () => {
    const agent = await stranger();
    await tokensFor(agent, { scope: 'openid orders:read' });
    const tokens = await tokensFor(agent, { scope: 'openid email orders:read orders:write' });
    expect(tokens.scope.split(' ').sort()).toEqual(['email', 'openid', 'orders:read', 'orders:write']);
    const narrow = await tokensFor(agent, { scope: 'openid orders:read' });
    expect(narrow.scope.split(' ').sort()).toEqual(['openid', 'orders:read']);
  });

  test('for this application and this person alone', async () => {
    const agent = await stranger();
    await allow(agent, await begin(agent));
    expect(asks(await begin(agent, { client_id: 'other' }))).toBe(true);
    const { rows } = await server.store.db.query('select distinct account_id, client_id from consents');
    expect(rows).toEqual([{ account_id: server.accountId, client_id: 'third-party' }]);
  });

  test('but prompt=consent asks anyway, about everything, and a no then is a no', async () => {
    const agent = await stranger();
    await allow(agent, await begin(agent));
    const page = await begin(agent, { prompt: 'consent', scope: 'openid email offline_access orders:read' });
    for (const words of ['See your orders', 'Your e-mail address', 'while you are not using it']) {
      expect(page.body).toContain(words);
    }
    expect(returned(await agent.submit(page, { decision: 'deny' })).error).toBe('access_denied');
  });

  test('and a no then takes back the yes from before: what the application has ends, it has to ask again', async () => {
    const agent = await stranger();
    const tokens = await tokensFor(agent, { scope: 'openid email orders:read' });
    const page = await begin(agent, { prompt: 'consent', scope: 'openid email orders:read' });
    await agent.submit(page, { decision: 'deny' });
    const { sub, jti } = decode(tokens.access_token).payload;
    const grants = await server.store.grants.list(sub);
    expect(grants.map(({ grantId }) => grantId)).not.toContain(String(jti).split('.')[0]);
    expect(asks(await begin(agent, { scope: 'openid email orders:read' }))).toBe(true);
    expect(asks(await begin(await stranger(), { scope: 'openid email orders:read' }))).toBe(true);
  });

  test('a no to something new leaves what was allowed before', async () => {
    const agent = await stranger();
    await allow(agent, await begin(agent, { scope: 'openid orders:read' }));
    const page = await begin(agent, { scope: 'openid email orders:read' });
    expect(asks(page)).toBe(true);
    await agent.submit(page, { decision: 'deny' });
    expect(returned(await begin(agent, { scope: 'openid orders:read' })).code).toBeDefined();
  });

  test('access goes on while the person is away only after they were asked for just that', async () => {
    const agent = await stranger();
    const tokens = await tokensFor(agent, { prompt: 'consent', scope: 'openid offline_access orders:read' });
    expect(tokens.scope).toContain('offline_access');
    const later = await tokensFor(agent, { scope: 'openid offline_access orders:read' });
    expect(later.scope).not.toContain('offline_access');
  });
});

describe('an application installed on a device', () => {
  const native = { client_id: 'notes', redirect_uri: notes.scheme };

  test('is asked about each time: anything on the device may claim its scheme (RFC 8252 §8.6)', async () => {
    const agent = await stranger();
    const answer = await allow(agent, await begin(agent, native));
    expect(answer.url.startsWith(notes.scheme)).toBe(true);
    expect(asks(await begin(agent, native))).toBe(true);
    expect(asks(await begin(new UserAgent(server.issuer), native))).toBe(true);
  });

  test('is asked about each time also where it is first-party, and then gets what was on the page', async () => {
    const agent = await stranger();
    const own = { client_id: 'device', redirect_uri: 'com.example.desktop:/callback', scope: 'openid orders:read' };
    for (const redirect_uri of [own.redirect_uri, 'http://127.0.0.1:49152/callback']) {
      for (let time = 0; time < 2; time += 1) {
        const page = await begin(agent, { ...own, redirect_uri });
        expect(page.body).toContain('See your orders');
        expect(returned(await allow(agent, page)).code).toBeDefined();
      }
      expect(returned(await begin(agent, { ...own, redirect_uri, prompt: 'none' })).error).toBe('consent_required');
    }
    expect((await begin(agent, { ...own, scope: 'openid' })).body).toContain('In Orders, it may');
    expect((await server.store.db.query('select scope from consents')).rows).toEqual([]);
  });

  test('is known by an https address that it owns, and then asked about once', async () => {
    const agent = await stranger();
    const known = { ...native, redirect_uri: notes.https };
    await allow(agent, await begin(agent, known));
    expect(returned(await begin(new UserAgent(server.issuer), known)).code).toBeDefined();
    expect(asks(await begin(new UserAgent(server.issuer), native))).toBe(true);
  });
});

test('a first-party application that is where it says is never asked about, on a device neither', async () => {
  const agent = await stranger();
  const { url } = authorizationRequest(server.issuer, { resource: ordersApi });
  expect((await authorize(agent, url)).get('code')).toBeTruthy();
  const device = await agent.visit(
    authorizationRequest(server.issuer, {
      client_id: 'own-notes',
      redirect_uri: notes.https,
      scope: 'openid orders:read',
    }).url,
  );
  expect(returned(device).code).toBeDefined();
  expect((await server.store.db.query('select scope from consents')).rows).toEqual([]);
});

describe('consent cannot be forged', () => {
  test('by a form on another site', async () => {
    const agent = await stranger();
    const page = await begin(agent);
    const strangers: Array<Record<string, string>> = [
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': '', Origin: 'https://evil.example' },
    ];
    for (const headers of strangers) {
      const answer = await agent.request(page.url, { form: { decision: 'allow' }, headers });
      expect(answer.status).toBe(403);
    }
    expect((await server.store.db.query('select scope from consents')).rows).toEqual([]);
    expect(asks(await begin(agent))).toBe(true);
  });

  test('by a link, nor by whoever knows the address of the question', async () => {
    const agent = await stranger();
    const page = await begin(agent);
    expect(asks(await agent.visit(`${page.url}?decision=allow`))).toBe(true);
    expect((await new UserAgent(server.issuer).request(page.url, { form: { decision: 'allow' } })).status).toBe(400);
    expect((await server.store.db.query('select scope from consents')).rows).toEqual([]);
  });

  test('by a password: the question is not answered by signing in once more', async () => {
    const agent = await stranger();
    const page = await begin(agent);
    const answer = await agent.submit(page, person);
    expect([answer.status, asks(answer)]).toEqual([400, true]);
  });

  test('nor can it be shown in a frame', async () => {
    const { headers } = await begin(await stranger());
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  });
});
