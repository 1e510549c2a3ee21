import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testKeys } from '../support/keys.ts';
import { checkAnswer, keyMaterialIn, leaksIn, noteSecret, secretsIn, secretsSeen } from '../support/secrets.ts';
import { ordersApi, person, startSignet, type TestServer } from '../support/signet.ts';
import { auditedAs, everythingIn } from '../support/stored.ts';
import {
  asClient,
  askUserinfo,
  authorizationRequest,
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

/** One of everything that carries a credential, the wrong way round as well. */
async function tour(): Promise<TokenAnswer[]> {
  const answers: TokenAnswer[] = [];
  const ask = async (parameters: Record<string, string>, client = asClient('spa')) => {
    const answer = await tokenRequest(server.issuer, parameters, client);
    answers.push(answer);
    return answer;
  };
  const { agent, tokens, code, request } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
  const { body } = await ask({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
  await ask({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
  await ask({ grant_type: 'refresh_token', refresh_token: `${tokens.refresh_token}x` });
  await ask({ grant_type: 'refresh_token', refresh_token: tokens.access_token });
  await ask(redemption(request, code));
  const asService = { grant_type: 'client_credentials' };
  await ask(asService, asClient('service'));
  await ask(asService, { clientId: 'service', secret: 'a wrong secret of forty characters or so' });
  await ask({ ...asService, client_secret: 'another wrong secret of forty characters' }, { clientId: 'service' });

  const wrong = new UserAgent(server.issuer);
  const page = await wrong.visit(authorizationRequest(server.issuer, { client_id: 'web' }).url);
  await wrong.submit(page, { email: person.email, password: 'a wrong but long password' });
  const misplaced = 'a password typed where the e-mail goes';
  noteSecret('password', misplaced);
  await wrong.submit(page, { email: misplaced, password: 'x'.repeat(20) });
  await askUserinfo(server.issuer, body.access_token);
  await askUserinfo(server.issuer, `${body.access_token}x`);
  await agent.visit(`/session/end?id_token_hint=${tokens.id_token}x`);
  await agent.visit(`/session/end?id_token_hint=${tokens.id_token}`);
  return answers;
}

describe('tokens, codes, cookies, passwords and secrets', () => {
  test('stand neither in the log, nor in the audit trail, nor anywhere in the database', async () => {
    const answers = await tour();
    await auditedAs(server.store.db, answers);
    expect(secretsSeen()).toBeGreaterThan(20);
    expect(server.logged().length).toBeGreaterThan(0);
    expect(leaksIn(server.logged())).toEqual([]);
    expect(secretsIn(await everythingIn(server.store.db))).toEqual([]);
  });

  test('would be found: the search is not blind', async () => {
    const { tokens, agent } = await signIn(server.issuer);
    expect(secretsIn(`… ${tokens.access_token} …`)).toEqual(['access token']);
    expect(secretsIn(decode(tokens.refresh_token).payload.jti)).toEqual(['refresh token handle']);
    expect(secretsIn([...agent.cookies.values()].join(' '))).toEqual(['cookie']);
    expect(secretsIn(person.password)).toEqual(['password']);
    const {
      rows: [key],
    } = await server.store.db.query('select * from signing_keys');
    expect(keyMaterialIn(JSON.stringify(key))).toEqual(['a private key', 'a sealed value']);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = JSON.stringify(privateKey.export({ format: 'jwk' }));
    for (const text of [jwk, JSON.stringify({ said: jwk }), JSON.stringify([JSON.stringify({ said: jwk })])]) {
      expect(keyMaterialIn(text)).toEqual(['a private member of a JWK']);
    }
    expect(keyMaterialIn(String(privateKey.export({ format: 'pem', type: 'pkcs8' })))).toEqual(['a private key']);
    const {
      rows: [{ kid, sealed_private: sealed }],
    } = await server.store.db.query<any>('select * from signing_keys');
    const pkcs8 = server.store.seal.open(sealed, `signing key ${kid}`);
    const { d } = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' }).export({ format: 'jwk' });
    const bytes = Buffer.from(d!, 'base64url');
    for (const text of [d!, bytes.toString('base64'), `<${bytes.toString('hex')}>`]) {
      expect(secretsIn(text)).toEqual(['a private half of a signing key']);
    }
    expect(keyMaterialIn(pkcs8.toString('base64'))).toEqual(['a private key']);
    expect(keyMaterialIn(pkcs8.toString('hex'))).toEqual(['a private key']);
  });

  test.each([
    ['an elliptic key', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
    ['an RSA key', createPrivateKey({ key: testKeys[0]!.pkcs8, type: 'pkcs8', format: 'der' })],
  ])('would be found where somebody inspects %s', (_what, key) => {
    const { kty, ...jwk } = key.export({ format: 'jwk' });
    const printed = [
      inspect(jwk),
      inspect(jwk, { colors: true, compact: false }),
      inspect({ jwk }, { breakLength: 20 }),
      `d='${jwk.d}'`,
      `qi=${jwk.qi ?? jwk.d}`,
      `{ d: "${jwk.d}" }`,
      `d:\n  ${jwk.d}`,
      `{\nd: '${jwk.d}'}`,
    ];
    for (const text of [...printed, ...printed.map((each) => JSON.stringify({ message: each }))]) {
      expect(keyMaterialIn(text), text).toEqual(['a private member of a JWK']);
    }
  });

  test('what only looks like it is no alarm', async () => {
    const { publicJwk } = testKeys[0]!;
    for (const text of [
      inspect(publicJwk),
      JSON.stringify(publicJwk),
      '{ d: 5, p: null }',
      "q: 'orders of last week'",
      '/search?q=abc&p=2',
      'p: a paragraph',
      `kid: '${publicJwk.kid}'`,
      `id=${publicJwk.kid}`,
      '<a href="/d/p?q=1">',
    ]) {
      expect(leaksIn(text), text).toEqual([]);
    }
    const headers = new Headers({ 'Set-Cookie': `a=v1.abc.${'x'.repeat(50)}` });
    expect(() => checkAnswer('/', { headers }, '<p>')).not.toThrow();
    expect(() => checkAnswer('/', { headers }, `v1.abc.${'x'.repeat(50)}`)).toThrow(
      'the answer of / shows a sealed value',
    );
    expect(leaksIn(await (await fetch(`${server.issuer}/jwks`)).text())).toEqual([]);
  });
});
