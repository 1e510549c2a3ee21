// RP-Initiated Logout 1.0 (§2): when a sign-out is asked about, when it is done at once, and where a person is after
// either answer. What the page says is issuer/pages.ts; what oidc-provider does after a yes, which is done here without
// one, is lib/actions/end_session.js.

import type { CookiesSetOptions, KoaContextWithOIDC } from 'oidc-provider';
import type { ProviderPages } from './pages.ts';

/** For `logoutSource`: asks, where it has to be asked. */
export async function signOutOrAsk(
  ctx: KoaContextWithOIDC,
  form: string,
  pages: Pick<ProviderPages, 'signOut' | 'asksUpstream'>,
  cookie: CookiesSetOptions,
): Promise<void> {
  // A prefetch is nobody's wish, and whoever is to choose where to be signed out has not chosen yet.
  const isOnlyLooking = ctx.method === 'HEAD' || ctx.get('Sec-Purpose').includes('prefetch');
  if (isOnlyLooking || !isProved(ctx) || pages.asksUpstream(ctx)) return pages.signOut(ctx, form);
  await signOutAtOnce(ctx, cookie);
}

// An ID token of this very session is proof that the application has it, and not merely an address that somebody was
// made to open. That the person wants it is the word of an application of ours; anybody else's does not end it for all.
function isProved(ctx: KoaContextWithOIDC): boolean {
  const { client, entities, session } = ctx.oidc;
  const { payload: hint } = (entities.IdTokenHint ?? {}) as { payload?: { sub?: string; sid?: string } };
  if (!client || !hint?.sid) return false;
  const { firstParty } = client.application;
  return firstParty && hint.sub === session?.accountId && hint.sid === session?.sidFor(client.clientId);
}

async function signOutAtOnce(ctx: KoaContextWithOIDC, cookie: CookiesSetOptions): Promise<void> {
  const { provider, params, session } = ctx.oidc;
  for (const { grantId, persistsLogout } of Object.values(session?.authorizations ?? {})) {
    if (grantId === undefined || persistsLogout) continue;
    const bound = [provider.AuthorizationCode, provider.RefreshToken];
    await Promise.all(bound.map((model) => model.revokeByGrantId(grantId)));
    await provider.Grant.adapter.destroy(grantId);
    provider.emit('grant.revoked', ctx, grantId);
  }
  await session?.destroy();
  ctx.cookies.set(provider.cookieName('session'), null, cookie);

  const { post_logout_redirect_uri: uri, state } = params as { post_logout_redirect_uri?: string; state?: string };
  const goingTo = new URL(uri ?? ctx.oidc.urlFor('end_session_success'));
  if (uri !== undefined && state !== undefined) goingTo.searchParams.set('state', state);
  provider.emit('end_session.success', ctx);
  ctx.state.signedOut = true;
  ctx.status = 303;
  ctx.redirect(goingTo.href);
  ctx.status = 303;
}

/**
 * Koa middleware around oidc-provider. Whoever stays signed in does not go to the application's page for whoever is signed
 * out; and our own page knows whose sign-out it was.
 */
export async function redirectAfterSignOut(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  await next();
  const { route, params, client } = ctx.oidc ?? {};
  const isConfirmed = route === 'end_session_confirm' && ctx.status === 303;
  if (!isConfirmed && !ctx.state.signedOut) return;
  const ours = ctx.oidc.urlFor('end_session_success');
  const stays = isConfirmed && !params?.logout;
  if (!stays && ctx.response.get('Location') !== ours) return;
  ctx.set('Location', client ? `${ours}?${new URLSearchParams({ client_id: client.clientId })}` : ours);
}
