import { createHmac, createPrivateKey, sign } from 'node:crypto';
import type { Dispatcher } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chainOf } from '../../src/grants/refresh-handle.ts';
import { engines } from '../support/engines.ts';
import { testKeys } from '../support/keys.ts';
import { atTheSameMoment } from '../support/same-moment.ts';
import { ordersApi, person, secret, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import { ageRotation, auditedAs, everythingIn, expire, handleOf, rotationsOf, storedId } from '../support/stored.ts';
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

const refreshAt =
  (url: string) =>
  (refreshToken: string, parameters: Record<string, string> = {}, clientId = 'spa', dispatcher?: Dispatcher) =>
    tokenRequest(
      url,
      { grant_type: 'refresh_token', refresh_token: refreshToken, ...parameters },
      { ...asClient(clientId), dispatcher },
    );

/** So many requests with one token at the same moment. */
const refreshManyAt = (url: string, refreshToken: string, times: number) =>
  atTheSameMoment(Array(times).fill(url), (at, dispatcher) => refreshAt(at)(refreshToken, {}, 'spa', dispatcher));

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } };
const granted = { status: 200 };

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe.each(engines)('a refresh token, on $name', (engine) => {
  let server: TestServer;
  let refresh: ReturnType<typeof refreshAt>;
  beforeAll(async () => {
    server = await startSignet({ database: await engine.freshUrl() });
    refresh = refreshAt(server.issuer);
  });
  afterAll(() => server.close());

  const freshTokens = async (parameters: Record<string, string> = {}, clientId = 'spa') =>
    (await signIn(server.issuer, { clientId, parameters: { resource: ordersApi, ...parameters } })).tokens;

  describe('used once', () => {
    test('is exchanged for another one, and so on, and every answer is the same person', async () => {
      let { refresh_token: current } = await freshTokens();
      for (let turn = 0; turn < 3; turn += 1) {
        const { status, body, headers } = await refresh(current);
        expect(status).toBe(200);
        expect(headers.get('cache-control')).toBe('no-store');
        expect(decode(body.access_token).payload).toMatchObject({
          sub: server.accountId,
          aud: [ordersApi, server.issuer],
        });
        expect(body.refresh_token).not.toBe(current);
        current = body.refresh_token;
      }
    });
  });

  describe('used once more and once more', () => {
    // Before the fifty below: a connection that they opened and did not use would speak for what it asks first.
    test('more often than a lost answer needs, ends the grant', async () => {
      const { refresh_token: token } = await freshTokens();
      const { body: first } = await refresh(token);
      for (let repetition = 0; repetition < 3; repetition += 1) expect((await refresh(token)).body).toEqual(first);
      expect(await refresh(token)).toMatchObject(invalidGrant);
      expect(await refresh(first.refresh_token)).toMatchObject(invalidGrant);
    });
  });

  describe('used by fifty requests at the same moment', () => {
    test('has one successor, and everybody gets the very same answer', async () => {
      const { refresh_token: token } = await freshTokens();
      const answers = await refreshManyAt(server.issuer, token, 50);
      expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
      expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
      expect(await rotationsOf(server.store.db, token)).toBe(1);
      expect(await refresh(answers[0]!.body.refresh_token)).toMatchObject(granted);
    });

    test('is audited as issued once, and the answers given again as such', async () => {
      const { refresh_token: token } = await freshTokens();
      const answers = await refreshManyAt(server.issuer, token, 10);
      answers.push(await refresh(token));
      expect(await auditedAs(server.store.db, answers)).toEqual([
        'token.issued',
        ...Array(10).fill('token.issued_again'),
      ]);
    });
  });

  describe('used again by the same application', () => {
    test('within the grace, gets the same answer: the first one was lost on the way', async () => {
      const { refresh_token: token } = await freshTokens();
      const first = await refresh(token);
      expect((await refresh(token)).body).toEqual(first.body);
      expect(await refresh(first.body.refresh_token)).toMatchObject(granted);
    });

    test('after the grace, ends the grant and everything it gave (RFC 9700 §4.14.2)', async () => {
      const { refresh_token: token } = await freshTokens();
      const { body: successor } = await refresh(token);
      await ageRotation(server.store.db, token, 31);
      expect(await refresh(token)).toMatchObject(invalidGrant);
      expect(await refresh(successor.refresh_token)).toMatchObject(invalidGrant);
      expect(await userinfo(server, successor.access_token)).toBe(401);
    });

    test('after its successor was used, ends the grant, within the grace too', async () => {
      const { refresh_token: token } = await freshTokens();
      const { body: second } = await refresh(token);
      const { body: third } = await refresh(second.refresh_token);
      expect(await refresh(token)).toMatchObject(invalidGrant);
      expect(await refresh(third.refresh_token)).toMatchObject(invalidGrant);
    });

    test('and asking for something else, ends the grant: that is no repetition', async () => {
      const others: Array<Record<string, string>> = [{ scope: 'openid' }, { resource: ordersApi }];
      for (const other of others) {
        const { refresh_token: token } = await freshTokens();
        const { body: successor } = await refresh(token);
        expect(await refresh(token, other)).toMatchObject(invalidGrant);
        expect(await refresh(successor.refresh_token)).toMatchObject(invalidGrant);
      }
    });
  });

  describe('in the hands of somebody else', () => {
    test('is refused to another application, and its owner does not notice', async () => {
      const { refresh_token: token } = await freshTokens();
      expect(await refresh(token, {}, 'web')).toMatchObject(invalidGrant);
      expect(await refresh(token, {}, 'device')).toMatchObject(invalidGrant);
      const { body: successor } = await refresh(token);
      expect(await refresh(token, {}, 'device')).toMatchObject(invalidGrant);
      expect(await refresh(successor.refresh_token)).toMatchObject(granted);
    });

    test('of a confidential application, is refused without its secret', async () => {
      const { refresh_token: token } = await freshTokens({}, 'web');
      const without = { grant_type: 'refresh_token', refresh_token: token };
      for (const client of [{ clientId: 'web' }, { clientId: 'web', secret: 'y'.repeat(40) }]) {
        expect(await tokenRequest(server.issuer, without, client)).toMatchObject({ status: 401 });
      }
      expect(await refresh(token, {}, 'web')).toMatchObject(granted);
    });
  });

  describe('asking for more than was granted', () => {
    test('is refused more scope, and the token stays good', async () => {
      const { refresh_token: token } = await freshTokens();
      expect(await refresh(token, { scope: 'openid orders:read orders:write' })).toMatchObject({
        status: 400,
        body: { error: 'invalid_scope' },
      });
      expect(await refresh(token)).toMatchObject(granted);
    });

    test('is refused another API, known or not, and the token stays good', async () => {
      const { refresh_token: token } = await freshTokens();
      for (const resource of [stockApi, 'https://unknown.example.com', server.issuer, `${ordersApi}/`]) {
        expect(await refresh(token, { resource }), resource).toMatchObject({
          status: 400,
          body: { error: 'invalid_target' },
        });
      }
      expect(await refresh(token)).toMatchObject(granted);
    });

    test('gets less when it asks for less, and may ask for all of it again', async () => {
      const { refresh_token: token } = await freshTokens({ scope: 'openid email orders:read orders:write' });
      const { body: narrow } = await refresh(token, { scope: 'orders:read', resource: ordersApi });
      expect(decode(narrow.access_token).payload).toMatchObject({ scope: 'orders:read', aud: ordersApi });
      const { body: whole } = await refresh(narrow.refresh_token, { resource: ordersApi });
      expect(decode(whole.access_token).payload.scope).toBe('orders:read orders:write');
    });

    test('gets a token for each API it was granted, one at a time', async () => {
      const scope = 'openid orders:read stock:read';
      const request = authorizationRequest(server.issuer, { resource: ordersApi, scope });
      const both = `${request.url}&resource=${encodeURIComponent(stockApi)}`;
      const answer = await authorize(new UserAgent(server.issuer), both);
      const redeeming = redemption(request, answer.get('code')!);
      const { body: orders } = await tokenRequest(server.issuer, { ...redeeming, resource: ordersApi });
      const { body: stock } = await refresh(orders.refresh_token, { resource: stockApi });
      expect(decode(orders.access_token).payload).toMatchObject({ aud: ordersApi, scope: 'orders:read' });
      expect(decode(stock.access_token).payload).toMatchObject({ aud: stockApi, scope: 'stock:read' });
    });
  });

  describe('of a person who may no longer', () => {
    test('is refused once the account is disabled', async () => {
      const accounts = server.store.accounts;
      const other = { email: `${engine.name}@example.com`, password: person.password };
      const { passwordHash } = (await accounts.findByEmail(person.email))!;
      const { id } = await accounts.create({ email: other.email, roles: [], passwordHash }, 'test');
      const request = authorizationRequest(server.issuer);
      const code = (await authorize(new UserAgent(server.issuer), request.url, other)).get('code')!;
      const { body: tokens } = await tokenRequest(server.issuer, redemption(request, code));
      await accounts.setDisabled(id, true, 'test');
      expect(await refresh(tokens.refresh_token)).toMatchObject(invalidGrant);
      expect(await userinfo(server, tokens.access_token)).toBe(401);
      // What ended does not come back with the person: they sign in again.
      await accounts.setDisabled(id, false, 'test');
      expect(await refresh(tokens.refresh_token)).toMatchObject(invalidGrant);
    });

    test('is refused after signing out, except where a web application was given offline_access', async () => {
      const agent = new UserAgent(server.issuer);
      const spa = await signIn(server.issuer, { agent });
      const offline = { scope: 'openid offline_access', prompt: 'consent' };
      const web = await signIn(server.issuer, { agent, clientId: 'web', parameters: offline });
      await agent.submit(await agent.visit('/session/end'), { logout: 'yes' });
      expect(await refresh(spa.tokens.refresh_token)).toMatchObject(invalidGrant);
      expect(await refresh(web.tokens.refresh_token, {}, 'web')).toMatchObject(granted);
    });
  });

  describe('in the database', () => {
    test('stands nowhere in clear, and neither does a code, a session, an access token or a secret', async () => {
      const { agent, code, tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
      const { body: successor } = await refresh(tokens.refresh_token);
      const pending = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
      expect(pending.body).toContain('name="password"');
      await server.store.audit.list();

      const everything = await everythingIn(server.store.db);
      expect(everything).toContain(storedId(successor.refresh_token));
      for (const token of [tokens.refresh_token, successor.refresh_token]) {
        expect(everything).not.toContain(token);
        expect(everything).not.toContain(decode(token).payload.jti);
      }
      const credentials = [tokens.access_token, tokens.id_token, successor.access_token, code, person.password, secret];
      for (const credential of credentials) {
        expect(everything).not.toContain(credential);
      }
      for (const [name, value] of agent.cookies) expect(everything, name).not.toContain(value);
    });

    test('is one row for all refreshes of a sign-in, which grows no more', async () => {
      let { refresh_token: token } = await freshTokens();
      const size = async () => {
        const { rows } = await server.store.db.query('select * from refresh_tokens where id = $1', [
          chainOf(handleOf(token!)),
        ]);
        return [rows.length, JSON.stringify(rows).length] as const;
      };
      token = (await refresh(token)).body.refresh_token;
      const [, once] = await size();
      for (let turn = 0; turn < 5; turn += 1) token = (await refresh(token)).body.refresh_token;
      const [rows, often] = await size();
      expect(rows).toBe(1);
      expect(often - once).toBeLessThan(100);
    });

    test('is looked for without harm whatever its handle holds', async () => {
      const exp = Math.floor(Date.now() / 1000) + 3600;
      const header = encode({ alg: 'RS256', typ: 'rt+jwt', kid: 'a key that this server does not know' });
      for (const jti of ['\0~tqtest~x', `${'a'.repeat(21)}\0~tqtest~${'b'.repeat(43)}`, '\ud800~1~', '~~', '~']) {
        const payload = encode({ iss: server.issuer, aud: server.issuer, exp, jti });
        expect(await refresh(`${header}.${payload}.AAAA`), JSON.stringify(jti)).toMatchObject(invalidGrant);
      }
      expect(server.logged()).not.toContain('request.failed');
    });

    test('ends with its grant when somebody names its chain and invents the rest', async () => {
      const { refresh_token: token } = await freshTokens();
      const [chain, end] = handleOf(token!).split('~');
      expect(await refresh(`${chain}~${end}~${'a'.repeat(43)}`)).toMatchObject(invalidGrant);
      expect(await refresh(token!)).toMatchObject(invalidGrant);
    });

    test('is refused when it has expired there', async () => {
      const { refresh_token: token } = await freshTokens();
      await expire(server.store.db, 'RefreshToken', token);
      expect(await refresh(token)).toMatchObject(invalidGrant);
    });
  });
});

describe('a refresh token that is not one of ours', () => {
  let server: TestServer;
  let good: Record<string, string>;
  beforeAll(async () => {
    server = await startSignet();
    good = (await signIn(server.issuer, { parameters: { resource: ordersApi } })).tokens;
  });
  afterAll(() => server.close());

  const foreign = createPrivateKey({ key: testKeys[0]!.pkcs8, format: 'der', type: 'pkcs8' });
  const forged = (header: object, payload: object) => {
    const input = `${encode(header)}.${encode(payload)}`;
    return `${input}.${sign('sha256', Buffer.from(input), foreign).toString('base64url')}`;
  };

  test('is refused, however it is forged', async () => {
    const refresh = refreshAt(server.issuer);
    const { header, payload } = decode(good.refresh_token!);
    const [h, p, s] = good.refresh_token!.split('.') as [string, string, string];
    const {
      keys: [key],
    } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: Array<{ n: string }> };
    const jwk = testKeys[0]!.publicJwk;
    const hmacInput = `${encode({ ...header, alg: 'HS256' })}.${p}`;
    const tricks: Record<string, string> = {
      'signed by another key': forged(header, payload),
      'alg none': `${encode({ ...header, alg: 'none' })}.${p}.`,
      'alg None': `${encode({ ...header, alg: 'None' })}.${p}.${s}`,
      'HMAC under the public key': `${hmacInput}.${createHmac('sha256', key!.n).update(hmacInput).digest('base64url')}`,
      'no signature': `${h}.${p}.`,
      'two parts': `${h}.${p}`,
      'an invented handle under a key of its own': forged(
        { ...header, kid: jwk.kid, jwk },
        { ...payload, jti: 'a'.repeat(43) },
      ),
      'another handle': `${h}.${encode({ ...payload, jti: 'a'.repeat(43) })}.${s}`,
      'a later end': `${h}.${encode({ ...payload, exp: payload.exp + 86_400 })}.${s}`,
      'an ID token': good.id_token!,
      'an access token': good.access_token!,
      'a fragment of a token': s,
      'nothing that anybody issued': 'a'.repeat(43),
      'a name of the database': "' or 1=1 --",
      'far too long': `${h}.${'A'.repeat(50_000)}.${s}`,
    };
    for (const [name, token] of Object.entries(tricks)) expect(await refresh(token), name).toMatchObject(invalidGrant);
    expect(await refresh(good.refresh_token!)).toMatchObject(granted);
  });

  test('is refused where our own key signed something else', async () => {
    const { header, payload } = decode(good.refresh_token!);
    const { active } = await server.store.keyring.signingKeys();
    const signed = async (changed: { header?: object; payload?: object }) => {
      const input = `${encode({ ...header, ...changed.header })}.${encode({ ...payload, ...changed.payload })}`;
      return `${input}.${(await active.sign(Buffer.from(input))).toString('base64url')}`;
    };
    const past = Math.floor(Date.now() / 1000) - 1;
    const others: Record<string, string> = {
      'no type': await signed({ header: { typ: undefined } }),
      'the type of an access token': await signed({ header: { typ: 'at+jwt' } }),
      'the type in other letters': await signed({ header: { typ: 'RT+JWT' } }),
      'another issuer': await signed({ payload: { iss: 'https://attacker.example' } }),
      'another audience': await signed({ payload: { aud: ordersApi } }),
      'an expired one': await signed({ payload: { exp: past } }),
      'one without end': await signed({ payload: { exp: undefined } }),
      'one without a handle': await signed({ payload: { jti: undefined } }),
      'another handle': await signed({ payload: { jti: 'a'.repeat(43) } }),
    };
    for (const [name, token] of Object.entries(others)) {
      expect(await refreshAt(server.issuer)(token), name).toMatchObject(invalidGrant);
    }
    expect(await refreshAt(server.issuer)(await signed({}))).toMatchObject(granted);
  });
});

describe('a refresh without grace (tokens.refreshGrace: 0)', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startSignet({ values: { tokens: { refreshGrace: 0 } } });
  });
  afterAll(() => server.close());

  test('is given to one of fifty at the same moment', async () => {
    const { tokens } = await signIn(server.issuer);
    const answers = await refreshManyAt(server.issuer, tokens.refresh_token, 50);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(49);
  });

  test('ends the grant at the first repetition', async () => {
    const { tokens } = await signIn(server.issuer);
    const refresh = refreshAt(server.issuer);
    const { body: successor } = await refresh(tokens.refresh_token);
    await ageRotation(server.store.db, tokens.refresh_token, 1);
    expect(await refresh(tokens.refresh_token)).toMatchObject(invalidGrant);
    expect(await refresh(successor.refresh_token)).toMatchObject(invalidGrant);
  });
});

describe('opaque refresh tokens (tokens.refreshTokenFormat: opaque)', () => {
  test('rotate like signed ones, and both kinds stay good when the setting changes', async () => {
    const database = await engines[0]!.freshUrl();
    const first = await startSignet({ database });
    const { tokens: signed } = await signIn(first.issuer);
    const second = await startSignet({
      database,
      directory: first.directory,
      values: { issuer: first.issuer, tokens: { refreshTokenFormat: 'opaque' } },
    });
    const { body: opaque } = await refreshAt(second.url)(signed.refresh_token);
    expect(opaque.refresh_token).toMatch(/^[\w-]{22}~[0-9a-z]+~[\w-]{43}$/);
    const { body: again } = await refreshAt(first.url)(opaque.refresh_token);
    expect(decode(again.refresh_token).header.typ).toBe('rt+jwt');
    await second.close();
    await first.close();
  });
});

async function userinfo({ issuer }: TestServer, accessToken: string): Promise<number> {
  return (await askUserinfo(issuer, accessToken)).status;
}
