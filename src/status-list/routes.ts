// Where status lists are public: GET /status-lists/<number>, and GET /status-lists for which there are (Token Status
// List draft §8 and §9.3). From memory, for everybody and from every origin: a list tells bits, and not of whom.

import type { Context, Middleware } from 'koa';
import { isNotModified } from '../web/etag.ts';
import { aggregationPath, type StatusListPublisher, statusListType } from './lists.ts';

const mediaType = `application/${statusListType}`;

export function statusListRoutes(lists: StatusListPublisher, ttl: number, now: () => number = Date.now): Middleware {
  return async (ctx, next) => {
    const asked = new RegExp(`^${aggregationPath}(?:/([1-9]\\d{0,8}))?$`).exec(ctx.path);
    if (!asked) return next();
    ctx.set('Access-Control-Allow-Origin', '*');
    if (ctx.method === 'OPTIONS') return allowOrigins(ctx);
    if (asked[1] !== undefined) return answerList(ctx, Number(asked[1]));
    ctx.set('Cache-Control', `public, max-age=${ttl}`);
    ctx.body = { status_lists: lists.numbers().map(lists.uriOf) };
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
    const left = signed.expiresAt - Math.ceil(now() / 1000);
    ctx.set('Cache-Control', `public, max-age=${Math.max(0, Math.min(ttl, left))}`);
    ctx.vary('Accept-Encoding');
    ctx.set('Content-Type', mediaType);
    if (isNotModified(ctx, signed.etag)) return;
    const gzipped = ctx.acceptsEncodings('gzip', 'identity') === 'gzip';
    if (gzipped) ctx.set('Content-Encoding', 'gzip');
    ctx.body = gzipped ? signed.gzipped : signed.token;
    ctx.set('Content-Type', mediaType);
  }
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
