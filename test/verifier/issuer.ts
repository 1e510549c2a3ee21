// An issuer reduced to what a verifier sees: two documents over HTTP on loopback, and tokens. It can be told to
// misbehave, and it can write tokens that no library would. Keys come from the shared fixture.

import { createPrivateKey, sign as rsaSign } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JWK } from 'jose';
import { testKeys } from '../support/keys.ts';

export interface SigningKey {
  kid: string;
  publicJwk: JWK;
  sign(signed: string): Buffer;
}

const signingKeys: readonly SigningKey[] = testKeys.map(({ publicJwk, pkcs8 }) => {
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  const kid = String(publicJwk.kid);
  return { kid, publicJwk: { ...publicJwk }, sign: (signed) => rsaSign('sha256', Buffer.from(signed), key) };
});

export const [firstKey, secondKey, thirdKey] = signingKeys as unknown as [SigningKey, SigningKey, SigningKey];

export const audience = 'https://orders.example.com';
const start = Date.UTC(2026, 0, 1);

export const base64url = (text: string | Uint8Array) => Buffer.from(text).toString('base64url');

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface TestIssuer {
  issuer: string;
  jwksUri: string;
  /** Path, and what came with it, of every request. */
  requests: { path: string; userAgent: string | undefined; ifNoneMatch: string | undefined }[];
  /** Epoch milliseconds; the verifiers of a test read it too. */
  clock: { now: number };
  keys: JWK[];
  cacheControl: string | undefined;
  /** Answers instead of the usual document, by path. */
  instead: Map<string, Answer>;
  claims(changes?: Record<string, unknown>): Record<string, unknown>;
  /** A token by the first key, with anything changed; undefined removes. */
  token(changes?: { header?: Record<string, unknown>; claims?: Record<string, unknown>; key?: SigningKey }): string;
  /** A token from texts exactly as given, signed by the first key. */
  tokenOf(header: string, claims: string): string;
  close(): Promise<void>;
}

export const discoveryPath = '/.well-known/openid-configuration';

export async function startTestIssuer(): Promise<TestIssuer> {
  const requests: TestIssuer['requests'] = [];
  const instead = new Map<string, Answer>();
  const clock = { now: start };

  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const { 'user-agent': userAgent, 'if-none-match': ifNoneMatch } = request.headers;
    requests.push({ path, userAgent, ifNoneMatch });
    const answer = instead.get(path);
    if (answer !== undefined) return answer(request, response);
    if (path === discoveryPath) return json(response, { issuer: test.issuer, jwks_uri: test.jwksUri });
    if (path !== '/jwks') return json(response, {}, 404);
    const etag = `"${test.keys.map((key) => key.kid).join('+')}"`;
    if (test.cacheControl !== undefined) response.setHeader('cache-control', test.cacheControl);
    response.setHeader('etag', etag);
    if (ifNoneMatch === etag) return response.writeHead(304).end();
    return json(response, { keys: test.keys });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const test: TestIssuer = {
    issuer,
    jwksUri: `${issuer}/jwks`,
    requests,
    clock,
    keys: [firstKey.publicJwk],
    cacheControl: undefined,
    instead,
    claims(changes = {}) {
      const now = Math.floor(clock.now / 1000);
      return {
        iss: issuer,
        aud: audience,
        sub: 'person-1',
        client_id: 'spa',
        jti: 'token-1',
        iat: now,
        exp: now + 1800,
        scope: 'orders:read orders:write',
        roles: ['clerk'],
        email: 'ada@example.com',
        auth_time: now - 60,
        sid: 'session-1',
        ...changes,
      };
    },
    token({ header = {}, claims = {}, key = firstKey } = {}) {
      const fullHeader = { alg: 'RS256', typ: 'at+jwt', kid: key.kid, ...header };
      return signed(JSON.stringify(fullHeader), JSON.stringify(test.claims(claims)), key);
    },
    tokenOf: (header, claims) => signed(header, claims, firstKey),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return test;
}

function signed(header: string, claims: string, key: SigningKey): string {
  const text = `${base64url(header)}.${base64url(claims)}`;
  return `${text}.${base64url(key.sign(text))}`;
}

export function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
