// Cookies of a sign-in under way. oidc-provider gives the interaction and the resume cookie one name each and tells
// tabs apart by path, which a `__Host-` cookie may not have (RFC 6265bis §4.1.3.2). Without that prefix any subdomain
// could plant one. So here the tab is in the name: one `__Host-` cookie for each sign-in, the same for both uses.

import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import { cookiePrefix } from '../web/cookies.ts';

type Cookies = Context['cookies'];
type SetOption = NonNullable<Parameters<Cookies['set']>[2]>;
type GetOption = Parameters<Cookies['get']>[1];

const perSignIn = new Set(['interaction', 'resume']);
const mostAtOnce = 10;
// Longer than any sign-in: whoever comes back to a page that is over has a cookie still, and can be told that it is
// over rather than that cookies are blocked. For the same reason it stays when the sign-in ends.
const cookieLifeMs = 86_400_000;

/** The name under which configuration.ts registers a cookie with oidc-provider. */
export function cookieName(kind: 'session' | 'interaction' | 'resume', issuer: string): string {
  return perSignIn.has(kind) ? kind : cookiePrefix(issuer) + kind;
}

interface SignInCookiesOptions {
  /** The request's path: `/sign-in/<uid>` and `/auth/<uid>` both name the sign-in in their second segment. */
  path: string;
  /** The request's Cookie header. */
  header: string;
  /** Public URL of this server. */
  issuer: string;
  /** The first one signs, all of them verify. */
  keys: readonly string[];
}

/**
 * Wraps a request's cookies. The sign-in's name stands in the address bar, in histories and in logs, so the value is
 * a proof over it that only this server can make: an address alone continues nobody's sign-in. More than ten cookies
 * would outgrow the request header: the first ones go.
 */
export function signInCookies(cookies: Cookies, { path, header, issuer, keys }: SignInCookiesOptions): Cookies {
  const prefix = `${cookiePrefix(issuer)}sign_in_`;
  const uidOf = (of: string) => of.split('/')[2] ?? '';

  return Object.create(cookies, {
    get: {
      value(name: string, options?: GetOption) {
        if (!perSignIn.has(name)) return cookies.get(name, options);
        const uid = uidOf(path);
        // Not cookies.get: it keeps a pattern for every name it was ever asked for, and anyone can ask for new ones.
        const presented = signInsOf(header, prefix).get(prefix + uid);
        return presented !== undefined && keys.some((key) => isProof(presented, uid, key)) ? uid : undefined;
      },
    },
    set: {
      value(name: string, value?: string | null, options: SetOption = {}) {
        if (!perSignIn.has(name)) return cookies.set(name, value, options);
        if (!value) return cookies;
        const { sameSite } = options;
        const common = { path: '/', httpOnly: true, sameSite, overwrite: true, signed: false } as const;
        // Browsers send cookies of one path in the order of their making, newest last (RFC 6265 §5.4).
        const oldest = [...signInsOf(header, prefix).keys()].reverse().slice(mostAtOnce - 1);
        for (const old of oldest) cookies.set(old, null, common);
        return cookies.set(prefix + value, proofOf(value, keys[0]!), { ...common, maxAge: cookieLifeMs });
      },
    },
  }) as Cookies;
}

function signInsOf(header: string, prefix: string): Map<string, string> {
  const pairs = header.split(';').map((pair) => {
    const [name = '', value = ''] = pair.split('=');
    return [name.trim(), value.trim()] as const;
  });
  return new Map(pairs.filter(([name]) => name.startsWith(prefix)));
}

const proofOf = (uid: string, key: string) => createHmac('sha256', key).update(`sign-in ${uid}`).digest('base64url');

function isProof(presented: string, uid: string, key: string): boolean {
  const expected = Buffer.from(proofOf(uid, key));
  const given = Buffer.from(presented);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
