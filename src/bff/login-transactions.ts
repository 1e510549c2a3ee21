// Login transactions (RFC 6749 `state`, OIDC `nonce`, PKCE): what has to be remembered of a sign-in until the issuer sends
// the browser back. Each has a cookie of
// its own, named after its `state`, so that several tabs can sign in at once and none takes another's place.

import type { CookieStyle } from './cookies.ts';
import type { CookieSeal } from './seal.ts';
import type { RequestCookies } from './session.ts';

export interface LoginTransaction {
  /** Ties the answer to this browser (RFC 6749 §10.12). */
  readonly state: string;
  /** Ties the ID token to this transaction (OIDC Core §3.1.2.1). */
  readonly nonce: string;
  /** PKCE (RFC 7636). */
  readonly codeVerifier: string;
  /** Path to show afterwards. */
  readonly returnTo: string;
  /** Epoch milliseconds. */
  readonly begunAt: number;
}

export interface LoginTransactionCookies {
  /** Set-Cookie lines that remember `transaction`, and forget those that are too old or too many. */
  remember(transaction: LoginTransaction, cookies: RequestCookies): string[];
  find(state: string | null, cookies: RequestCookies): LoginTransaction | undefined;
  forget(transaction: LoginTransaction): string;
}

// As long as the issuer waits for the person.
const lifeSeconds = 3600;
// A browser that restores a dozen tabs begins a dozen sign-ins, but request headers have a limit.
const most = 6;

export function createLoginTransactionCookies(
  style: CookieStyle,
  seal: CookieSeal,
  now: () => number,
): LoginTransactionCookies {
  const prefix = `${style.prefix}-a-`;
  const nameOf = (state: string) => prefix + state.slice(0, 12);

  function read(name: string, value: string | undefined): LoginTransaction | undefined {
    const text = value === undefined ? undefined : seal.open(value, name);
    const transaction = text === undefined ? undefined : (JSON.parse(text) as LoginTransaction);
    return transaction && now() - transaction.begunAt < lifeSeconds * 1000 ? transaction : undefined;
  }

  return {
    remember(transaction, cookies) {
      const known = [...cookies].filter(([name]) => name.startsWith(prefix));
      const ages = known.map(([name, value]) => ({ name, begunAt: read(name, value)?.begunAt ?? 0 }));
      const kept = ages
        .filter(({ begunAt }) => begunAt > 0)
        .sort((a, b) => b.begunAt - a.begunAt)
        .slice(0, most - 1);
      const name = nameOf(transaction.state);
      // Lax, whatever the session has: the browser comes back from another site.
      const sealed = seal.seal(JSON.stringify(transaction), name);
      return [
        style.set(name, sealed, { sameSite: 'lax', maxAgeSeconds: lifeSeconds }),
        ...ages.filter((one) => !kept.includes(one)).map((one) => style.remove(one.name)),
      ];
    },
    find(state, cookies) {
      const name = nameOf(state ?? '');
      const transaction = read(name, cookies.get(name));
      return transaction?.state === state ? transaction : undefined;
    },
    forget: ({ state }) => style.remove(nameOf(state)),
  };
}
