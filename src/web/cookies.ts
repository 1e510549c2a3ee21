// Our cookies (RFC 6265): how they are named, written and read. A browser tells cookies apart by host and name, never by
// port (§8.5): where the issuer has a port of its own, as on a developer's machine, the port stands in the name, or two
// servers on one host would each end what the other began.

import type { Context } from 'koa';

/**
 * The beginning of the name of each cookie of this server. Where browsers reach it by https, the name says that no
 * subdomain set the cookie and no plain connection (`__Host-`: RFC 6265bis §4.1.3.2).
 */
export function cookiePrefix(issuer: string): string {
  const { protocol, port } = new URL(issuer);
  return `${protocol === 'https:' ? '__Host-' : ''}signet_${port === '' ? '' : `${port}_`}`;
}

/** The attributes of each of them: a `__Host-` cookie has these and no others. */
export function cookieAttributes(issuer: string) {
  return { path: '/', httpOnly: true, sameSite: 'lax', secure: issuer.startsWith('https:') } as const;
}

/** Writes cookies of ours. Not ctx.cookies: it takes the scheme of this connection, which a proxy may have ended. */
interface CookieWriter {
  set(ctx: Pick<Context, 'append'>, name: string, value: string, maxAgeSeconds: number): void;
  remove(ctx: Pick<Context, 'append'>, name: string): void;
}

export function createCookieWriter(issuer: string): CookieWriter {
  const attributes = `Path=/; HttpOnly; SameSite=Lax${cookieAttributes(issuer).secure ? '; Secure' : ''}`;
  return {
    set: (ctx, name, value, maxAgeSeconds) =>
      ctx.append('Set-Cookie', `${name}=${value}; ${attributes}; Max-Age=${maxAgeSeconds}`),
    remove: (ctx, name) => ctx.append('Set-Cookie', `${name}=; ${attributes}; Expires=Thu, 01 Jan 1970 00:00:00 GMT`),
  };
}

/**
 * The cookies in a Cookie header, oldest first (§5.4). Two of one name are as none: one of them is not ours, and the
 * header does not say which.
 */
export function cookiesIn(header: string): ReadonlyMap<string, string> {
  const cookies = new Map<string, string>();
  const repeated = new Set<string>();
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=');
    if (at === -1) continue;
    const name = pair.slice(0, at).trim();
    if (cookies.has(name)) repeated.add(name);
    cookies.set(name, pair.slice(at + 1).trim());
  }
  for (const name of repeated) cookies.delete(name);
  return cookies;
}
