// The redirect that answers a form or a return from elsewhere (303 See Other).

import type { Context } from 'koa';

/** The next request is a GET, whatever this one was (RFC 9110 §15.4.4). */
export function sendRedirect(ctx: Context, location: string): void {
  ctx.body = null;
  ctx.status = 303;
  ctx.set({ Location: location, 'Cache-Control': 'no-store' });
}
