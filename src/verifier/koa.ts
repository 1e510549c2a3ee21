// Koa: `app.use(requireToken(verifier))`; the token is at `ctx.state.token`.

import type {} from 'koa'; // types only: the augmentation below needs them loaded
import type { AccessToken } from './claims.ts';
import {
  authenticator,
  type IncomingRequest,
  refusalFor,
  roleCheck,
  scopeCheck,
  type TokenOptions,
} from './request.ts';
import type { Verifier } from './verifier.ts';

declare module 'koa' {
  interface DefaultState {
    /** The verified access token. Only behind `requireToken`: elsewhere it is undefined, whatever the type says. */
    token: AccessToken;
  }
}

/** The part of a Koa context that is used. */
export interface TokenContext {
  readonly req: IncomingRequest;
  readonly state: { token?: AccessToken };
  status: number;
  body: unknown;
  set(headers: { [name: string]: string }): void;
}

export type TokenMiddleware = (ctx: TokenContext, next: () => Promise<unknown>) => Promise<void>;

/** Answers 401 (400, 503) unless the request has a valid access token, which it puts at `ctx.state.token`. */
export function requireToken(verifier: Verifier, options?: TokenOptions): TokenMiddleware {
  const authenticate = authenticator(verifier, options);
  return enforce(async (ctx) => {
    ctx.state.token = await authenticate(ctx.req);
  });
}

/** Answers 403 unless the token has every one of `scopes`. After `requireToken`. */
export function requireScope(...scopes: string[]): TokenMiddleware {
  const check = scopeCheck(scopes);
  return enforce((ctx) => check(ctx.state.token));
}

/** Answers 403 unless the person has every one of `roles`. After `requireToken`. */
export function requireRole(...roles: string[]): TokenMiddleware {
  const check = roleCheck(roles);
  return enforce((ctx) => check(ctx.state.token));
}

function enforce(check: (ctx: TokenContext) => void | Promise<void>): TokenMiddleware {
  return async (ctx, next) => {
    try {
      await check(ctx);
    } catch (error) {
      const { status, headers, body } = refusalFor(error);
      ctx.status = status;
      ctx.set(headers);
      ctx.body = body;
      return;
    }
    await next();
  };
}
