// CORS (Fetch §3.2) for one application: its pages may read our answers, also refusals. No cookie is involved, so none
// is allowed.

import type { Middleware } from 'koa';

export function allowOrigin(origin: string): Middleware {
  return async (ctx, next) => {
    ctx.vary('Origin');
    if (ctx.get('Origin') !== origin) return next();
    ctx.set('Access-Control-Allow-Origin', origin);
    ctx.set('Access-Control-Expose-Headers', 'WWW-Authenticate');
    if (ctx.method !== 'OPTIONS') return next();
    ctx.set('Access-Control-Allow-Methods', 'GET, POST');
    ctx.set('Access-Control-Allow-Headers', 'Authorization');
    ctx.set('Access-Control-Max-Age', '600');
    ctx.status = 204;
  };
}
