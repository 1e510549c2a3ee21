// Who is signed in, in this tab. No token comes here: the application's server has them, and says who it is.

import { readonly, shallowRef } from 'vue';

export type Session =
  | { status: 'opening' }
  | { status: 'signed-out'; notice?: string }
  | { status: 'signed-in'; name: string; email: string; roles: string[]; scopes: string[]; expiresAt: Date };

const current = shallowRef<Session>({ status: 'opening' });
export const session = readonly(current);

const tabs = new BroadcastChannel('session');
tabs.onmessage = () => signedOut('You signed out in another tab.');

// The back button may show this page as it was left, with whoever was signed in then.
addEventListener('pageshow', ({ persisted }) => persisted && location.reload());

/** Once, when the page is loaded, and whenever it should be known anew. */
export async function openSession(): Promise<void> {
  try {
    const response = await ask('/bff/user');
    if (!response.ok) return signedOut('The sign-in service cannot be reached. Please try again in a moment.');
    const { user, scopes, expiresAt } = await response.json();
    if (!user) return signedOut(takeNotice());
    const { name = '', email = '', roles = [] } = user;
    current.value = { status: 'signed-in', name, email, roles, scopes, expiresAt: new Date(expiresAt) };
  } catch {
    signedOut('The application cannot be reached. Please try again in a moment.');
  }
}

export function signIn(): void {
  location.assign(`/bff/sign-in?${new URLSearchParams({ returnTo: location.pathname + location.search })}`);
}

/** Here, in the other tabs, and at the issuer. */
export async function signOut(): Promise<void> {
  const response = await ask('/bff/sign-out', 'POST');
  tabs.postMessage('signed out');
  location.assign((await response.json()).location);
}

/** With the header that tells our own requests from those that another site caused. */
export function ask(path: string, method = 'GET'): Promise<Response> {
  return fetch(path, { method, headers: { 'X-Signet-CSRF': '1' } });
}

export function signedOut(notice?: string): void {
  current.value = { status: 'signed-out', notice };
}

/** Why nobody is signed in, where the address says so. */
function takeNotice(): string | undefined {
  if (location.pathname !== '/signed-out') return undefined;
  const cancelled = new URLSearchParams(location.search).get('sign-in') === 'cancelled';
  history.replaceState(null, '', '/');
  return cancelled ? 'You cancelled the sign-in.' : 'You are signed out.';
}
