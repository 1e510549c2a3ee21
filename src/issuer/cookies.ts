// Cookies of a sign-in under way. oidc-provider gives the interaction and the resume cookie one name each and tells
// tabs apart by path, which a `__Host-` cookie may not have (RFC 6265bis §4.1.3.2). Without that prefix any subdomain
// could plant one. So here the tab is in the name: one `__Host-` cookie for each sign-in, the same for both uses.

import type { Context } from 'koa';

type Cookies = Context['cookies'];
type SetOption = NonNullable<Parameters<Cookies['set']>[2]>;
type GetOption = Parameters<Cookies['get']>[1];

const perSignIn = new Set(['interaction', 'resume']);
const mostAtOnce = 10;

/** The name under which configuration.ts registers a cookie with oidc-provider. */
export function cookieName(kind: 'session' | 'interaction' | 'resume', secure: boolean): string {
  if (perSignIn.has(kind)) return kind;
  return `${secure ? '__Host-' : ''}signet_${kind}`;
}

/**
 * Wraps a request's cookies. `path` is the request's path: `/sign-in/<uid>` and `/auth/<uid>` both name the sign-in
 * in their second segment. More than ten sign-ins at once would outgrow the request header: the first ones go.
 */
export function signInCookies(cookies: Cookies, path: string, header: string, secure: boolean): Cookies {
  const prefix = `${secure ? '__Host-' : ''}signet_sign_in_`;
  const uidOf = (of: string) => of.split('/')[2] ?? '';

  return Object.create(cookies, {
    get: {
      value(name: string, options?: GetOption) {
        if (!perSignIn.has(name)) return cookies.get(name, options);
        return cookies.get(prefix + uidOf(path), { signed: false });
      },
    },
    set: {
      value(name: string, value?: string | null, options: SetOption = {}) {
        if (!perSignIn.has(name)) return cookies.set(name, value, options);
        const { maxAge, sameSite } = options;
        const common = { path: '/', httpOnly: true, sameSite, overwrite: true, signed: false } as const;
        if (value) {
          for (const old of openSignIns(header, prefix).slice(mostAtOnce - 1)) cookies.set(old, null, common);
        }
        return cookies.set(prefix + uidOf(options.path ?? path), value, { ...common, ...(value ? { maxAge } : {}) });
      },
    },
  }) as Cookies;
}

// Browsers send cookies of one path in the order of their making, newest last (RFC 6265 §5.4).
function openSignIns(header: string, prefix: string): string[] {
  return header.split(';').map((pair) => pair.split('=')[0]!.trim()).filter((name) => name.startsWith(prefix)).reverse();
}
