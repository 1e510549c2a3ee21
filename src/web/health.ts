// What is told to whoever watches over the server: /health/live, that it answers; /health/ready, that it can serve.
// Anybody may ask, as often as they like: so the database is asked once a second at most (database/outages.ts), and
// nothing is told that helps a stranger.

import type { Context, Middleware } from 'koa';
import { endpoints } from './endpoints.ts';

export interface HealthParts {
  /** Whether a write works: what is there and takes no writes is of no use. It asks once a second at most. */
  database: () => Promise<boolean>;
  keys: () => { ok: boolean; failure?: unknown; clockOffset?: unknown };
  /** Whether the server is on its way out: whoever hands requests on should look for another one. */
  isStopping?: () => boolean;
  /** Whether our clock is near enough to the database's. Where it is not, the server serves, and somebody should look. */
  clockAgrees?: () => boolean;
  /** Of signing in with Microsoft. Without it much goes on, so it never makes this server unready. */
  entra?: (() => { state: string }) | undefined;
}

export function healthRoutes(parts: HealthParts): Middleware {
  const { database, keys, isStopping = () => false, clockAgrees = () => true, entra } = parts;
  return async (ctx, next) => {
    if (ctx.path === endpoints.live.path) return answer(ctx, true, {});
    if (ctx.path !== endpoints.ready.path) return next();
    if (isStopping()) return answer(ctx, false, { status: 'stopping' });
    const { ok, failure, clockOffset } = keys();
    const writes = await database();
    return answer(ctx, ok && writes, {
      ...(ok && writes && !clockAgrees() && { status: 'degraded' }),
      database: writes ? 'ok' : 'unavailable',
      keys: { ok, failure, clockOffset },
      ...(entra && { entra: { state: entra().state } }),
    });
  };
}

function answer(ctx: Context, ok: boolean, detail: object): void {
  ctx.status = ok ? 200 : 503;
  ctx.set('Cache-Control', 'no-store');
  ctx.body = { status: ok ? 'ok' : 'degraded', ...detail };
}
