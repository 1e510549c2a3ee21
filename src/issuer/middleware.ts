// Koa middleware around oidc-provider, outermost first: what it answers is corrected, counted, noted and put into pages
// of ours on its way out.

import type { Middleware } from 'koa';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { endpoints } from '../web/endpoints.ts';
import type { IssuerDependencies } from './dependencies.ts';
import { answerFailure, answerUnknownPath, explainLargeBody, noteLargeBody } from './error-responses.ts';
import { auditProvider } from './events.ts';
import { showFormPost } from './form-post.ts';
import { ignoreUnverifiedHint } from './id-token-hint.ts';
import { answerJwksFailure, type MetadataResponses } from './metadata-responses.ts';
import type { ProviderRefresh } from './provider-refresh.ts';
import { redirectAfterSignOut } from './sign-out.ts';
import type { TokenFormats } from './tokens.ts';
import { signOutUpstream } from './upstream-session.ts';

type Layer = (ctx: KoaContextWithOIDC, next: () => Promise<void>) => Promise<void>;

interface MiddlewareParts extends Pick<IssuerDependencies, 'config' | 'audit' | 'log' | 'pages' | 'upstream'> {
  refresh: Pick<ProviderRefresh, 'settle'>;
  formats: TokenFormats;
  metadata: Pick<MetadataResponses, 'cacheMetadata' | 'reportFetches'>;
}

export function useMiddleware(provider: Provider, parts: MiddlewareParts): void {
  const { config, audit, log, pages, upstream, refresh, formats, metadata } = parts;
  const use = (layer: Layer) => provider.use(layer as unknown as Middleware);
  // For what has nothing to do with the busy endpoint, where each costs a turn.
  const useBesideTokens = (layer: Layer) =>
    use((ctx, next) => (ctx.path === endpoints.token.path && ctx.method === 'POST' ? next() : layer(ctx, next)));

  use(answerJwksFailure);
  use((ctx, next) => answerFailure(ctx, next, pages));
  auditProvider(provider, audit, log);
  use((ctx, next) => explainLargeBody(ctx, next, pages));
  provider.on('grant.error', noteLargeBody);
  use(refresh.settle);
  useBesideTokens((ctx, next) => signOutUpstream(ctx, next, config.issuer, upstream));
  useBesideTokens(redirectAfterSignOut);
  useBesideTokens(metadata.reportFetches);
  useBesideTokens(metadata.cacheMetadata);
  useBesideTokens((ctx, next) => answerUnknownPath(ctx, next, pages));
  useBesideTokens((ctx, next) => showFormPost(ctx, next, pages));
  useBesideTokens((ctx, next) => ignoreUnverifiedHint(ctx, next, { provider, formats }));
}
