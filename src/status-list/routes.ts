// Where status lists are public: GET /status-lists/<number>, and GET /status-lists for which there are (Token Status
// List draft §8 and §9.3). From memory, for everybody and from every origin: a list tells bits, and not of whom.

import type { Context, Middleware } from 'koa';
import { createDocument, type FindDocument, type StaticDocument } from '../web/document.ts';
import { isNotModified } from '../web/etag.ts';
import { aggregationPath, type SignedList, type StatusListPublisher, statusListType } from './lists.ts';

const mediaType = `application/${statusListType}`;
const paths = new RegExp(`^${aggregationPath}(?:/([1-9]\\d{0,8}))?$`);

export function statusListRoutes(lists: StatusListPublisher, ttl: number, now: () => number = Date.now): Middleware {
  return async (ctx, next) => {
    const asked = paths.exec(ctx.path);
    if (!asked) return next();
    ctx.set('Access-Control-Allow-Origin', '*');
    if (ctx.method === 'OPTIONS') return allowOrigins(ctx);
    if (asked[1] !== undefined) return answerList(ctx, Number(asked[1]));
    ctx.set('Cache-Control', cacheControl(ttl));
    ctx.body = aggregationOf(lists);
  };

  async function answerList(ctx: Context, number: number): Promise<void> {
    if (ctx.query.time !== undefined) {
      return refuse(ctx, 501, 'not_implemented', 'only the present status is kept'); // §8.4
    }
    if (!ctx.accepts(mediaType)) return refuse(ctx, 406, 'not_acceptable', `a status list is ${mediaType}`);
    const signed = await lists.find(number);
    if (!signed) {
      if (!lists.has(number)) return refuse(ctx, 404, 'not_found', 'there is no such status list');
      ctx.set('Retry-After', String(ttl));
      return refuse(ctx, 503, 'temporarily_unavailable', 'the last list has expired, and no newer one can be made now');
    }
    // Never longer than the list itself may be believed, so that no cache hands out an expired one.
    ctx.set('Cache-Control', cacheControl(Math.max(0, Math.min(ttl, secondsLeft(signed, now())))));
    ctx.vary('Accept-Encoding');
    ctx.set('Content-Type', mediaType);
    if (isNotModified(ctx, signed.etag)) return;
    const gzipped = ctx.acceptsEncodings('gzip', 'identity') === 'gzip';
    if (gzipped) ctx.set('Content-Encoding', 'gzip');
    ctx.body = gzipped ? signed.gzipped : signed.token;
    ctx.set('Content-Type', mediaType);
  }
}

interface StatusListDocumentsParts {
  lists: Pick<StatusListPublisher, 'current' | 'numbers' | 'uriOf'>;
  issuer: string;
  ttl: number;
  now(): number;
}

/** The same for the plain requests of verifiers: what they accept is said in a word, and the list may be kept as long as all. */
export function statusListDocuments({ lists, issuer, ttl, now }: StatusListDocumentsParts): FindDocument {
  const encodings = new WeakMap<SignedList, Record<'identity' | 'gzip', StaticDocument>>();
  let aggregation: { numbers: string; document: StaticDocument } | undefined;

  return ({ url, headers }) => {
    if (!url!.startsWith(aggregationPath)) return undefined;
    const asked = paths.exec(url!);
    if (!asked) return undefined;
    if (asked[1] === undefined) return aggregated();
    if (!plainlyAccepted.has(headers.accept)) return undefined;
    const encoding = plainEncoding(headers['accept-encoding']);
    const signed = encoding && lists.current(Number(asked[1]));
    if (!signed || secondsLeft(signed, now()) < ttl) return undefined;
    let found = encodings.get(signed);
    if (!found) encodings.set(signed, (found = documentsOf(signed)));
    return found[encoding];
  };

  function documentsOf({ token, gzipped, etag }: SignedList): Record<'identity' | 'gzip', StaticDocument> {
    const headers = { 'Cache-Control': cacheControl(ttl), Vary: 'Accept-Encoding' };
    const contentHeaders = { 'Content-Type': mediaType };
    const common = { issuer, etag, headers };
    return {
      identity: createDocument({ ...common, body: token, contentHeaders }),
      gzip: createDocument({
        ...common,
        body: gzipped,
        contentHeaders: { ...contentHeaders, 'Content-Encoding': 'gzip' },
      }),
    };
  }

  function aggregated(): StaticDocument {
    const numbers = lists.numbers().join();
    if (aggregation?.numbers !== numbers) {
      const document = createDocument({
        issuer,
        body: JSON.stringify(aggregationOf(lists)),
        headers: { 'Cache-Control': cacheControl(ttl) },
        contentHeaders: { 'Content-Type': 'application/json; charset=utf-8' },
      });
      aggregation = { numbers, document };
    }
    return aggregation.document;
  }
}

const plainlyAccepted = new Set([undefined, '*/*', mediaType]);

// Words without a weight. Where all weigh the same, the first counts, and what is not named comes last (RFC 9110 §12.5.3).
const plainWords = /^(?:gzip|deflate|br|zstd)(?:, ?(?:gzip|deflate|br|zstd))*$/;

function plainEncoding(accepted: string | undefined): 'identity' | 'gzip' | undefined {
  if (accepted === undefined || accepted === 'identity') return 'identity';
  if (!plainWords.test(accepted)) return undefined;
  return accepted.includes('gzip') ? 'gzip' : 'identity';
}

const cacheControl = (seconds: number) => `public, max-age=${seconds}`;

const secondsLeft = ({ expiresAt }: SignedList, now: number) => expiresAt - Math.ceil(now / 1000);

function aggregationOf({ numbers, uriOf }: Pick<StatusListPublisher, 'numbers' | 'uriOf'>) {
  return { status_lists: numbers().map(uriOf) };
}

function allowOrigins(ctx: Context): void {
  ctx.set({
    'Access-Control-Allow-Methods': 'GET, HEAD',
    'Access-Control-Allow-Headers': 'Accept, If-None-Match',
    'Access-Control-Max-Age': '86400',
  });
  ctx.status = 204;
}

function refuse(ctx: Context, status: number, error: string, description: string): void {
  ctx.status = status;
  ctx.set('Cache-Control', 'no-store');
  ctx.body = { error, error_description: description };
}
