// `id_token_hint` at the authorization and the end-session endpoint. A hint that cannot be verified is as good as none:
// its key was revoked or is gone, its application is, it is garbage or somebody else's. OIDC Core §3.1.2.1 has it as a
// hint, and RP-Initiated Logout §2 lets the person decide without one. oidc-provider would refuse the whole request.

import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { endpoints } from '../web/endpoints.ts';
import type { TokenFormats } from './tokens.ts';

interface HintParts {
  provider: Provider;
  formats: Pick<TokenFormats, 'openIdToken'>;
}

const { authorization, end_session: endSession } = endpoints;

/** Koa middleware around oidc-provider. */
export async function ignoreUnverifiedHint(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
  { provider, formats }: HintParts,
): Promise<void> {
  const { id_token_hint: hint, ...others } = ctx.query;
  if (hint !== undefined && (ctx.path === authorization.path || ctx.path === endSession.path)) {
    // Sent twice, it is none of two: that is refused further in.
    const named = typeof hint === 'string' ? await formats.openIdToken(hint) : undefined;
    const isForIt = ctx.path === endSession.path || named?.aud === others.client_id;
    const isGood = named && isForIt && (await provider.Client.find(named.aud));
    if (typeof hint === 'string' && !isGood) ctx.query = others;
  }
  return next();
}
