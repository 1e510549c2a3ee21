// A session, as cookies. One, set at sign-in and removed at sign-out, names the session; others hold its tokens, sealed
// for that session only and named after it. So an answer that renewed the tokens but arrives after the sign-out brings
// nothing back, and one that belongs to an earlier session does not disturb the next.

import { randomBytes } from 'node:crypto';
import type { CookieStyle } from './cookies.ts';
import { BffError } from './errors.ts';
import type { CookieSeal } from './seal.ts';

export interface CookieSession {
  /** 128 random bits; says nothing of the person. */
  readonly id: string;
  readonly accessToken: string;
  readonly refreshToken?: string;
  /** Of the access token, in epoch milliseconds. */
  readonly expiresAt: number;
  /** Claims of the ID token, for the page. */
  readonly user: Readonly<Record<string, unknown>>;
}

/** The cookies of one request, by name. */
export type RequestCookies = ReadonlyMap<string, string>;

export interface SessionCookies {
  read(cookies: RequestCookies): CookieSession | undefined;
  /** Set-Cookie lines for a session's tokens. @throws {BffError} `session_too_large` */
  write(session: CookieSession, cookies: RequestCookies): string[];
  /** The same at sign-in: also names the session. */
  begin(session: CookieSession, cookies: RequestCookies): string[];
  /** Removes the tokens of a session that is over; the name stays, as a new sign-in may have set it meanwhile. */
  forget(cookies: RequestCookies): string[];
  /** Removes everything. */
  end(cookies: RequestCookies): string[];
}

// Browsers keep 4096 bytes of name, value and attributes together (RFC 6265 §6.1).
const chunkBytes = 3_700;
// One header line holds all our cookies, and common proxies accept 8 kB of one.
const maxChunks = 2;

export const newSessionId = () => randomBytes(16).toString('base64url');

export function createSessionCookies(style: CookieStyle, seal: CookieSeal): SessionCookies {
  const nameCookie = style.prefix;
  const chunkPrefix = `${style.prefix}-s-`;
  const chunkName = (id: string, at: number) => `${chunkPrefix}${id.slice(0, 8)}-${at}`;
  const aad = (id: string) => `${style.prefix} ${id}`;
  const chunksIn = (cookies: RequestCookies) => [...cookies.keys()].filter((name) => name.startsWith(chunkPrefix));

  function write(session: CookieSession, cookies: RequestCookies): string[] {
    const { id, ...content } = session;
    const sealed = seal.seal(JSON.stringify(content), aad(id));
    const parts = sealed.match(new RegExp(`.{1,${chunkBytes}}`, 'g')) ?? [];
    if (parts.length > maxChunks) {
      throw new BffError('session_too_large', 'the tokens of this account are too large to be kept in cookies', {
        detail: `sealed, they are ${sealed.length} bytes, of ${maxChunks * chunkBytes}; ask for fewer scopes or roles`,
      });
    }
    // How many there are stands in the first, so that one left over from a larger session is not taken for a part.
    const written = parts.map((part, at) => [chunkName(id, at), at === 0 ? `${parts.length}.${part}` : part] as const);
    const kept = new Set<string>(written.map(([name]) => name));
    return [
      ...written.map(([name, value]) => style.set(name, value)),
      ...chunksIn(cookies)
        .filter((name) => !kept.has(name))
        .map(style.remove),
    ];
  }

  return {
    read(cookies) {
      const id = cookies.get(nameCookie);
      if (id === undefined || !/^[\w-]{22}$/.test(id)) return undefined;
      const [, count, first] = /^(\d)\.(.*)$/.exec(cookies.get(chunkName(id, 0)) ?? '') ?? [];
      if (first === undefined) return undefined;
      const more = Math.max(Number(count) - 1, 0);
      const others = Array.from({ length: more }, (_, at) => cookies.get(chunkName(id, at + 1)));
      const text = seal.open([first, ...others].join(''), aad(id));
      return text === undefined ? undefined : { id, ...(JSON.parse(text) as Omit<CookieSession, 'id'>) };
    },
    write,
    begin: (session, cookies) => [style.set(nameCookie, session.id), ...write(session, cookies)],
    forget: (cookies) => chunksIn(cookies).map(style.remove),
    end: (cookies) => [...chunksIn(cookies), ...(cookies.has(nameCookie) ? [nameCookie] : [])].map(style.remove),
  };
}
