// The JWKS (RFC 7517 §5) and the provider's metadata (RFC 8414 §3.2) as responses: how long they may be kept, whether
// they have changed, what is said where there are none, and who was given which keys. Koa middleware around
// oidc-provider.

import type { KoaContextWithOIDC } from 'oidc-provider';
import { endpoints } from '../web/endpoints.ts';
import { entityTag, isNotModified } from '../web/etag.ts';
import { retryAfter } from '../web/failed-request.ts';
import { requestOf } from '../web/request.ts';

/** Who was given which keys. */
export interface JwksFetch {
  userAgent: string;
  address: string;
  newestPreparedAt: number;
}

const metadataPaths = new Set<string>([
  endpoints.jwks.path,
  endpoints.openid_configuration.path,
  endpoints.oauth_metadata.path,
]);

// oidc-provider answers these from memory but says nothing of caching. The JWKS's max-age is a promise that key
// rotation counts on (keys/lifecycle.ts), so it is the configured one and nothing else.
export async function cacheMetadata(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
  maxAgeSeconds: number,
): Promise<void> {
  await next();
  if (!metadataPaths.has(ctx.path) || ctx.status !== 200 || ctx.method === 'OPTIONS') return;
  const type = ctx.response.get('Content-Type');
  const body = JSON.stringify(ctx.body);
  ctx.body = body;
  ctx.set('Content-Type', type);
  ctx.set('Cache-Control', `public, max-age=${maxAgeSeconds}`);
  isNotModified(ctx, entityTag(body));
}

/** At the JWKS there are keys or no JSON: one library takes the document of an error for a set without keys and caches it. */
export async function answerJwksFailure(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  await next();
  if (ctx.path !== endpoints.jwks.path || ctx.status < 500) return;
  ctx.status = 503;
  ctx.type = 'text/plain; charset=utf-8';
  ctx.set('Retry-After', retryAfter);
  ctx.body = 'The keys cannot be served at the moment. Those that you have are still good.\n';
}

/** Keys were given with a body (200), or with word that those that somebody has are still current (304). */
export async function reportFetches(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
  report: ((fetch: JwksFetch) => void) | undefined,
  newestPreparedAt: number,
): Promise<void> {
  await next();
  if (ctx.path !== endpoints.jwks.path || ctx.method !== 'GET' || (ctx.status !== 200 && ctx.status !== 304)) return;
  report?.({ userAgent: ctx.get('User-Agent'), address: requestOf(ctx).address, newestPreparedAt });
}
