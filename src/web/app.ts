// The Koa application: what every request of ours passes, in this order, before it comes to the routes. The token endpoint
// alone does without (front.ts).

import Koa, { type Context, type Middleware } from 'koa';
import { clientAddress } from './address.ts';
import { createAssets } from './assets.ts';
import type { Branding } from './brand.ts';
import { answerMethods, endpoints, homeOf, plainTarget } from './endpoints.ts';
import { securityHeaders, sendPage } from './headers.ts';
import { type HealthParts, healthRoutes } from './health.ts';
import type { LinkTo, Pages } from './pages.ts';
import { requestId, requestOf } from './request.ts';

interface AppParts {
  /** Public URL of this server. */
  issuer: string;
  trustedProxies: readonly string[];
  hasEntra: boolean;
  branding: Branding;
  pages: Pick<Pages, 'home'>;
  health: HealthParts;
  /** Turns whatever is thrown further in into an answer. */
  answerErrors: Middleware;
  /** Where the home page leads. */
  homeLink(ctx: Context): Promise<LinkTo | undefined>;
}

export function createApp(parts: AppParts): Koa {
  const { issuer, trustedProxies, hasEntra, branding, pages, health, answerErrors, homeLink } = parts;
  const app = new Koa();
  app.silent = true;
  app.use(requestId());
  app.use(securityHeaders({ issuer }));
  app.use(answerErrors);
  app.use(plainTarget());
  app.use((ctx, next) => {
    requestOf(ctx).address = clientAddress(ctx.req, trustedProxies);
    return next();
  });
  app.use(answerMethods({ entra: hasEntra }));
  app.use(createAssets(branding).middleware);
  app.use(async (ctx, next) => {
    if (ctx.path !== endpoints.home.path) return next();
    return sendPage(ctx, pages.home({ ...homeOf(issuer), home: await homeLink(ctx) }));
  });
  app.use(healthRoutes(health));
  return app;
}
