// The tokens that the contenders are shown. Those that must be refused are signed by the real active key where that can
// be, so that one thing alone is wrong with each.

import { createHmac, createPublicKey, randomUUID } from 'node:crypto';
import { ordersApi, stockApi } from '../../test/support/signet.ts';
import { asClient, decode, signIn, tokenRequest } from '../../test/support/user-agent.ts';
import type { LiveServer } from './server.ts';

export interface Tokens {
  /** Must be let in. */
  good: Record<string, string>;
  /** Must be refused. */
  bad: Record<string, string>;
}

export const wrongType = 'an ID token with the API’s audience';

async function serviceToken({ issuer }: LiveServer): Promise<string> {
  const { body } = await tokenRequest(issuer, { grant_type: 'client_credentials' }, asClient('service'));
  return body.access_token;
}

export async function personsTokens({ issuer }: LiveServer, resource = ordersApi) {
  const scope = resource === ordersApi ? 'openid orders:read' : 'openid stock:read';
  const { tokens } = await signIn(issuer, { parameters: { resource, scope } });
  return tokens;
}

export async function makeTokens(server: LiveServer): Promise<Tokens> {
  const person = await personsTokens(server);
  return {
    good: {
      'a person’s token': person.access_token,
      'a service’s token': await serviceToken(server),
    },
    bad: {
      'no token': '',
      'a token for another API': (await personsTokens(server, stockApi)).access_token,
      ...(await forgeries(server, person)),
    },
  };
}

/** Makes tokens like `jwt` with some claims and header parameters changed, signed by the active key or otherwise. */
export async function forger({ store }: LiveServer, jwt: string) {
  const { header, payload } = decode(jwt);
  const { active } = await store.keyring.signingKeys();
  return async (claims: object, changes: object = {}, sign = active.sign): Promise<string> => {
    const text = [
      { ...header, ...changes },
      { ...payload, jti: randomUUID(), ...claims },
    ]
      .map(encode)
      .join('.');
    return `${text}.${(await sign(Buffer.from(text))).toString('base64url')}`;
  };
}

/** What must be refused in the place of the access token among `tokens`. */
export async function forgeries(server: LiveServer, tokens: Record<string, any>): Promise<Record<string, string>> {
  const signed = await forger(server, tokens.access_token);
  const { active, published } = await server.store.keyring.signingKeys();
  const pem = createPublicKey({ key: { ...published[0]! }, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
  const nowSeconds = Math.floor(Date.now() / 1000);
  const hour = 3600;
  return {
    expired: await signed({ iat: nowSeconds - 2 * hour, exp: nowSeconds - hour }),
    'not valid yet': await signed({ nbf: nowSeconds + hour }),
    'of another issuer': await signed({ iss: 'https://id.example.net' }),
    'an ID token': tokens.id_token,
    [wrongType]: await signed({}, { typ: 'JWT' }),
    'a refresh token': tokens.refresh_token,
    'alg none': await signed({}, { alg: 'none' }, async () => Buffer.alloc(0)),
    'HS256 with the public key': await signed({}, { alg: 'HS256' }, async (text) =>
      createHmac('sha256', pem).update(text).digest(),
    ),
    RS512: await signed({}, { alg: 'RS512' }),
    'another token’s signature': await signed({}, {}, () => active.sign(Buffer.from('another token'))),
    'an unknown key': await signed({}, { kid: randomUUID() }),
    'without the scope': await signed({ scope: 'openid' }),
  };
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
