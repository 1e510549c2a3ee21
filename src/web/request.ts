// An HTTP request as all of our code knows it: its id, and the state that a Koa context carries with it. Its address is
// in address.ts, its body in body.ts, its cookies in cookies.ts.

import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Middleware } from 'koa';

/** What a request carries from the outer application into oidc-provider's own context. */
export interface RequestState {
  requestId: string;
  address: string;
  /** The sign-in that is meant, where the path does not name it. */
  signIn?: string;
  /** Whether the person chose a password in this request. */
  passwordSaved?: boolean;
  /** Milliseconds since its connection was opened, where this is the first request on it. */
  waited?: number;
}

/** The state of a request of ours; oidc-provider's context of the same request has it, too. */
export function requestOf({ state }: { state: object }): RequestState {
  return state as RequestState;
}

/**
 * Gives each request a name of our own, at `ctx.state.requestId` and in the answer. One sent by the client is ignored:
 * it could be made to match somebody else's line in the log.
 */
export function requestId(): Middleware {
  return (ctx, next) => {
    requestOf(ctx).requestId = nameRequest(ctx.res);
    return next();
  };
}

function nameRequest(res: ServerResponse): string {
  const id = newRequestId();
  res.setHeader('X-Request-Id', id);
  return id;
}

export function newRequestId(): string {
  // 64 random bits in hexadecimal: short enough to be read out over the telephone. Node keeps UUIDs in stock.
  const uuid = randomUUID();
  return uuid.slice(0, 8) + uuid.slice(28);
}
