// The response headers: what every answer carries, and the Content-Security-Policy of a page of ours.

import type { ServerResponse } from 'node:http';
import type { Context, Middleware } from 'koa';

const oneYearSeconds = 31_536_000;

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
export function protection(options: { issuer: string }): (res: ServerResponse) => void {
  const list = Object.entries(headersOfEveryAnswer(options));
  return (res) => {
    for (const [name, value] of list) res.setHeader(name, value);
  };
}

export function headersOfEveryAnswer({ issuer }: { issuer: string }): Readonly<Record<string, string>> {
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
  return headers;
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
