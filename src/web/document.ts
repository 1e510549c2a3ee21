// Representations that are the same for everybody (RFC 9110 §3.2): what the answer to a plain GET or HEAD takes is made
// once, and is sent by the front (front.ts), before Koa. What is kept, and for how long, whoever publishes it knows.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { matchesTag } from './etag.ts';
import { headersOfEveryAnswer } from './headers.ts';
import { newRequestId } from './request.ts';

export interface StaticDocument {
  etag: string | undefined;
  /** Names and values in turn, as writeHead takes them. */
  headers: readonly string[];
  /** Those of a 304, which has no content to describe. */
  headersNotModified: readonly string[];
  body: string | Buffer;
  /** Access-Control-Allow-Origin for whoever asks from `origin`; pages of all origins may read it, in one way or another. */
  allowOrigin: (origin: string | undefined) => string;
  /** Called before it is sent, also where only word is sent that it has not changed. */
  onServed: ((req: IncomingMessage, address: string) => void) | undefined;
}

/** The document that a request asks for in the plain way; undefined where somebody has to look closer. */
export type FindDocument = (req: IncomingMessage) => StaticDocument | undefined;

interface DocumentParts {
  issuer: string;
  body: string | Buffer;
  etag?: string | undefined;
  headers: Readonly<Record<string, string>>;
  /** What describes the content (RFC 9110 §8.3), beside its length. */
  contentHeaders: Readonly<Record<string, string>>;
  allowOrigin?: StaticDocument['allowOrigin'];
  onServed?: StaticDocument['onServed'];
}

// One string with the headers is one write, and one copy: up to this size that is cheaper than two pieces.
const longestString = 16_384;

export function createDocument(parts: DocumentParts): StaticDocument {
  const { issuer, body, etag, headers, contentHeaders, allowOrigin = () => '*', onServed } = parts;
  const bytes = Buffer.from(body);
  const always = flat({ ...headersOfEveryAnswer({ issuer }), ...headers, ...(etag !== undefined && { ETag: etag }) });
  return {
    etag,
    headers: [...always, ...flat({ ...contentHeaders, 'Content-Length': String(bytes.length) })],
    headersNotModified: always,
    // Of one byte a character, as it is sent (below).
    body: typeof body === 'string' && body.length === bytes.length && bytes.length <= longestString ? body : bytes,
    allowOrigin,
    onServed,
  };
}

const flat = (headers: object): string[] => Object.entries(headers).flat() as string[];

/** Answers a GET or a HEAD. */
export function sendDocument(
  { method, headers: asked }: IncomingMessage,
  res: ServerResponse,
  { etag, headers, headersNotModified, body, allowOrigin }: StaticDocument,
): void {
  const own = ['X-Request-Id', newRequestId(), 'Access-Control-Allow-Origin', allowOrigin(asked.origin)];
  if (etag !== undefined && matchesTag(asked['if-none-match'] ?? '', etag)) {
    res.writeHead(304, [...own, ...headersNotModified]).end();
    return;
  }
  res.writeHead(200, [...own, ...headers]);
  if (method === 'HEAD') res.end();
  else res.end(body, 'latin1');
}
