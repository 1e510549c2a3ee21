// Failures on the wire: what an endpoint, a proxy before it or the network between does instead of answering well.

import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { AadstsDetails } from './aadsts.ts';
import { Aadsts } from './aadsts.ts';
import type { Endpoint, GraphEndpoint, Reply } from './exchange.ts';
import { json } from './exchange.ts';
import type { Facts, Rule } from './rules.ts';
import { createRules } from './rules.ts';

/** One endpoint, all of the login host ('login-host'), all of Graph ('graph'), or everything. */
export type FaultTarget = Endpoint | 'login-host' | 'graph' | 'any';

/** Default: for every matching request until withdrawn. What is not said stays as the endpoint would do it. */
export interface Fault extends Rule {
  status?: number;
  /** An object is sent as JSON, a string as HTML, '' as nothing, null as the JSON text "null". */
  body?: unknown;
  /** Added to the answer, whoever gives it. */
  headers?: Record<string, string>;
  /** Seconds, or a moment (sent as an HTTP date). */
  retryAfter?: number | Date;
  /** Entra's JSON error of this number, in place of the answer. */
  aadsts?: number | ({ number: number } & AadstsDetails);
  delayMs?: number;
  hang?: 'before-headers' | 'after-headers';
  /** Sends the body in pieces of `bytes` (default 1), one every `everyMs`. */
  drip?: { everyMs: number; bytes?: number };
  /**
   * Resets the connection (RST): before the request was read, after it was read, or after it was also processed, in
   * which case the code is spent and nobody was told. 'before-read' knows no user and no grant; `when` may not either.
   */
  reset?: 'before-read' | 'after-read' | 'after-handling';
  /** A redirect to this URL, 307 unless `status` says otherwise. */
  redirectTo?: string;
  /** A gzip body of this many MB of zeros. */
  gzipBombMegabytes?: number;
}

export interface Faults {
  add(target: FaultTarget, fault: Fault): () => void;
  take(endpoint: Endpoint, facts: Facts, stage: 'before-read' | 'after-read'): Fault | undefined;
  clear(): void;
}

const graphEndpoints: readonly Endpoint[] = [
  'me',
  'memberOf',
  'transitiveMemberOf',
  'getMemberGroups',
  'getMemberObjects',
  'userinfo',
] satisfies GraphEndpoint[];

export function createFaults(): Faults {
  const rules = createRules<Fault & { target: FaultTarget }>(Infinity);
  return {
    add(target, fault) {
      if (fault.reset === 'before-read' && (fault.when?.user ?? fault.when?.grant) !== undefined) {
        throw new Error("a reset before the request is read cannot depend on its user or grant: use 'after-read'");
      }
      return rules.add({ ...fault, target });
    },
    take: (endpoint, facts, stage) =>
      rules.take(facts, ({ target, reset }) => {
        const due = reset === 'before-read' ? 'before-read' : 'after-read';
        return due === stage && covers(target, endpoint);
      }),
    clear: () => rules.clear(),
  };
}

function covers(target: FaultTarget, endpoint: Endpoint): boolean {
  if (target === 'any' || target === endpoint) return true;
  const isGraph = graphEndpoints.includes(endpoint);
  if (target === 'graph') return isGraph;
  return target === 'login-host' && !isGraph && endpoint !== 'attacker' && endpoint !== 'unknown';
}

/** The answer that the fault gives itself, or undefined where the endpoint is to answer. */
export function faultReply(fault: Fault): Reply | undefined {
  const { status, redirectTo, gzipBombMegabytes } = fault;
  if (redirectTo !== undefined) return { status: status ?? 307, headers: { Location: redirectTo }, body: '' };
  if (gzipBombMegabytes !== undefined) {
    const headers = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' };
    return { status: status ?? 200, headers, body: gzipSync(Buffer.alloc(gzipBombMegabytes * 1_000_000)) };
  }
  if (status === undefined && !('body' in fault)) return undefined;
  const { body = '' } = fault;
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    return { status: status ?? 200, headers: { 'Content-Type': 'text/html; charset=utf-8' }, body };
  }
  return json(body, status);
}

export function faultError({ aadsts }: Fault): Aadsts | undefined {
  if (aadsts === undefined) return undefined;
  return typeof aadsts === 'number' ? new Aadsts(aadsts) : new Aadsts(aadsts.number, aadsts);
}

/** Headers that the fault adds, Retry-After in either form included. */
export function faultHeaders({ headers = {}, retryAfter }: Fault): Record<string, string> {
  if (retryAfter === undefined) return headers;
  return { ...headers, 'Retry-After': typeof retryAfter === 'number' ? String(retryAfter) : retryAfter.toUTCString() };
}

const graphError = (code: string, message: string) => ({
  error: { code, message, innerError: { date: new Date().toISOString(), 'request-id': randomUUID() } },
});

/** Faults of Graph that have a body or header of their own: `sim.fault('graph', graphFaults.throttled(10))`. */
export const graphFaults = {
  /** Continuous Access Evaluation asks for a new sign-in with these claims. */
  claimsChallenge: (claims: string): Fault => ({
    status: 401,
    body: graphError('InvalidAuthenticationToken', 'Continuous access evaluation resulted in challenge.'),
    headers: {
      'WWW-Authenticate':
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", ' +
        `error="insufficient_claims", claims="${Buffer.from(claims).toString('base64')}"`,
    },
  }),
  forbidden: (): Fault => ({
    status: 403,
    body: graphError('Authorization_RequestDenied', 'Insufficient privileges to complete the operation.'),
  }),
  throttled: (retryAfter: number | Date): Fault => ({
    status: 429,
    body: graphError('TooManyRequests', 'Too many requests.'),
    retryAfter,
  }),
  resultSizeExceeded: (): Fault => ({
    status: 400,
    body: graphError('Directory_ResultSizeLimitExceeded', 'The size of the result set exceeds the maximum limit.'),
  }),
} as const;
