// The session at an upstream OpenID provider, on which sessions and grants here rest: they carry its id as `upstream`.
// Whether it still holds, entra/ knows and server.ts introduces; here is where it is asked, and what ends with it.

import { errors, type KoaContextWithOIDC } from 'oidc-provider';

export interface UpstreamProvider {
  /** unknown: it cannot be learnt at the moment, and has not been for too long. */
  statusOf(upstream: string): Promise<'holds' | 'ended' | 'unknown'>;
  /** Where a browser goes first after a sign-out; undefined: where it was going anyway. */
  afterSignOut(ctx: KoaContextWithOIDC, signedOut: SignedOut): Promise<string | undefined>;
}

export interface SignedOut {
  upstream: string;
  /** Whether the person asked to be signed out there, too. */
  everywhere: boolean;
  goingTo: string;
}

/** What of oidc-provider's sessions and grants is ours. */
export interface UpstreamBound {
  upstream?: string;
}

/**
 * Whether the person of a request may be looked up: asked when a token is refreshed, and when a session is used for
 * another sign-in. A sign-in that is just being finished is its own answer.
 * @throws temporarily_unavailable (503) where a refresh may succeed later
 */
export async function isUpstreamActive(
  ctx: KoaContextWithOIDC,
  token: unknown,
  upstream?: UpstreamProvider,
): Promise<boolean> {
  const reference = referenceBehind(ctx, token);
  if (!upstream || reference === undefined) return true;
  const status = await upstream.statusOf(reference);
  if (status === 'unknown' && ctx.oidc.route === 'token') throw notNow();
  return status === 'holds';
}

function referenceBehind({ oidc }: KoaContextWithOIDC, token: unknown): string | undefined {
  const { entities, result, route } = oidc;
  if (route !== 'token') return result?.login ? undefined : entities.Session?.upstream;
  const isRefresh = (token as { kind?: string } | undefined)?.kind === 'RefreshToken';
  return isRefresh ? entities.Grant?.upstream : undefined;
}

// Not invalid_grant: a client forgets its refresh token at that.
function notNow(): Error {
  return Object.assign(new errors.OIDCProviderError(503, 'temporarily_unavailable'), {
    expose: true,
    error_description: 'the identity provider behind this sign-in cannot be reached; try again later',
  });
}

/** Koa middleware: a person who signs out here is sent on to sign out there, where that is wanted. */
export async function signOutUpstream(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
  issuer: string,
  upstream?: UpstreamProvider,
): Promise<void> {
  await next();
  const { route, params, session } = ctx.oidc ?? {};
  const isConfirmed = route === 'end_session_confirm' && ctx.status === 303 && Boolean(params?.logout);
  if (!upstream || !(isConfirmed || ctx.state.signedOut)) return;
  const sessionId = session?.upstream;
  const goingTo = ctx.response.get('Location');
  // On the way to a sign-in as somebody else, a session ends as well. That is nobody's sign-out.
  if (sessionId === undefined || goingTo.startsWith(`${issuer}/auth/`)) return;
  const first = await upstream.afterSignOut(ctx, {
    upstream: sessionId,
    everywhere: params?.logout === 'everywhere',
    goingTo,
  });
  if (first !== undefined) ctx.set('Location', first);
}
