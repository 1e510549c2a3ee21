// Answers that are errors, beside those that oidc-provider gives by itself: what fails around it, what is larger than
// it reads, and what it knows no address for. To people as pages (issuer/pages.ts), to programs in JSON.

import type { errors, KoaContextWithOIDC } from 'oidc-provider';
import { isProtocolPath } from '../web/endpoints.ts';
import { failure } from '../web/failed-request.ts';
import type { ProviderPages } from './pages.ts';

type ErrorPages = Pick<ProviderPages, 'error'>;
type ErrorOut = Parameters<ProviderPages['error']>[1];

// oidc-provider answers what fails inside it. What fails around it (the database, as a refresh is written) Koa would
// answer in plain text, and keep to itself.
export async function answerFailure(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
  pages: ErrorPages,
): Promise<void> {
  try {
    await next();
  } catch (error) {
    ctx.status = 500; // where the database is away, whoever hears of it (pages, events.ts) answers otherwise
    const out: ErrorOut = { ...failure };
    if (ctx.accepts('json', 'html') === 'html') await pages.error(ctx, out, error as Error);
    else ctx.body = out;
    ctx.oidc.provider.emit('server_error', ctx, error as Error);
  }
  // The session is written last, when it was decided already where to go, and with which code.
  if (ctx.status >= 500) ctx.remove('Location');
}

export async function answerUnknownPath(ctx: KoaContextWithOIDC, next: () => Promise<void>, pages: ErrorPages) {
  if (isProtocolPath(ctx.path)) await next();
  if (ctx.status !== 404 || ctx.body) return;
  await showError(ctx, pages, 404, { error: 'not_found', error_description: 'there is nothing at this address' });
}

// oidc-provider reads 56 KiB, and of what is larger says no more than of what it cannot read (selective_body.js). It
// has answered when this hears of it; the audit trail hears the last word.
export function noteLargeBody(ctx: KoaContextWithOIDC, error: errors.OIDCProviderError): void {
  if ((error.cause as Error | undefined)?.message !== 'request entity too large') return;
  error.error_description = 'the request body is larger than the 57344 bytes that are read';
  ctx.state.largeBody = { error: error.error, error_description: error.error_description };
}

export async function explainLargeBody(ctx: KoaContextWithOIDC, next: () => Promise<void>, pages: ErrorPages) {
  await next();
  if (ctx.state.largeBody) await showError(ctx, pages, 413, ctx.state.largeBody as ErrorOut);
}

async function showError(ctx: KoaContextWithOIDC, pages: ErrorPages, status: number, out: ErrorOut) {
  ctx.status = status;
  if (ctx.accepts('json', 'html') === 'html') await pages.error(ctx, out, new Error(out.error));
  else ctx.body = out;
  ctx.status = status;
}
