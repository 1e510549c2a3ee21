// Hands each request to one of two: the token endpoint, which is the busy one, needs of all that the others share only
// an id, an address and the headers, and is answered without a detour; everything else goes through Koa.

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { clientAddress } from './address.ts';
import { waitedSinceOpening } from './arrivals.ts';
import { endpoints } from './endpoints.ts';
import { protection } from './headers.ts';
import { nameRequest, type RequestState } from './request.ts';

interface FrontParts {
  issuer: string;
  trustedProxies: readonly string[];
  token(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<void>;
  everythingElse: RequestListener;
}

export function createFront({ issuer, trustedProxies, token, everythingElse }: FrontParts): RequestListener {
  const protect = protection({ issuer });
  return (req, res) => {
    const waited = waitedSinceOpening(req.socket);
    if (req.method !== 'POST' || req.url !== endpoints.token.path) return everythingElse(req, res);
    protect(res);
    const state = { requestId: nameRequest(res), address: clientAddress(req, trustedProxies), waited };
    token(req, res, state).catch(() => res.destroy()); // what can fail is answered inside
  };
}
