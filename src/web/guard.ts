// What stands between the network and our own pages: the headers every answer carries, the headers of a page, who may
// post a form, how a form is read, and whose address a request counts for. oidc-provider parses and caps the bodies of
// its own endpoints (56 KiB, lib/shared/selective_body.js): that is left alone here.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { Context, Middleware } from 'koa';
import { AppError, isAppError } from '../errors.ts';

const oneYearSeconds = 31_536_000;

/**
 * Gives each request a name of our own, at `ctx.state.requestId` and in the answer. One sent by the client is ignored:
 * it could be made to match somebody else's line in the log.
 */
export function requestId(): Middleware {
  return (ctx, next) => {
    ctx.state.requestId = nameRequest(ctx.res);
    return next();
  };
}

/** The same for what is not answered through Koa. */
export function nameRequest(res: ServerResponse): string {
  // 64 random bits in hexadecimal: short enough to be read out over the telephone. Node keeps UUIDs in stock.
  const uuid = randomUUID();
  const id = uuid.slice(0, 8) + uuid.slice(28);
  res.setHeader('X-Request-Id', id);
  return id;
}

/**
 * The headers that fit every answer, page or not. Koa drops all headers of a request that fails, so whatever answers
 * errors belongs inside this one.
 *
 * There is no Cross-Origin-Opener-Policy, on purpose: any value but the default cuts a popup off from the window that
 * opened it, for good, and an application that signs people in by popup would wait for ever (oidc-client-ts,
 * `signinPopup`). What it would protect, a script in our page, does not exist.
 */
export function securityHeaders(options: { issuer: string }): Middleware {
  const protect = protection(options);
  return (ctx, next) => {
    protect(ctx.res);
    return next();
  };
}

/** The same for what is not answered through Koa. */
export function protection({ issuer }: { issuer: string }): (res: ServerResponse) => void {
  const headers: Record<string, string> = {
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Permissions-Policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
    // What is not a page of ours (sendPage says what those may do) is nothing to look at.
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  };
  // Without includeSubDomains: other services under this name are not ours to decide for.
  if (new URL(issuer).protocol === 'https:') headers['Strict-Transport-Security'] = `max-age=${oneYearSeconds}`;

  const list = Object.entries(headers);

  return (res) => {
    for (const [name, value] of list) res.setHeader(name, value);
  };
}

/** The part of a Koa context that an answer is given through; oidc-provider's has it, too. */
type Answer = Pick<Context, 'status' | 'type' | 'body' | 'set'>;

interface PageOptions extends PolicyOptions {
  /** HTTP status. Default 200. */
  status?: number;
}

interface PolicyOptions {
  /**
   * URIs that the answer to a form may lead to. Of http only the origin counts, of any other scheme (https, or
   * private-use: RFC 8252 §7.1) only the scheme. `anywhere`: it cannot be known yet.
   */
  formAction?: readonly string[] | 'anywhere';
  /** Whether the page loads a script from our assets: only the one that sends itself on does. Default false. */
  script?: boolean;
}

/** Answers with a page of ours (pages.ts) and the headers that only our own pages can bear. */
export function sendPage(ctx: Answer, html: string, { status = 200, ...policy }: PageOptions = {}): void {
  ctx.status = status;
  ctx.type = 'text/html; charset=utf-8';
  ctx.set({
    'Content-Security-Policy': pageCsp(policy),
    'Cache-Control': 'no-store',
    'Cross-Origin-Resource-Policy': 'same-origin',
    // Not no-referrer: under that, a browser posts our form with "Origin: null" (Fetch, "append a request Origin
    // header"), which requireSameOrigin could not tell from a stranger's. Other origins learn nothing from either.
    'Referrer-Policy': 'same-origin',
  });
  ctx.body = html;
}

/**
 * The content security policy of a page: no script (but see `script`), nothing inline, no outside resource, no frame
 * around it.
 *
 * Chromium holds `form-action` against every redirect that follows the POST: to the application's redirect URI, and to
 * wherever its callback sends people on. That second place we cannot know, and a sign-in that stops there stops
 * silently. So an https application opens the directive for https.
 */
export function pageCsp({ formAction = [], script = false }: PolicyOptions = {}): string {
  const sources = formAction === 'anywhere' ? [undefined] : formAction.map(cspSource);
  return [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    ...(script ? ["script-src 'self'"] : []),
    // Where CSP has no word for one of the places, saying nothing is what lets the sign-in end.
    ...(sources.includes(undefined) ? [] : [["form-action 'self'", ...new Set(sources)].join(' ')]),
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; ');
}

function cspSource(uri: string): string | undefined {
  const url = URL.parse(uri);
  if (url === null) return undefined;
  if (url.protocol !== 'http:') return url.protocol;
  // An IPv6 literal is not in the grammar of a host-source (CSP 3 §2.3.1), and Chromium ignores one.
  return url.hostname.startsWith('[') ? undefined : url.origin;
}

/**
 * Lets a form through only from a page of this issuer. Browsers say where a request comes from in Sec-Fetch-Site, which
 * no page can forge; older ones at least send Origin. A request with neither is not a person at our form.
 * @throws {AppError} cross_site_form (403)
 */
export function requireSameOrigin({ issuer }: { issuer: string }): Middleware {
  const { origin } = new URL(issuer);
  return (ctx, next) => {
    if (ctx.method === 'GET' || ctx.method === 'HEAD') return next();
    const site = ctx.get('Sec-Fetch-Site');
    const ours = site === '' ? ctx.get('Origin') === origin : site === 'same-origin';
    if (!ours) {
      throw new AppError(
        'cross_site_form',
        403,
        'This form was not sent from our own page. Go back to the application and start again.',
      );
    }
    return next();
  };
}

/**
 * Reads the form in a request's body. Duplicates are refused, as RFC 6749 §3.1 does for parameters: two readers might
 * each take another one. So is U+0000, which PostgreSQL keeps in no text, and which nobody types.
 * @throws {AppError} unsupported_form (415), form_too_large (413), duplicate_field or malformed_form (400)
 */
export async function readForm(ctx: Context, { maxBytes = 16_384 } = {}): Promise<ReadonlyMap<string, string>> {
  const form = new Map<string, string>();
  for (const [field, value] of await readFields(ctx, { maxBytes })) {
    if (form.has(field)) throw new AppError('duplicate_field', 400, 'A field of this form was sent twice.');
    if (holdsNull(field) || holdsNull(value)) throw nullCharacter('form');
    if (isDamaged(value)) throw new AppError('malformed_form', 400, 'The form is not valid UTF-8.');
    form.set(field, value);
  }
  return form;
}

/**
 * The same, whatever stands in it: for a form that goes on to whoever checks it.
 * @throws {AppError} unsupported_form (415), form_too_large (413), malformed_form (400)
 */
export async function readFields(ctx: Context, { maxBytes }: { maxBytes: number }): Promise<URLSearchParams> {
  const charset = ctx.request.charset.toLowerCase();
  const plain = ctx.get('Content-Encoding') === '' && (charset === '' || charset === 'utf-8');
  if (!plain || !ctx.is('application/x-www-form-urlencoded')) {
    throw new AppError('unsupported_form', 415, 'Forms are read as application/x-www-form-urlencoded in UTF-8 only.');
  }

  return new URLSearchParams(decodeUtf8(await readBody(ctx, maxBytes, 'form'), 'form'));
}

/**
 * Reads the JSON document in a request's body; undefined where there is none.
 * @throws {AppError} unsupported_document (415), document_too_large (413), malformed_document (400)
 */
export async function readJson(ctx: Context, { maxBytes = 16_384 } = {}): Promise<unknown> {
  const bytes = await readBody(ctx, maxBytes, 'document');
  if (bytes.length === 0) return undefined;
  if (ctx.get('Content-Encoding') !== '' || !ctx.is('application/json')) {
    throw new AppError('unsupported_document', 415, 'Documents are read as application/json in UTF-8 only.');
  }
  try {
    return JSON.parse(decodeUtf8(bytes, 'document'), (name, value: unknown) => {
      if (holdsNull(name) || holdsNull(value)) throw nullCharacter('document');
      return value;
    }) as unknown;
  } catch (cause) {
    // What JSON.parse complains of may quote the document, so it stays a cause.
    if (isAppError(cause)) throw cause;
    throw new AppError('malformed_document', 400, 'The document is not valid JSON.', { cause });
  }
}

// What URLSearchParams puts in the place of escaped bytes that are no UTF-8: a password would be another one.
const isDamaged = (value: string) => value.includes('\uFFFD');

type Body = 'form' | 'document';

const holdsNull = (value: unknown) => typeof value === 'string' && value.includes('\0');

const nullCharacter = (what: Body) => new AppError(`malformed_${what}`, 400, `The ${what} has a null character in it.`);

async function readBody(ctx: Context, maxBytes: number, what: Body): Promise<Buffer> {
  if ((ctx.request.length ?? 0) > maxBytes) throw tooLarge(ctx, maxBytes, what);
  const chunks: Buffer[] = [];
  let received = 0;
  try {
    // Leaving the loop early must not destroy the socket: the refusal still has to travel over it.
    for await (const chunk of ctx.req.iterator({ destroyOnReturn: false })) {
      received += chunk.length;
      if (received > maxBytes) throw tooLarge(ctx, maxBytes, what);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError(`malformed_${what}`, 400, `The ${what} did not arrive whole.`, { cause });
  }
  return Buffer.concat(chunks, received);
}

function tooLarge(ctx: Context, maxBytes: number, what: Body): AppError {
  // The rest of the body is still on its way; closing the connection spares us from reading it.
  ctx.set('Connection', 'close');
  return new AppError(`${what}_too_large`, 413, `This ${what} is larger than the ${maxBytes} bytes that are read.`);
}

function decodeUtf8(bytes: Buffer, what: Body): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AppError(`malformed_${what}`, 400, `The ${what} is not valid UTF-8.`, { cause });
  }
}

/** Not ctx.cookies: it takes the scheme of this connection for that of the browser's, which a proxy may have ended. */
export function readCookies(ctx: Context): Map<string, string> {
  return new Map(
    ctx
      .get('Cookie')
      .split(';')
      .map((pair) => {
        const [name = '', value = ''] = pair.split('=');
        return [name.trim(), value.trim()] as const;
      }),
  );
}

/**
 * The address a request counts for. X-Forwarded-For is read from the right, where our own proxies write, and only as
 * far as they are trusted: everything further left is whatever the client liked to claim.
 * @param trustedProxies addresses and networks: "10.0.0.0/8", "::1"
 */
export function clientAddress(req: IncomingMessage, trustedProxies: readonly string[]): string {
  const peer = parseAddress(req.socket.remoteAddress ?? '') ?? 'unknown';
  if (trustedProxies.length === 0) return peer;

  const trusted = networks(trustedProxies);
  const hops = [req.headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  let client = peer;
  while (isIP(client) !== 0 && trusted.check(client, isIPv4(client) ? 'ipv4' : 'ipv6')) {
    const hop = parseAddress(hops.pop()?.trim() ?? '');
    if (hop === undefined) break;
    client = hop;
  }
  return client;
}

/** What attempts are counted by: an IPv4 address whole, of IPv6 the /64, since one subscriber holds all of it. */
export function addressPrefix(address: string): string {
  return addressPrefixes(address).address;
}

export interface AddressPrefixes {
  address: string;
  network?: string;
  block: string;
}

/**
 * Beside that, the /48: one site or customer may hold as much, and has 65,536 of the former (RFC 6177 §2). And the
 * block that a provider hands out from, about: of IPv4 the /16, of IPv6 the /32.
 */
export function addressPrefixes(address: string): AddressPrefixes {
  if (isIPv4(address)) return { address, block: `${address.split('.').slice(0, 2).join('.')}.0.0/16` };
  if (isIP(address) !== 6) return { address, block: address };
  const groups = ipv6Groups(address);
  const prefix = (count: number) => `${groups.slice(0, count).join(':')}::/${count * 16}`;
  return { address: prefix(4), network: prefix(3), block: prefix(2) };
}

/** What strangers are told apart by: of IPv6 the /48, since one customer of a provider may hold all of it. */
export function networkOf(address: string): string {
  const { address: prefix, network = prefix } = addressPrefixes(address);
  return network;
}

/** Whether an address, as parseAddress spells it, is in one of these: "10.0.0.0/8", "::1". */
export function withinNetworks(entries: readonly string[]): (address: string) => boolean {
  const list = networks(entries);
  return (address) => isIP(address) !== 0 && list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

function networks(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    try {
      if (bits === undefined) list.addAddress(address, family);
      else list.addSubnet(address, Number(bits), family);
    } catch (cause) {
      throw new AppError('invalid_proxy', 500, `${entry} is not an address or a network such as 10.0.0.0/8`, { cause });
    }
  }
  return list;
}

// Proxies write "192.0.2.1", "192.0.2.1:4711", "2001:db8::1" or "[2001:db8::1]:4711"; a dual-stack socket says
// "::ffff:192.0.2.1". One address gets one spelling, or it would have several counters.
export function parseAddress(text: string): string | undefined {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const address = bare.split('%')[0] ?? '';
  if (isIP(address) !== 6) return isIPv4(address) ? address : undefined;

  const groups = ipv6Groups(address);
  if (groups.slice(0, 6).join(':') !== '0:0:0:0:0:ffff') return canonicalIpv6(address);
  const words = groups.slice(6).map((group) => Number.parseInt(group, 16));
  return words.map((word) => `${word >> 8}.${word & 255}`).join('.');
}

function ipv6Groups(address: string): string[] {
  const [head = '', tail = ''] = canonicalIpv6(address).split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  return [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
}

function canonicalIpv6(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}
