// The JWKS (RFC 7517 §5) and the provider's metadata (RFC 8414 §3.2) as responses: how long they may be kept, whether
// they have changed, what is said where there are none, and who was given which keys. Koa middleware around
// oidc-provider; what it has answered once is kept, and answered before it from then on.

import type { IncomingMessage } from 'node:http';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { createDocument, type FindDocument, type StaticDocument } from '../web/document.ts';
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

type Layer = (ctx: KoaContextWithOIDC, next: () => Promise<void>) => Promise<void>;

interface MetadataParts {
  issuer: string;
  maxAgeSeconds: number;
  newestPreparedAt: number;
  jwksServed: ((fetch: JwksFetch) => void) | undefined;
}

/** Those of one Provider, which has one set of keys. */
export interface MetadataResponses {
  cacheMetadata: Layer;
  reportFetches: Layer;
  find: FindDocument;
}

export function createMetadataResponses(parts: MetadataParts): MetadataResponses {
  const { issuer, maxAgeSeconds, newestPreparedAt, jwksServed } = parts;
  const documents = new Map<string, StaticDocument>();

  // Keys were given with a body (200), or with word that those that somebody has are still current (304).
  function report(path: string, { method, headers }: IncomingMessage, address: string): void {
    if (path !== endpoints.jwks.path || method !== 'GET') return;
    jwksServed?.({ userAgent: headers['user-agent'] ?? '', address, newestPreparedAt });
  }

  return {
    // oidc-provider answers these from memory but says nothing of caching. The JWKS's max-age is a promise that key
    // rotation counts on (keys/lifecycle.ts), so it is the configured one and nothing else.
    async cacheMetadata(ctx, next) {
      await next();
      const { path } = ctx;
      if (!metadataPaths.has(path) || ctx.status !== 200 || ctx.method === 'OPTIONS') return;
      const type = ctx.response.get('Content-Type');
      const body = JSON.stringify(ctx.body);
      const etag = entityTag(body);
      ctx.body = body;
      ctx.set('Content-Type', type);
      ctx.set('Cache-Control', `public, max-age=${maxAgeSeconds}`);
      // What was asked in the plain way: a query is nothing to oidc-provider here, and need not be.
      if (ctx.req.url === path && !documents.has(path)) {
        const headers = { Vary: ctx.response.get('Vary'), 'Cache-Control': ctx.response.get('Cache-Control') };
        documents.set(
          path,
          createDocument({
            issuer,
            body,
            etag,
            headers,
            contentHeaders: { 'Content-Type': type },
            allowOrigin: (origin) => origin || '*', // as oidc-provider has it
            onServed: (req, address) => report(path, req, address),
          }),
        );
      }
      isNotModified(ctx, etag);
    },

    async reportFetches(ctx, next) {
      await next();
      if (ctx.status === 200 || ctx.status === 304) report(ctx.path, ctx.req, requestOf(ctx).address);
    },

    find: ({ url }) => documents.get(url!),
  };
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
