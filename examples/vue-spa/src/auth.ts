// Who is signed in, in this tab. Tokens live in memory and nowhere else, so every tab has its own, and a page that is
// loaded anew has none: it gets them from the session at the issuer, by a redirect that asks nobody anything.
// What is kept in the browser's storage: the PKCE verifier during a sign-in, and a mark that somebody is signed in.

import { ErrorResponse, InMemoryWebStorage, type User, UserManager, WebStorageStateStore } from 'oidc-client-ts';
import { readonly, shallowRef } from 'vue';
import { mark } from './mark.ts';
import { settingsFrom } from './settings.ts';

export type Session =
  | { status: 'opening' }
  | { status: 'signed-out'; notice?: string }
  | { status: 'signed-in'; name: string; email: string; roles: string[]; scopes: string[]; expiresAt: Date };

const current = shallowRef<Session>({ status: 'opening' });
export const session = readonly(current);

const { issuer, clientId, ordersAudience } = settingsFrom(import.meta.env);

const manager = new UserManager({
  authority: issuer,
  client_id: clientId,
  redirect_uri: `${location.origin}/callback`,
  post_logout_redirect_uri: `${location.origin}/signed-out`,
  scope: 'openid profile email roles orders:read orders:write',
  resource: ordersAudience,
  userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
  stateStore: new WebStorageStateStore({ store: window.sessionStorage }),
  automaticSilentRenew: false, // `renew` does it, so that a renewal by the clock and one by a call are the same one
  accessTokenExpiringNotificationTimeInSeconds: 30,
});

manager.events.addUserLoaded(showUser);
manager.events.addAccessTokenExpiring(
  () =>
    void renew().catch(() => {
      /* shown, or tried again by the next call */
    }),
);

mark.onChange(
  (subject) =>
    void manager.getUser().then((user) => {
      if (!user || user.profile.sub === subject) return;
      return forget(subject ? 'Another account signed in, in another tab.' : 'You signed out in another tab.');
    }),
);

// The back button may show this page as it was left, with whoever was signed in then.
addEventListener('pageshow', ({ persisted }) => persisted && location.reload());

/** Once, when the page is loaded. */
export async function openSession(): Promise<void> {
  if (location.pathname === '/callback') return finishSignIn();
  if (location.pathname === '/signed-out') {
    history.replaceState(null, '', '/');
    return signedOut('You are signed out.');
  }
  if (!mark.get()) return signedOut();
  // Of the whole page, not of an iframe: there the issuer's cookie is a third party's, which browsers withhold.
  await leaveTo(() => manager.signinRedirect({ prompt: 'none', state: here() }));
}

export async function signIn(): Promise<void> {
  await leaveTo(() => manager.signinRedirect({ state: here() }));
}

/** Here, in the other tabs, and at the issuer. */
export async function signOut(): Promise<void> {
  mark.set(undefined);
  await leaveTo(() => manager.signoutRedirect());
}

/** A token that is good for some seconds yet. @throws {Error} whose message may be shown */
export async function accessToken(): Promise<string> {
  const user = await manager.getUser();
  if (!user) throw new Error('You are not signed in.');
  if ((user.expires_in ?? 0) > 10) return user.access_token;
  return (await renew()).access_token;
}

let renewal: Promise<User> | undefined;

/** New tokens for the refresh token. Whoever asks while a renewal is under way waits for that one. */
export function renew(): Promise<User> {
  renewal ??= useRefreshToken().finally(() => {
    renewal = undefined;
  });
  return renewal;
}

async function useRefreshToken(): Promise<User> {
  try {
    const user = await manager.signinSilent();
    if (user) return user;
  } catch (error) {
    // Without an answer nothing is known: the tokens stay, and the next call tries again.
    if (!(error instanceof ErrorResponse)) throw new Error('The sign-in service cannot be reached.', { cause: error });
  }
  mark.set(undefined);
  await forget('Your session has ended. Please sign in again.');
  throw new Error('Your session has ended.');
}

async function finishSignIn(): Promise<void> {
  const url = location.href;
  history.replaceState(null, '', '/'); // the code is in the address: out of it, before anything else
  try {
    // Not another issuer's answer passed on to us (RFC 9207 §2.4); the library does not look.
    if (new URL(url).searchParams.get('iss') !== issuer) throw new Error('the answer is from another issuer');
    const user = await manager.signinRedirectCallback(url);
    mark.set(user.profile.sub);
    history.replaceState(null, '', String(user.state));
  } catch (error) {
    mark.set(undefined);
    signedOut(noticeFor(error));
  }
}

function noticeFor(error: unknown): string | undefined {
  const code = error instanceof ErrorResponse ? error.error : undefined;
  // The answers to prompt=none: nothing went wrong, there is just no session any more (OIDC Core §3.1.2.6).
  if (code === 'login_required' || code === 'interaction_required' || code === 'consent_required') return undefined;
  if (code === 'access_denied') return 'You cancelled the sign-in.';
  return 'The sign-in could not be completed. Please try again.';
}

async function leaveTo(navigate: () => Promise<void>): Promise<void> {
  current.value = { status: 'opening' };
  try {
    // Asked anew, past the cache: a redirect to an issuer that is down would end on the browser's error page.
    await fetch(`${issuer}/.well-known/openid-configuration`, { cache: 'no-cache' });
    await navigate();
  } catch {
    await forget('The sign-in service cannot be reached. Please try again in a moment.');
  }
}

async function forget(notice: string): Promise<void> {
  await manager.removeUser();
  signedOut(notice);
}

function signedOut(notice?: string): void {
  current.value = { status: 'signed-out', notice };
}

function showUser({ profile, scopes, expires_at: expiresAt = 0 }: User): void {
  const { name = '', email = '', roles } = profile;
  current.value = {
    status: 'signed-in',
    name,
    email,
    scopes,
    expiresAt: new Date(expiresAt * 1000),
    roles: Array.isArray(roles) ? roles.map(String) : [],
  };
}

const here = () => location.pathname + location.search;
