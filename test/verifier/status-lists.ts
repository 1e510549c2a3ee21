// Status lists of the test issuer: signed by its key, served at its address, and as wrong as a test wants them.

import { deflateSync } from 'node:zlib';
import { base64url, firstKey, type SigningKey, type TestIssuer } from './issuer.ts';

interface ListOptions {
  /** Entries that are set, to 1 or to the value given. */
  set?: readonly number[] | ReadonlyMap<number, number>;
  /** Bits of one entry. */
  bits?: number;
  /** How many entries. */
  size?: number;
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
  key?: SigningKey;
}

export const listPath = '/status-lists/1';

/** What a token says that has entry `idx` of the list at `path`. */
export const statusOf = (issuer: TestIssuer, idx: number, path = listPath) => ({
  status: { status_list: { idx, uri: issuer.issuer + path } },
});

export function listToken(issuer: TestIssuer, options: ListOptions = {}, path = listPath): string {
  const { set = [], bits = 1, size = 64, header = {}, claims = {}, key = firstKey } = options;
  const bytes = Buffer.alloc((size * bits) / 8);
  const values = set instanceof Map ? set : new Map((set as readonly number[]).map((idx) => [idx, 1]));
  for (const [idx, value] of values) bytes[Math.floor((idx * bits) / 8)]! |= value << ((idx * bits) % 8);
  const now = Math.floor(issuer.clock.now / 1000);
  const head = JSON.stringify({ alg: 'RS256', typ: 'statuslist+jwt', kid: key.kid, ...header });
  const body = JSON.stringify({
    sub: issuer.issuer + path,
    iat: now,
    exp: now + 3600,
    ttl: 15,
    status_list: { bits, lst: base64url(deflateSync(bytes)) },
    ...claims,
  });
  const text = `${base64url(head)}.${base64url(body)}`;
  return `${text}.${base64url(key.sign(text))}`;
}

/** Serves a list, with an ETag, in the place of any before; counts how often it was asked for and sent in full. */
export function serveList(issuer: TestIssuer, options: ListOptions | string = {}, path = listPath) {
  const served = { asked: 0, full: 0 };
  const jwt = typeof options === 'string' ? options : listToken(issuer, options, path);
  const etag = `"${jwt.slice(-20)}"`;
  issuer.instead.set(path, (request, response) => {
    served.asked++;
    response.setHeader('etag', etag);
    if (request.headers['if-none-match'] === etag) return void response.writeHead(304).end();
    served.full++;
    response.writeHead(200, { 'content-type': 'application/statuslist+jwt' }).end(jwt);
  });
  return served;
}

export function breakList(issuer: TestIssuer, status = 503, path = listPath) {
  const served = { asked: 0 };
  issuer.instead.set(path, (_request, response) => {
    served.asked++;
    response.writeHead(status).end('{}');
  });
  return served;
}
