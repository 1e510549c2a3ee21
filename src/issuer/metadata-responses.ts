// At the JWKS there are keys or no JSON: one library takes the document of an error for a set without keys and caches
// it.

import type { Context } from 'koa';
import { endpoints } from '../web/endpoints.ts';
import { retryAfter } from '../web/failed-request.ts';

export async function answerJwksFailure(ctx: Context, next: () => Promise<void>): Promise<void> {
  await next();
  if (ctx.path !== endpoints.jwks.path || ctx.status < 500) return;
  ctx.status = 503;
  ctx.type = 'text/plain; charset=utf-8';
  ctx.set('Retry-After', retryAfter);
  ctx.body = 'The keys cannot be served at the moment. Those that you have are still good.\n';
}
