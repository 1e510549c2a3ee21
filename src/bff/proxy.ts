// Passes requests on to one configured upstream, with the session's access token in the place of its cookie. Small on
// purpose: addresses, headers and framing are where proxies go wrong, and nothing else is here. Headers are
// proxy-headers.ts.

import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { checkAddress, longestTimerSeconds, optionsCheck } from '@signet-idp/verifier/internal';
import { BffError } from './errors.ts';
import { hasBody, proxyMethods, readPassedHeaders, requestHeaders, responseHeaders } from './proxy-headers.ts';
import { targetOf } from './responses.ts';

export interface ProxyOptions {
  /** Path of this application whose requests are passed on, as `/api`: it and everything below. */
  from: string;
  /** Where to, as `https://orders.example.com/v1`: `/api/x` becomes `/v1/x`. https, or http on loopback. */
  to: string;
  /** Seconds of silence from the upstream until it answers. Default 30. */
  timeoutSeconds?: number;
  /** Allows http to another host: whoever is on the way there reads the access tokens. For a network you trust. */
  allowHttpUpstream?: boolean;
  /**
   * Lets what the upstream answers run as pages of this application: a script in its HTML or SVG then acts as the
   * person who looks at it. For an upstream that shows nothing that somebody else wrote.
   */
  trustedContent?: boolean;
  /**
   * Names of further headers that the upstream gets from the browser, as `['x-tenant']`. Without it, only what every
   * API understands is passed on: content, negotiation, conditions, ranges, `Idempotency-Key`, `X-Request-Id`,
   * `X-Requested-With`, traces. Name none that the upstream believes because its platform is meant to write it.
   */
  passHeaders?: readonly string[];
}

interface ProxyUpstream {
  /** Path and query there, or undefined where the request is not for it. @throws {BffError} `bad_address` */
  addressOf(req: IncomingMessage): string | undefined;
  /** @throws {BffError} `method_not_allowed`, `upstream_unavailable`, `upstream_timeout`, `body_consumed` while no answer has begun */
  forward(req: IncomingMessage, res: ServerResponse, address: string, jwt: string): Promise<void>;
}

const checkOptions = optionsCheck<ProxyOptions>('proxyTo', {
  from: 'string',
  to: 'string',
  timeoutSeconds: 'number',
  allowHttpUpstream: 'boolean',
  trustedContent: 'boolean',
  passHeaders: 'object',
});

export function createProxyUpstream(options: ProxyOptions): ProxyUpstream {
  checkOptions(options);
  const { from, timeoutSeconds = 30, trustedContent = false, passHeaders = [] } = options;
  if (!/^(?:\/[\w\-.~]+)+$/.test(from)) {
    throw new TypeError('from must be a path such as /api, without a slash at its end');
  }
  const base = checkAddress('to', options.to, options.allowHttpUpstream === true);
  if (base.search !== '') throw new TypeError('to must not have a query');
  if (!(timeoutSeconds > 0 && timeoutSeconds <= longestTimerSeconds)) {
    throw new TypeError(`timeoutSeconds must be more than 0 and at most ${longestTimerSeconds}`);
  }
  const passed = readPassedHeaders(passHeaders);
  const basePath = base.pathname.replace(/\/$/, '');
  const send = base.protocol === 'https:' ? httpsRequest : httpRequest;

  return {
    addressOf(req) {
      const target = targetOf(req);
      // Other forms name a host of their own: absolute-form, authority-form, asterisk-form. (RFC 9112 §3.2)
      if (!target.startsWith('/')) return undefined;
      // Dots are resolved here, so that none leads out of the upstream's part.
      const { pathname, search } = new URL(`http://host${target}`);
      if (pathname !== from && !pathname.startsWith(`${from}/`)) return undefined;
      const rest = pathname.slice(from.length) || '/';
      if (!isPlain(rest)) {
        throw new BffError('bad_address', 'this address is not passed on: readers differ on which one it is');
      }
      return basePath + rest + search;
    },

    async forward(req, res, address, jwt) {
      const { method = 'GET' } = req;
      if (!proxyMethods.includes(method)) {
        res.setHeader('Allow', proxyMethods.join(', '));
        throw new BffError('method_not_allowed', `this address answers ${proxyMethods.join(', ')}`);
      }
      if (req.readableDidRead) {
        throw new BffError('body_consumed', 'the body was read before the proxy: put the proxy before the body parser');
      }
      const outgoing = send({
        protocol: base.protocol,
        hostname: base.hostname.replace(/^\[|\]$/g, ''),
        port: base.port,
        method,
        path: address,
        headers: { ...requestHeaders(req.headers, passed), authorization: `Bearer ${jwt}`, host: base.host },
      });
      outgoing.setTimeout(timeoutSeconds * 1000, () => outgoing.destroy(new Timeout()));
      const abandon = () => outgoing.destroy();
      res.once('close', abandon);

      const answered = new Promise<IncomingMessage>((resolve, reject) => {
        outgoing
          .once('response', resolve)
          .once('error', reject)
          .once('close', () => reject(new Error('closed')));
      });
      // Its failure is the answer's failure, which is awaited below.
      const sent = hasBody(req.headers) ? pipeline(req, outgoing).catch(() => {}) : void outgoing.end();
      try {
        const incoming = await answered.catch(refuse);
        outgoing.setTimeout(0); // an answer may take its time: a download, server-sent events
        outgoing.on('error', () => {}); // the connection may still break; the pipeline below notices
        res.writeHead(incoming.statusCode ?? 502, responseHeaders(incoming.headers, trustedContent));
        await pipeline(incoming, res).catch(() => res.destroy()); // a cut answer must not look like a whole one
        await sent;
      } finally {
        res.off('close', abandon);
      }
    },
  };
}

// Slash, backslash, control characters, and overlong UTF-8, which can spell any of them and the dot.
const encodedTrap = /%(?:2f|5c|[01][0-9a-f]|7f|c[01]|e0%[89]|f0%8)/i;
// A way up or on the spot, also where parameters are cut off (`..;a`) or dots and spaces at an end are, and what is
// empty then.
const segmentTrap = /^(?:\s*\.[.\s]*(?:;|$)|;)/;
// An upstream and what stands before it may each decode once; nobody has reason to encode more often than that.
const mostDecodings = 3;

/**
 * Whether every reader takes the path for the same one, however often it decodes. URL parsers have resolved its dots,
 * but only those that they see: to a servlet container, `..;` is a way up, and to whoever decodes twice `%252e%252e`.
 */
function isPlain(path: string): boolean {
  if (path.startsWith('//') || /%(?![0-9a-f]{2})/i.test(path)) return false;
  let decoded = path;
  for (let times = 0; times <= mostDecodings; times += 1) {
    if (encodedTrap.test(decoded)) return false;
    const before = decoded;
    // What is dangerous is ASCII, so the rest need not be decoded to be seen.
    decoded = before.replace(/%([2-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    if (decoded === before) return !decoded.split('/').some((segment) => segmentTrap.test(segment));
  }
  return false;
}

class Timeout extends Error {}

function refuse(error: unknown): never {
  if (error instanceof Timeout) {
    throw new BffError('upstream_timeout', 'the service behind this address did not answer in time');
  }
  const { code } = error as { code?: unknown };
  const detail = typeof code === 'string' ? code : 'no answer';
  throw new BffError('upstream_unavailable', 'the service behind this address cannot be reached', { detail });
}
