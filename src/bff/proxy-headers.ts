// Which headers cross the proxy, and which methods. Towards the upstream only what is listed here or was asked for by
// name: gateways, platforms and frameworks believe headers such as X-Forwarded-User, X-Original-URL or
// CF-Connecting-IP because only they are meant to write them, and nobody knows the whole list of these. Back to the
// browser everything, but for what would speak for the whole origin, where the session is, or to a cache before us.

import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

/** What a proxy is for (RFC 9110 §9, RFC 5789, and QUERY). TRACE would show a page the token that we put in. */
export const proxyMethods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'];

// RFC 9110 §7.6.1; the first proxies' own header with them.
const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

// What a request says of itself: its content, what it would like to have (RFC 9110 §8, §12 to §14, RFC 9111 §5,
// RFC 7240, RFC 9530), the place of a stream, a trace (W3C Trace Context). Nothing of it says who asks.
const aboutTheRequest = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-digest',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'pragma',
  'prefer',
  'priority',
  'range',
  'repr-digest',
  'traceparent',
  'tracestate',
  'user-agent',
  'want-content-digest',
  'want-repr-digest',
  'x-correlation-id',
  'x-request-id',
  'x-requested-with',
]);

// No option passes these on: they belong to this connection or to our session, or say who asks and from where.
const neverPassed = new Set([
  ...hopByHop,
  'cookie',
  'authorization',
  'host',
  'expect',
  'origin',
  'x-signet-csrf',
  'forwarded',
  'via',
  'proxy',
  'x-real-ip',
  'content-length',
]);
const neverPassedFamily = /^(?:x-forwarded-|sec-|proxy-)/;

/**
 * The headers that are passed on beside the usual ones, in lower case.
 * @throws {TypeError} where one must not be passed on, or is not a name of a header
 */
export function readPassedHeaders(names: unknown): ReadonlySet<string> {
  if (!Array.isArray(names)) throw new TypeError('passHeaders must be a list of names of headers');
  return new Set(
    names.map((name: unknown) => {
      // A name with `_` is another name to some readers: CGI and its successors write `-` as `_` (RFC 3875 §4.1.18).
      if (typeof name !== 'string' || !/^[A-Za-z0-9!#$%&'*+.^`|~-]+$/.test(name)) {
        throw new TypeError('passHeaders must be a list of names of headers, without underscores');
      }
      const lower = name.toLowerCase();
      if (neverPassed.has(lower) || neverPassedFamily.test(lower)) {
        throw new TypeError(`passHeaders must not have ${name}: it is the proxy's own to say`);
      }
      return lower;
    }),
  );
}

/** @param passed what `readPassedHeaders` gave */
export function requestHeaders(headers: IncomingHttpHeaders, passed: ReadonlySet<string>): OutgoingHttpHeaders {
  const kept = without(headers, hopByHop, (name) => !aboutTheRequest.has(name) && !passed.has(name));
  // Said again for this connection. Node frames no DELETE by itself, and a body without a frame is the next request.
  if (headers['transfer-encoding'] !== undefined) {
    delete kept['content-length'];
    kept['transfer-encoding'] = 'chunked';
  }
  return kept;
}

export function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined;
}

// For the whole origin, however small the answer that says it: cookies and storage, its service workers (whose part of
// the origin this widens) and speculative page loads, its transport and alternatives, who is told of its errors, which
// hints browsers send, where a login is registered.
const forTheOrigin = [
  'set-cookie',
  'set-cookie2',
  'clear-site-data',
  'service-worker-allowed',
  'speculation-rules',
  'alt-svc',
  'strict-transport-security',
  'public-key-pins',
  'public-key-pins-report-only',
  'expect-ct',
  'nel',
  'report-to',
  'reporting-endpoints',
  'accept-ch',
  'critical-ch',
  'origin-agent-cluster',
  'use-as-dictionary',
  'set-login',
  'secure-session-registration',
  'sec-session-registration',
  'activate-storage-access',
];
// For whoever stands before us: files that a web server sends in the place of the answer, and caches of a CDN, which
// believe these more than Cache-Control (RFC 9213).
const forTheFront = ['x-sendfile', 'x-lighttpd-send-file', 'x-reproxy-url', 'surrogate-control', 'edge-control'];
const forTheFrontFamily = /^(?:x-accel-|(?:[a-z-]+-)?cdn-cache-control$)/;

export function responseHeaders(headers: IncomingHttpHeaders, trustedContent: boolean): OutgoingHttpHeaders {
  // CORS permissions would count for this origin, too.
  const kept = without(
    headers,
    [...hopByHop, ...forTheOrigin, ...forTheFront],
    (name) => name.startsWith('access-control-') || forTheFrontFamily.test(name),
  );
  // Any other scheme than a token's has browsers ask the person for a password, in this application's name.
  if (!/^(?:bearer|dpop)\b/i.test(String(kept['www-authenticate'] ?? ''))) delete kept['www-authenticate'];
  // It answered to a bearer token, which shared caches respect (RFC 9111 §3.5); what we were asked with was a cookie.
  const said = String(headers['cache-control'] ?? 'no-store')
    .split(',')
    .map((directive) => directive.trim());
  const directives = said.filter((directive) => directive !== '' && !/^(?:public|private|s-maxage)\b/i.test(directive));
  kept['cache-control'] = ['private', ...directives].join(', ');
  kept.vary = [headers.vary, 'Cookie'].filter(Boolean).join(', ');
  if (trustedContent) return kept;
  // An API's answers are read by scripts. Opened as a page, HTML or SVG from there would be on this origin, with its
  // session; a sandbox gives it none. Beside the upstream's own policy: all of a list hold (CSP3 §2.2).
  kept['x-content-type-options'] = 'nosniff';
  kept['content-security-policy'] = [headers['content-security-policy'], 'sandbox'].filter(Boolean).join(', ');
  delete kept.refresh; // would take the page that was opened elsewhere
  return kept;
}

function without(
  headers: IncomingHttpHeaders,
  names: readonly string[],
  isDropped: (name: string) => boolean,
): OutgoingHttpHeaders {
  // Connection names further headers that are for this hop only. (RFC 9110 §7.6.1)
  const named = (headers.connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  // How the body is framed is not a client's to take away.
  const dropped = new Set([...names, ...named.filter((name) => name !== 'content-length')]);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name) && !isDropped(name)));
}
