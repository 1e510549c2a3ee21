// `response_mode=form_post` (OAuth 2.0 Form Post Response Mode), and other pages with nothing to decide: the sign-out
// of somebody who is not signed in, and the end of one person's session where another one signs in. oidc-provider's own
// page for these (lib/response_modes/form_post.js) is bare and has an inline script: its form goes into a page of ours.

import type { KoaContextWithOIDC } from 'oidc-provider';
import type { ProviderPages } from './pages.ts';

const theirs = /<title>Submitting Callback<\/title>.*<form method="post" action="([^"]*)">\s*(.*?)\s*<noscript>/s;

/** Koa middleware around oidc-provider. */
export async function showFormPost(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
  pages: Pick<ProviderPages, 'goOn'>,
): Promise<void> {
  await next();
  const [, action, fields] = theirs.exec(typeof ctx.body === 'string' ? ctx.body : '') ?? [];
  if (action === undefined || fields === undefined) return;
  const { params, entities, session } = ctx.oidc;
  const { postLogoutRedirectUri } = (session?.state ?? {}) as { postLogoutRedirectUri?: string };
  const leadsTo = params?.redirect_uri ?? entities.Interaction?.params.redirect_uri ?? postLogoutRedirectUri;
  pages.goOn(ctx, { action, fields }, leadsTo as string | undefined);
}
