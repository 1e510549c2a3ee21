// How our cookies are named and written. `__Host-` means: from this very host, over https, for all paths, never from a
// subdomain (RFC 6265bis §4.1.3.2). Browsers also refuse such a cookie over http, so a developer's machine does
// without.

export interface CookieStyle {
  /** The beginning of every name. */
  readonly prefix: string;
  /** A Set-Cookie line; without `maxAgeSeconds` the cookie ends with the browser. */
  set(name: string, value: string, how?: { sameSite?: SameSite; maxAgeSeconds?: number }): string;
  /** A Set-Cookie line that removes the cookie. */
  remove(name: string): string;
}

export type SameSite = 'lax' | 'strict';

const longAgo = 'Expires=Thu, 01 Jan 1970 00:00:00 GMT';

export function createCookieStyle({
  name,
  baseUrl,
  sameSite: usual,
}: {
  name: string;
  baseUrl: string;
  sameSite: SameSite;
}): CookieStyle {
  const { protocol, port } = new URL(baseUrl);
  const secure = protocol === 'https:';
  const attributes = (sameSite: SameSite) => {
    const policy = `SameSite=${sameSite === 'strict' ? 'Strict' : 'Lax'}`;
    return ['Path=/', 'HttpOnly', policy, ...(secure ? ['Secure'] : [])].join('; ');
  };
  return {
    // Cookies ignore ports (RFC 6265 §8.5), and on a developer's machine several applications share a host.
    prefix: `${secure ? '__Host-' : ''}${name}${port === '' ? '' : `-${port}`}`,
    set(cookie, value, { sameSite = usual, maxAgeSeconds } = {}) {
      const life = maxAgeSeconds === undefined ? '' : `; Max-Age=${maxAgeSeconds}`;
      return `${cookie}=${value}; ${attributes(sameSite)}${life}`;
    },
    remove: (cookie) => `${cookie}=; ${attributes(usual)}; ${longAgo}`,
  };
}
