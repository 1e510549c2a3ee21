// Cookies of a sign-in under way. oidc-provider gives the interaction and the resume cookie one name each and tells
// tabs apart by path, which a `__Host-` cookie may not have (RFC 6265bis §4.1.3.2). Without that prefix any subdomain
// could plant one. So here the tab is in the name: one `__Host-` cookie for each sign-in, the same for both uses. It
// outlives the sign-in, and so tells whoever comes back to its page what became of it, and which application it was.

import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import type { Seal } from '../keys/seal.ts';
import { cookiePrefix, cookiesIn } from '../web/cookies.ts';

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
  /** The application that asks for a sign-in, at its beginning. */
  clientId(): string | undefined;
  /** Whether the person did what was asked, at its end. */
  isDone(): boolean;
}

/**
 * Wraps a request's cookies. The sign-in's name stands in the address bar, in histories and in logs, so the value is
 * a proof over it that only this server can make: an address alone continues nobody's sign-in. More than ten cookies
 * would outgrow the request header: the first ones go.
 */
export function signInCookies(
  cookies: Cookies,
  { path, header, issuer, keys, clientId, isDone }: SignInCookiesOptions,
): Cookies {
  const prefix = `${cookiePrefix(issuer)}sign_in_`;

  return Object.create(cookies, {
    get: {
      value(name: string, options?: GetOption) {
        if (!perSignIn.has(name)) return cookies.get(name, options);
        const uid = uidOf(path);
        // Not cookies.get: it keeps a pattern for every name it was ever asked for, and anyone can ask for new ones.
        return readTrace(header, issuer, uid, keys)?.state === 'open' ? uid : undefined;
      },
    },
    set: {
      value(name: string, value?: string | null, options: SetOption = {}) {
        if (!perSignIn.has(name)) return cookies.set(name, value, options);
        const { sameSite } = options;
        const common = { path: '/', httpOnly: true, sameSite, overwrite: true, signed: false } as const;
        const keep = (uid: string, trace: Trace) =>
          cookies.set(prefix + uid, written(uid, trace, keys[0]!), { ...common, maxAge: cookieLifeMs });
        if (!value) {
          const uid = uidOf(path);
          const trace = readTrace(header, issuer, uid, keys);
          return trace && isDone() ? keep(uid, { ...trace, state: 'done' }) : cookies;
        }
        // Browsers send cookies of one path in the order of their making, newest last (RFC 6265 §5.4).
        const oldest = [...signInsOf(header, prefix).keys()].reverse().slice(mostAtOnce - 1);
        for (const old of oldest) cookies.set(old, null, common);
        const asks = clientId() ?? '';
        return keep(value, { state: 'open', clientId: asks.length > longestKept ? '' : asks });
      },
    },
  }) as Cookies;
}

export const cookieKeysOf = (seal: Pick<Seal, 'derive'>) =>
  seal.derive('cookies').map((key) => key.toString('base64url'));

/** What a browser still has of a sign-in. */
interface Trace {
  state: 'open' | 'done';
  clientId: string;
}

/** What became of a sign-in that cannot be continued, as far as this browser's cookies tell. */
export interface LostSignIn {
  /** cookies: the browser kept none, or it is another one. */
  reason: 'expired' | 'finished' | 'cookies';
  /** Whose sign-in it was. */
  clientId?: string | undefined;
}

/** @param uid the sign-in that was to be continued */
export function whyLost(header: string, issuer: string, uid: string, keys: readonly string[]): LostSignIn {
  const trace = readTrace(header, issuer, uid, keys);
  if (trace) return { reason: trace.state === 'done' ? 'finished' : 'expired', clientId: trace.clientId };
  const prefix = cookiePrefix(issuer);
  const keepsCookies = signInsOf(header, `${prefix}sign_in_`).size + signInsOf(header, `${prefix}session`).size > 0;
  return { reason: keepsCookies ? 'expired' : 'cookies' };
}

/** The application of the last sign-in that this browser began, however that ended. */
export function lastApplication(header: string, issuer: string, keys: readonly string[]): string | undefined {
  const prefix = `${cookiePrefix(issuer)}sign_in_`;
  const newest = [...signInsOf(header, prefix).keys()].at(-1);
  return newest && readTrace(header, issuer, newest.slice(prefix.length), keys)?.clientId;
}

export const uidOf = (path: string) => path.split('/')[2] ?? '';

function signInsOf(header: string, prefix: string): Map<string, string> {
  return new Map([...cookiesIn(header)].filter(([name]) => name.startsWith(prefix)));
}

const longestKept = 128;

// In base64url, since a client_id may have characters that a cookie may not (RFC 6749 Appendix A.1).
const written = (uid: string, trace: Trace, key: string) =>
  `${proofOf(uid, trace, key)}.${Buffer.from(trace.clientId).toString('base64url')}`;

function readTrace(header: string, issuer: string, uid: string, keys: readonly string[]): Trace | undefined {
  const name = `${cookiePrefix(issuer)}sign_in_${uid}`;
  const presented = cookiesIn(header).get(name);
  if (presented === undefined) return undefined;
  const [proof = '', name64 = ''] = presented.split('.');
  const clientId = Buffer.from(name64, 'base64url').toString();
  return (['open', 'done'] as const)
    .map((state) => ({ state, clientId }))
    .find((trace) => keys.some((key) => isProof(proof, uid, trace, key)));
}

const proofOf = (uid: string, { state, clientId }: Trace, key: string) =>
  createHmac('sha256', key)
    .update(`sign-in ${JSON.stringify([uid, state, clientId])}`)
    .digest('base64url');

function isProof(presented: string, uid: string, trace: Trace, key: string): boolean {
  const expected = Buffer.from(proofOf(uid, trace, key));
  const given = Buffer.from(presented);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
