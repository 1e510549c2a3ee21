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
