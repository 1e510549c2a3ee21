// Fastify 4 and 5: `{ onRequest: [requireToken(verifier), requireScope('orders:read')] }`; the token is at
// `request.token`.

import type {} from 'fastify'; // types only: the augmentation below needs them loaded
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

declare module 'fastify' {
  interface FastifyRequest {
    /** The verified access token. Only behind `requireToken`: elsewhere it is undefined, whatever the type says. */
    token: AccessToken;
  }
}

/** The parts of a Fastify request and reply that are used. */
export interface TokenHookRequest {
  readonly raw: IncomingRequest;
  token?: AccessToken;
}
export interface TokenReply {
  code(status: number): this;
  headers(values: Record<string, string>): this;
  send(body: unknown): this;
}

export type TokenHook = (request: TokenHookRequest, reply: TokenReply) => Promise<unknown>;

/** Answers 401 (400, 503) unless the request has a valid access token, which it puts at `request.token`. */
export function requireToken(verifier: Verifier, options?: TokenOptions): TokenHook {
  const authenticate = authenticator(verifier, options);
  return enforce(async (request) => {
    request.token = await authenticate(request.raw);
  });
}

/** Answers 403 unless the token has every one of `scopes`. After `requireToken`. */
export function requireScope(...scopes: string[]): TokenHook {
  const check = scopeCheck(scopes);
  return enforce((request) => check(request.token));
}

/** Answers 403 unless the person has every one of `roles`. After `requireToken`. */
export function requireRole(...roles: string[]): TokenHook {
  const check = roleCheck(roles);
  return enforce((request) => check(request.token));
}

function enforce(check: (request: TokenHookRequest) => void | Promise<void>): TokenHook {
  return async (request, reply) => {
    try {
      await check(request);
    } catch (error) {
      const { status, headers, body } = refusalFor(error);
      return reply.code(status).headers(headers).send(body);
    }
    return undefined;
  };
}
