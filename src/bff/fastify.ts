// Fastify 4 and 5: `app.addHook('onRequest', bffRoutes(bff))`, another with `proxyTo(bff, { … })`, and
// `{ onRequest: protect(bff) }` on routes; the token is at `request.token`, where requireScope and requireRole of
// @signet-idp/verifier/fastify look for it. As onRequest hooks they run before a body is parsed.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessToken } from '@signet-idp/verifier';
import type {} from '@signet-idp/verifier/fastify'; // types request.token
import type { Bff } from './bff.ts';
import type { ProxyOptions } from './proxy.ts';

/** The parts of a Fastify request and reply that are used. */
export interface BffRequest {
  readonly raw: IncomingMessage;
  token?: AccessToken;
}
export interface BffReply {
  readonly raw: ServerResponse;
  hijack(): unknown;
}

export type BffHook = (request: BffRequest, reply: BffReply) => Promise<unknown>;

/** Answers the addresses under `/bff`. */
export function bffRoutes(bff: Bff): BffHook {
  return unlessAnswered(({ raw }, reply) => bff.handle(raw, reply.raw));
}

/** Goes on only with a session, whose access token it puts at `request.token`. */
export function protect(bff: Bff): BffHook {
  return unlessAnswered(async (request, reply) => {
    request.token = await bff.protect(request.raw, reply.raw);
    return request.token === undefined;
  });
}

/** Passes requests under `from` on to an upstream, with the access token. */
export function proxyTo(bff: Bff, options: ProxyOptions): BffHook {
  const pass = bff.proxyTo(options);
  return unlessAnswered(({ raw }, reply) => pass(raw, reply.raw));
}

function unlessAnswered(answer: (request: BffRequest, reply: BffReply) => Promise<boolean>): BffHook {
  return async (request, reply) => {
    if (!(await answer(request, reply))) return undefined;
    reply.hijack();
    return reply;
  };
}
