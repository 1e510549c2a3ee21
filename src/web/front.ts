// Hands each request to one of three. The token endpoint, which is the busy one, needs of all that the others share only an
// id, an address and the headers. What is the same for everybody (document.ts) needs less. Everything else goes through Koa.

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { clientAddress } from './address.ts';
import { waitedSinceOpening } from './arrivals.ts';
import { type FindDocument, sendDocument } from './document.ts';
import { endpoints } from './endpoints.ts';
import { newRequestId, type RequestState } from './request.ts';

interface FrontParts {
  trustedProxies: readonly string[];
  /** Sets the headers of every answer itself. */
  token(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<void>;
  documents: readonly FindDocument[];
  everythingElse: RequestListener;
}

export function createFront(parts: FrontParts): RequestListener {
  const { trustedProxies, token, documents, everythingElse } = parts;
  return (req, res) => {
    const waited = waitedSinceOpening(req.socket);
    if (req.method === 'POST' && req.url === endpoints.token.path) {
      const state = { requestId: newRequestId(), address: clientAddress(req, trustedProxies), waited };
      token(req, res, state).catch(() => res.destroy()); // what can fail is answered inside
      return;
    }
    if (!answerDocument(req, res)) everythingElse(req, res);
  };

  function answerDocument(req: IncomingMessage, res: ServerResponse): boolean {
    if (req.method !== 'GET' && req.method !== 'HEAD') return false;
    try {
      for (const find of documents) {
        const document = find(req);
        if (!document) continue;
        document.onServed?.(req, clientAddress(req, trustedProxies));
        sendDocument(req, res, document);
        return true;
      }
    } catch {
      // Where it is answered in full, the same fails again, and has its answer and its line in the log.
    }
    return false;
  }
}
