// createTestIssuer: what a service sees of an issuer, in the memory of its own tests: discovery, keys and status list
// on a loopback port, and tokens. The service and its verifier run as they are, with another address for the issuer.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { optionsCheck, readCompact, writeCompact } from '@signet-idp/verifier/internal';
import { type Claims, type Forgery, forgeToken } from './forgeries.ts';
import { firstKey, newKey, type TestJwk, type TestKey } from './keys.ts';
import { createStatusList } from './status-list.ts';

export interface TestIssuerOptions {
  /** The service under test, as its verifier is told. Without it, every `sign` has to say `aud`. */
  audience?: string | readonly string[];
  /** Claims that every token has, unless `sign` says otherwise. */
  claims?: Claims;
  /** Seconds that a verifier may keep the status list. Default 1. */
  statusTtlSeconds?: number;
  /** The time in epoch milliseconds, the same that the verifier is given. Default `Date.now`. */
  now?: () => number;
}

export interface TestIssuer {
  /** What the verifier is to be told: http://127.0.0.1 and a port. */
  readonly issuer: string;
  /** The keys as they are published now, also at `<issuer>/jwks`. */
  readonly jwks: { keys: TestJwk[] };
  /**
   * An access token (RFC 9068) of half an hour, like the real ones: of `test-person`, asked for by `test-client`.
   * Claims go by their names on the wire; one that is undefined is left out.
   * @example issuer.sign({ sub: 'ada', scope: 'orders:read', roles: ['clerk'] })
   */
  sign(claims?: Claims): string;
  /** The same token, but wrong in one thing: the service must refuse it. `forgeries` lists them. */
  forge(forgery: Forgery, claims?: Claims): string;
  /** Signs with a new key from now on; the ones before stay published. Takes 100 to 500 ms. The new `kid`. */
  rotate(): Promise<string>;
  /**
   * Revokes a token that `sign` made, by its bit in the status list; or the key of this `kid`, which is no longer
   * published then. The key that signs can only be revoked after a rotation.
   */
  revoke(tokenOrKid: string): void;
  /** Stops listening. Tokens can still be signed: to see what the service does while its issuer is away. */
  close(): Promise<void>;
}

const lifeSeconds = 1800;
// Longer than a test's own claims make one.
const maxTokenBytes = 1 << 20;

const checkOptions = optionsCheck<TestIssuerOptions>('createTestIssuer', {
  audience: 'checked elsewhere',
  claims: 'object',
  statusTtlSeconds: 'number',
  now: 'function',
});

/**
 * Starts an issuer for tests on a free loopback port, in a few milliseconds. Its first key is published in this
 * package: never let anything but a test believe it.
 *
 * @example
 * const issuer = await createTestIssuer({ audience: 'https://orders.example.com' });
 * const service = startService({ issuer: issuer.issuer });   // with its real verifier
 * await fetch(service.url, { headers: { authorization: `Bearer ${issuer.sign({ scope: 'orders:read' })}` } });
 */
export async function createTestIssuer(options: TestIssuerOptions = {}): Promise<TestIssuer> {
  checkOptions(options);
  const { audience, claims: usual = {}, statusTtlSeconds = 1, now = Date.now } = options;
  if (!(statusTtlSeconds >= 1)) throw new TypeError('statusTtlSeconds must be 1 or more');
  const statuses = createStatusList();
  let active = firstKey();
  let published: TestKey[] = [active];

  const server = createServer(answer);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  // A test that forgets close() still ends.
  server.unref();
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const statusUri = `${issuer}/status-lists/1`;
  const nowSeconds = () => Math.floor(now() / 1000);
  const jwks = () => ({ keys: published.map(({ publicJwk }) => publicJwk) });

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const documents: Record<string, () => unknown> = {
      '/.well-known/openid-configuration': () => ({
        issuer,
        jwks_uri: `${issuer}/jwks`,
        status_list_aggregation_endpoint: `${issuer}/status-lists`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256'],
      }),
      '/jwks': jwks,
      '/status-lists': () => ({ status_lists: [statusUri] }),
    };
    const { pathname } = new URL(request.url ?? '/', issuer);
    response.setHeader('cache-control', `public, max-age=${statusTtlSeconds}`);
    if (pathname === '/status-lists/1') {
      response.setHeader('content-type', 'application/statuslist+jwt');
      response.end(statusList());
      return;
    }
    const document = documents[pathname]?.();
    response.writeHead(document ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document ?? { error: 'not_found' }));
  }

  function statusList(): string {
    const iat = nowSeconds();
    const header = { alg: 'RS256', typ: 'statuslist+jwt', kid: active.kid };
    const claims = {
      iss: issuer,
      sub: statusUri,
      iat,
      exp: iat + 300,
      ttl: statusTtlSeconds,
      status_list: { bits: 1, lst: statuses.encode() },
    };
    return writeCompact(header, claims, active.sign);
  }

  function draft(given: Claims) {
    const iat = nowSeconds();
    const jti = randomUUID();
    const claims: Claims = {
      iss: issuer,
      aud: audience,
      sub: 'test-person',
      client_id: 'test-client',
      iat,
      exp: iat + lifeSeconds,
      jti,
      status: { status_list: { idx: statuses.allocate(), uri: statusUri } },
      ...usual,
      ...given,
    };
    if (claims.aud === undefined && !('aud' in given)) {
      throw new TypeError('say whom the token is for: createTestIssuer({ audience }) or sign({ aud })');
    }
    return { header: { alg: 'RS256', typ: 'at+jwt', kid: active.kid }, claims, key: active };
  }

  function revokeToken(jwt: string): void {
    const { iss, status } = readCompact(jwt, maxTokenBytes).claims;
    const { idx, uri } = (status as { status_list?: { idx?: number; uri?: string } } | undefined)?.status_list ?? {};
    if (iss !== issuer || uri !== statusUri || idx === undefined) {
      throw new TypeError('this token has no place in the status list of this issuer');
    }
    statuses.revoke(idx);
  }

  function revokeKey(kid: string): void {
    if (kid === active.kid) throw new TypeError(`${kid} signs: call rotate() first, then revoke it`);
    if (!published.some((key) => key.kid === kid)) throw new TypeError(`there is no key ${kid}`);
    published = published.filter((key) => key.kid !== kid);
  }

  let made = 1;
  return {
    issuer,
    get jwks() {
      return jwks();
    },
    sign(claims = {}) {
      const { header, claims: all, key } = draft(claims);
      return writeCompact(header, all, key.sign);
    },
    forge: (forgery, claims = {}) => forgeToken(forgery, draft(claims)),
    async rotate() {
      made += 1;
      active = await newKey(made);
      published = [active, ...published];
      return active.kid;
    },
    revoke: (tokenOrKid) => (tokenOrKid.includes('.') ? revokeToken(tokenOrKid) : revokeKey(tokenOrKid)),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
