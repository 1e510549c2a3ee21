// A sign-in under way: what has to be remembered until the issuer sends the browser back. Each attempt has a cookie of
// its own, named after its `state`, so that several tabs can sign in at once and none takes another's place.

import type { CookieStyle } from './cookies.ts';
import type { CookieSeal } from './seal.ts';
import type { Cookies } from './session.ts';

export interface Attempt {
  /** Ties the answer to this browser (RFC 6749 §10.12). */
  readonly state: string;
  /** Ties the ID token to this attempt (OIDC Core §3.1.2.1). */
  readonly nonce: string;
  /** PKCE (RFC 7636). */
  readonly codeVerifier: string;
  /** Path to show afterwards. */
  readonly returnTo: string;
  /** Epoch milliseconds. */
  readonly begunAt: number;
}

export interface AttemptCookies {
  /** Set-Cookie lines that remember `attempt`, and forget those that are too old or too many. */
  remember(attempt: Attempt, cookies: Cookies): string[];
  find(state: string | null, cookies: Cookies): Attempt | undefined;
  forget(attempt: Attempt): string;
}

// As long as the issuer waits for the person.
const lifeSeconds = 3600;
// A browser that restores a dozen tabs begins a dozen sign-ins, but request headers have a limit.
const most = 6;

export function createAttemptCookies(style: CookieStyle, seal: CookieSeal, now: () => number): AttemptCookies {
  const prefix = `${style.prefix}-a-`;
  const nameOf = (state: string) => prefix + state.slice(0, 12);

  function read(name: string, value: string | undefined): Attempt | undefined {
    const text = value === undefined ? undefined : seal.open(value, name);
    const attempt = text === undefined ? undefined : (JSON.parse(text) as Attempt);
    return attempt && now() - attempt.begunAt < lifeSeconds * 1000 ? attempt : undefined;
  }

  return {
    remember(attempt, cookies) {
      const known = [...cookies].filter(([name]) => name.startsWith(prefix));
      const ages = known.map(([name, value]) => ({ name, begunAt: read(name, value)?.begunAt ?? 0 }));
      const kept = ages
        .filter(({ begunAt }) => begunAt > 0)
        .sort((a, b) => b.begunAt - a.begunAt)
        .slice(0, most - 1);
      const name = nameOf(attempt.state);
      // Lax, whatever the session has: the browser comes back from another site.
      const sealed = seal.seal(JSON.stringify(attempt), name);
      return [
        style.set(name, sealed, { sameSite: 'lax', maxAgeSeconds: lifeSeconds }),
        ...ages.filter((one) => !kept.includes(one)).map((one) => style.remove(one.name)),
      ];
    },
    find(state, cookies) {
      const name = nameOf(state ?? '');
      const attempt = read(name, cookies.get(name));
      return attempt?.state === state ? attempt : undefined;
    },
    forget: ({ state }) => style.remove(nameOf(state)),
  };
}
