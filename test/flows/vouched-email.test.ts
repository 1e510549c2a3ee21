import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTerminal } from '../cli/terminal.ts';
import { ordersApi, person, secret, startSignet, type TestServer } from '../support/signet.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
  authorize,
  decode,
  redemption,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

let server: TestServer;
let passwordHash: string;
beforeAll(async () => {
  server = await startSignet();
  passwordHash = await bcrypt.hash(person.password, 4);
});
afterAll(() => server.close());

/** What each of the four places says of somebody, and ID token and access token again after a refresh. */
async function saidOf(email: string, scope = 'openid profile email orders:read offline_access') {
  const request = authorizationRequest(server.issuer, { client_id: 'web', scope });
  const code = (await authorize(new UserAgent(server.issuer), request.url, { email, password: person.password })).get(
    'code',
  )!;
  const { body: tokens } = await tokenRequest(server.issuer, redemption(request, code), asClient('web'));
  const { body: later } = await tokenRequest(
    server.issuer,
    { grant_type: 'refresh_token', refresh_token: tokens.refresh_token },
    asClient('web'),
  );
  const introspected = await fetch(`${server.issuer}/token/introspection`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`web:${secret}`)}` },
    body: new URLSearchParams({ token: tokens.access_token }),
  });
  const places = {
    idToken: decode(tokens.id_token).payload,
    accessToken: decode(tokens.access_token).payload,
    userinfo: await (await askUserinfo(server.issuer, tokens.access_token)).json(),
    introspection: await introspected.json(),
    idTokenAtRefresh: decode(later.id_token).payload,
    accessTokenAtRefresh: decode(later.access_token).payload,
  } as Record<string, Record<string, unknown>>;
  expect(places.introspection!.active).toBe(true);
  return places;
}

const emailsOf = (places: Record<string, Record<string, unknown>>) =>
  Object.values(places).map(({ email, email_verified: verified }) => [email, verified]);

describe('an address is told where somebody vouches for it, in all places alike', () => {
  test('one that an administrator typed', async () => {
    await server.store.accounts.create({ email: 'typed@example.com', roles: [], passwordHash }, 'test');
    const places = await saidOf('typed@example.com');
    for (const [place, { email, email_verified: verified }] of Object.entries(places)) {
      expect(email, place).toBe('typed@example.com');
      expect([true, undefined], place).toContain(verified);
    }
    expect(places.idToken!.email_verified).toBe(true);
    expect(places.userinfo!.email_verified).toBe(true);
  });

  test('not one of which the administrator said otherwise; nor one that is vouched for no longer', async () => {
    const { id } = await server.store.accounts.create(
      { email: 'unverified@example.com', emailVerified: false, roles: [], passwordHash },
      'test',
    );
    expect(emailsOf(await saidOf('unverified@example.com'))).toEqual(Array(6).fill([undefined, undefined]));
    await server.store.accounts.setEmailVerified(id, true, 'test');
    expect((await saidOf('unverified@example.com')).idToken).toMatchObject({ email_verified: true });
    await server.store.accounts.setEmailVerified(id, false, 'test');
    expect(emailsOf(await saidOf('unverified@example.com'))).toEqual(Array(6).fill([undefined, undefined]));
  });
});

test('every claim of a person that discovery announces can come, of an account made at the command line', async () => {
  const terminal = await openTerminal({ directory: server.directory, env: { SIGNET_ISSUER: server.issuer } });
  await terminal.signet(
    [
      'accounts',
      'add',
      'all@example.com',
      '--given-name',
      'Ada',
      '--family-name',
      'Lovelace',
      '--role',
      'buyer',
      '--password-stdin',
    ],
    { input: person.password },
  );
  const discovery = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as {
    claims_supported: string[];
    scopes_supported: string[];
  };
  const { idToken, userinfo } = await saidOf('all@example.com', discovery.scopes_supported.join(' '));
  const said = { ...userinfo, ...idToken };
  // Of the sign-in, not of the person: they come where they were asked for (OpenID Connect Core §2, §3.1.2.1).
  const announced = discovery.claims_supported.filter((claim) => claim !== 'acr' && claim !== 'auth_time');
  expect(announced.filter((claim) => said[claim] === undefined)).toEqual([]);
  expect(said).toMatchObject({
    name: 'Ada Lovelace',
    given_name: 'Ada',
    family_name: 'Lovelace',
    email: 'all@example.com',
  });
});

test('an address is limited as RFC 5321 and RFC 6531 limit it, when it is made and when somebody signs in by it', async () => {
  const longest = `${'l'.repeat(64)}@${'d'.repeat(63)}.${'d'.repeat(63)}.${'d'.repeat(56)}.org`;
  for (const email of [
    "o'brien@example.com",
    'ada+orders@example.com',
    'a.b-c_d@sub.example.co.uk',
    '"ada lovelace"@example.com',
    longest,
    'j\u00fcrgen@b\u00fccher.example',
    '\u7528\u6237@\u4f8b\u5b50.\u5e7f\u544a',
    'ada@[192.0.2.1]',
    'ada@localhost',
    '!#$%&*/=?^`{|}~@example.com',
  ]) {
    await server.store.accounts.create({ email, roles: [], passwordHash }, 'test');
    const request = authorizationRequest(server.issuer, { scope: 'openid email', resource: ordersApi });
    const answer = await authorize(new UserAgent(server.issuer), request.url, { email, password: person.password });
    const { body } = await tokenRequest(server.issuer, redemption(request, answer.get('code')!));
    expect(decode(body.id_token).payload.email).toBe(email);
  }
  for (const email of [
    '',
    '@',
    'ada',
    'ada@',
    '@example.com',
    'ada@@example.com',
    'a b@example.com',
    'ada@exa mple.com',
    '.ada@example.com',
    'ada.@example.com',
    'a..b@example.com',
    'ada@-example.com',
    'ada@example..com',
    '"a"b"@example.com',
    'ada@example.com>',
    '<ada@example.com>',
    'Ada <ada@example.com>',
    'ada@example.com,bob@example.com',
    `${'l'.repeat(65)}@example.com`,
    `l${longest}`,
    `${'\u00fc'.repeat(33)}@example.com`,
    'ada\n@example.com',
    'ada\u0000@example.com',
    'ada@\u202eexample.com',
  ]) {
    await expect(server.store.accounts.create({ email, roles: [], passwordHash }, 'test'), email).rejects.toMatchObject(
      { code: 'email_invalid', status: 400 },
    );
  }
});
