// Koa: `app.use(bffRoutes(bff))`, then `app.use(proxyTo(bff, { … }))` before any body parser, then
// `app.use(protect(bff))`; the token is at `ctx.state.token`, where requireScope and requireRole of @signet-idp/verifier/koa
// look for it.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessToken } from '@signet-idp/verifier';
import type {} from '@signet-idp/verifier/koa'; // types ctx.state.token
import type { Bff } from './bff.ts';
import type { ProxyOptions } from './proxy.ts';

/** The part of a Koa context that is used. */
export interface BffContext {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly originalUrl: string;
  readonly state: { token?: AccessToken };
  respond?: boolean;
}

export type BffMiddleware = (ctx: BffContext, next: () => Promise<unknown>) => Promise<void>;

/** Answers the addresses under `/bff`. */
export function bffRoutes(bff: Bff): BffMiddleware {
  return unlessAnswered(({ req, res }) => bff.handle(req, res));
}

/** Goes on only with a session, whose access token it puts at `ctx.state.token`. */
export function protect(bff: Bff): BffMiddleware {
  return unlessAnswered(async (ctx) => {
    ctx.state.token = await bff.protect(ctx.req, ctx.res);
    return ctx.state.token === undefined;
  });
}

/** Passes requests under `from` on to an upstream, with the access token. */
export function proxyTo(bff: Bff, options: ProxyOptions): BffMiddleware {
  const pass = bff.proxyTo(options);
  return unlessAnswered(({ req, res }) => pass(req, res));
}

function unlessAnswered(answer: (ctx: BffContext) => Promise<boolean>): BffMiddleware {
  return async (ctx, next) => {
    (ctx.req as { originalUrl?: string }).originalUrl = ctx.originalUrl; // koa-mount shortens req.url
    if (await answer(ctx)) ctx.respond = false;
    else await next();
  };
}
