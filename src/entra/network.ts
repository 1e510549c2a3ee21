// Every request to Microsoft goes through here. What the usual clients leave open is closed: only https and only the
// hosts of the configured cloud; no redirect is followed (a 307 would carry the client secret along); one deadline for
// headers and body together; at most 1 MiB; and whatever is no JSON object, or comes with a status that says "not now",
// is an error and never an answer.

import { Agent, type Dispatcher, ProxyAgent, request as send } from 'undici';
import type { Log } from '../log.ts';

interface UpstreamRequest {
  method: 'GET' | 'POST';
  url: string;
  headers?: Record<string, string>;
  body?: string;
  /** Ends it before its own deadline. */
  signal?: AbortSignal;
}

/** A JSON object with a 2xx or a 4xx status other than 429. */
export interface UpstreamAnswer {
  status: number;
  document: Readonly<Record<string, unknown>>;
  /** What Microsoft's support asks for. */
  requestId?: string;
  header(name: string): string | undefined;
}

/**
 * - `unreachable`: no connection; the request was never written
 * - `lost`: the connection ended, or the time ran out, when the request may have been read
 * - `throttled`: 429
 * - `failing`: 5xx
 * - `not_allowed`, `redirected`, `too_large`, `encoded`, `not_json`: where it led, or what came back, is not their API
 */
export type UpstreamProblem =
  | 'unreachable'
  | 'lost'
  | 'throttled'
  | 'failing'
  | 'not_allowed'
  | 'redirected'
  | 'too_large'
  | 'encoded'
  | 'not_json';

/** Microsoft gave no usable answer: nothing is known of the person. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly problem: UpstreamProblem;
  readonly host: string;
  readonly status: number | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(problem: UpstreamProblem, host: string, facts: UpstreamFacts = {}) {
    const { status, requestId } = facts;
    const said = [problem, status && `status ${status}`, requestId && `request ${requestId}`];
    super(`${host}: ${said.filter(Boolean).join(', ')}`, 'cause' in facts ? { cause: facts.cause } : undefined);
    this.problem = problem;
    this.host = host;
    this.status = status;
    this.retryAfterSeconds = facts.retryAfterSeconds;
  }
}

interface UpstreamFacts {
  status?: number | undefined;
  requestId?: string | undefined;
  retryAfterSeconds?: number | undefined;
  cause?: unknown;
}

export interface Network {
  /** @throws {UpstreamError} */
  request(request: UpstreamRequest): Promise<UpstreamAnswer>;
  /** Seconds that the clock here is ahead of Microsoft's, as last seen. Negative: behind. */
  clockAheadSeconds(): number | undefined;
  close(): Promise<void>;
}

interface NetworkOptions {
  /** The only hosts that are ever asked. */
  hosts: readonly string[];
  /** URL of an HTTP proxy. */
  proxy?: string | undefined;
  /** Instead of connections of our own. It stays the caller's: close() leaves it open. */
  dispatcher?: Dispatcher | undefined;
  /** For headers and body together. */
  timeoutMs: number;
  log: Log;
  now?: () => number;
}

const maxBytes = 1_048_576;
const clockWarnSeconds = 60;

export function createNetwork(options: NetworkOptions): Network {
  const { hosts, proxy, timeoutMs, log, now = Date.now } = options;
  const dispatcher = options.dispatcher ?? (proxy ? new ProxyAgent(proxy) : new Agent());
  const own = options.dispatcher ? undefined : dispatcher;
  let clockAhead: number | undefined;

  async function attempt(request: UpstreamRequest, url: URL): Promise<UpstreamAnswer> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = request.signal ? AbortSignal.any([deadline, request.signal]) : deadline;
    const askedAt = now();
    try {
      const answer = await send(url, {
        dispatcher,
        signal,
        method: request.method,
        headers: { accept: 'application/json', 'accept-encoding': 'identity', ...request.headers },
        body: request.body ?? null,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      noteClock(answer.headers.date, askedAt);
      return await read(answer, url.host);
    } catch (cause) {
      if (cause instanceof UpstreamError) throw cause;
      throw new UpstreamError(isBeforeWriting(cause) ? 'unreachable' : 'lost', url.host, { cause });
    }
  }

  async function read(answer: Dispatcher.ResponseData, host: string): Promise<UpstreamAnswer> {
    const { statusCode: status, headers, body } = answer;
    const header = (name: string) => [headers[name]].flat()[0];
    const requestId = guidIn(header('x-ms-request-id') ?? header('request-id'));
    const fail = async (problem: UpstreamProblem) => {
      // Unread, the body would hold its connection until the deadline.
      await body.dump({ limit: 16_384 }).catch(() => {}); // the failure is known already, and this adds nothing to it
      const retryAfterSeconds = parseRetryAfter(header('retry-after'), now());
      return new UpstreamError(problem, host, { status, requestId, retryAfterSeconds });
    };

    if (status === 429) throw await fail('throttled');
    if (status >= 500) throw await fail('failing');
    if (status >= 300 && status < 400) throw await fail('redirected');
    // A body of a few kilobytes can unpack to gigabytes, and identity is what was asked for.
    if ((header('content-encoding') ?? 'identity') !== 'identity') throw await fail('encoded');
    if (Number(header('content-length') ?? 0) > maxBytes) throw await fail('too_large');

    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new UpstreamError('too_large', host, { status, requestId });
      chunks.push(chunk);
    }
    const document = parseObject(Buffer.concat(chunks));
    if (document === undefined) throw new UpstreamError('not_json', host, { status, requestId });
    return { status, document, header, ...(requestId && { requestId }) };
  }

  // Entra refuses certificate assertions of a clock that is fast, and tokens look expired to one that is.
  function noteClock(date: string | string[] | undefined, askedAt: number): void {
    const theirs = Date.parse([date].flat()[0] ?? '');
    if (Number.isNaN(theirs)) return;
    // The header has whole seconds; half of the round trip is the best guess at when it was written.
    const ahead = Math.round(((askedAt + now()) / 2 - theirs) / 1000);
    const wasOff = Math.abs(clockAhead ?? 0) > clockWarnSeconds;
    clockAhead = ahead;
    if (Math.abs(ahead) > clockWarnSeconds && !wasOff) log.warn('entra.clock_off', { aheadSeconds: ahead });
  }

  return {
    async request(request) {
      const url = URL.parse(request.url);
      if (url?.protocol !== 'https:' || !hosts.includes(url.host) || url.username || url.password) {
        throw new UpstreamError('not_allowed', url?.host ?? 'no URL');
      }
      try {
        return await attempt(request, url);
      } catch (error) {
        // Again only where nothing was written: a code may have been redeemed by a request whose answer was lost, and
        // a second redemption revokes what came of the first (AADSTS54005).
        if (!(error instanceof UpstreamError) || error.problem !== 'unreachable') throw error;
        request.signal?.throwIfAborted();
        return await attempt(request, url);
      }
    },
    clockAheadSeconds: () => clockAhead,
    close: async () => own?.close(),
  };
}

// What a socket fails with before it is connected and its peer is proven. ECONNRESET is not here: it comes at any time.
const beforeWriting = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'ERR_SSL_WRONG_VERSION_NUMBER',
]);

function isBeforeWriting(error: unknown): boolean {
  const { code, errors } = error as { code?: unknown; errors?: unknown[] };
  if (beforeWriting.has(String(code))) return true;
  // An address for each family was tried, and all of them failed (AggregateError).
  return Array.isArray(errors) && errors.length > 0 && errors.every(isBeforeWriting);
}

/** Seconds to wait: `Retry-After` is a number of them or a date (RFC 9110 §10.2.3). */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,6}$/.test(value.trim())) return Number(value);
  // Date.parse makes a year of "-1"; an HTTP date begins with the name of a day.
  const at = /^[A-Z][a-z]{2,8},? /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now) / 1000));
}

function parseObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined; // a page of some proxy: the caller says so
  }
}

/** A header of theirs goes into our log only in the one form that it should have. */
function guidIn(value: string | undefined): string | undefined {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.exec(value ?? '')?.[0];
}
