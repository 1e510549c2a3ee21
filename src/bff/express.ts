// Express 4 and 5: `app.use(bffRoutes(bff))`, then `app.use(proxyTo(bff, { … }))` before any body parser, then
// `app.use(protect(bff))`; the token is at `req.token`, where requireScope and requireRole of @signet-idp/verifier/express
// look for it.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type {} from '@signet-idp/verifier/express'; // types req.token
import type { Bff } from './bff.ts';
import type { ProxyOptions } from './proxy.ts';

export type BffHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

/** Answers the addresses under `/bff`. */
export function bffRoutes(bff: Bff): BffHandler {
  return unlessAnswered(bff.handle);
}

/** Goes on only with a session, whose access token it puts at `req.token`. */
export function protect(bff: Bff): BffHandler {
  return unlessAnswered(async (req, res) => (await bff.protect(req, res)) === undefined);
}

/** Passes requests under `from` on to an upstream, with the access token. */
export function proxyTo(bff: Bff, options: ProxyOptions): BffHandler {
  return unlessAnswered(bff.proxyTo(options));
}

function unlessAnswered(answer: (req: IncomingMessage, res: ServerResponse) => Promise<boolean>): BffHandler {
  return (req, res, next) => {
    answer(req, res).then((answered) => answered || next(), next);
  };
}
