import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keyMaterialIn, leaksIn, noteSecret, secretsIn, secretsSeen } from '../support/secrets.ts';
import { auditedAs, everythingIn } from '../support/stored.ts';
import { ordersApi, person, startSignet, type TestServer } from '../support/signet.ts';
import {
  asClient, askUserinfo, authorizationRequest, decode, redemption, signIn, tokenRequest, UserAgent, type TokenAnswer,
} from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => { server = await startSignet(); });
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
  await agent.submit(await agent.visit(`/session/end?id_token_hint=${tokens.id_token}`), { logout: 'yes' });
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
    const { rows: [key] } = await server.store.db.query('select * from signing_keys');
    expect(keyMaterialIn(JSON.stringify(key))).toEqual(['a private key', 'a sealed value']);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = JSON.stringify(privateKey.export({ format: 'jwk' }));
    for (const text of [jwk, JSON.stringify({ said: jwk }), JSON.stringify([JSON.stringify({ said: jwk })])]) {
      expect(keyMaterialIn(text)).toEqual(['a private member of a JWK']);
    }
    expect(keyMaterialIn(String(privateKey.export({ format: 'pem', type: 'pkcs8' })))).toEqual(['a private key']);
    expect(leaksIn(await (await fetch(`${server.issuer}/jwks`)).text())).toEqual([]);
  });
});
