// The body of a request to us: who may post a form, and how a form or a JSON document is read. oidc-provider parses and
// caps the bodies of its own endpoints (56 KiB, lib/shared/selective_body.js): that is left alone here.

import type { Context, Middleware } from 'koa';
import { AppError, isAppError } from '../errors.ts';

/**
 * Lets a form through only from a page of this issuer. Browsers say where a request comes from in Sec-Fetch-Site, which
 * no page can forge; older ones at least send Origin. A request with neither is not a person at our form.
 * @throws {AppError} cross_site_form (403)
 */
export function requireSameOrigin({ issuer }: { issuer: string }): Middleware {
  const { origin } = new URL(issuer);
  return (ctx, next) => {
    if (ctx.method === 'GET' || ctx.method === 'HEAD') return next();
    const site = ctx.get('Sec-Fetch-Site');
    const ours = site === '' ? ctx.get('Origin') === origin : site === 'same-origin';
    if (!ours) {
      throw new AppError(
        'cross_site_form',
        403,
        'This form was not sent from our own page. Go back to the application and start again.',
      );
    }
    return next();
  };
}

/**
 * Reads the form in a request's body. Duplicates are refused, as RFC 6749 §3.1 does for parameters: two readers might
 * each take another one. So is U+0000, which PostgreSQL keeps in no text, and which nobody types.
 * @throws {AppError} unsupported_form (415), form_too_large (413), duplicate_field or malformed_form (400)
 */
export async function readForm(ctx: Context, { maxBytes = 16_384 } = {}): Promise<ReadonlyMap<string, string>> {
  const form = new Map<string, string>();
  for (const [field, value] of await readFields(ctx, { maxBytes })) {
    if (form.has(field)) throw new AppError('duplicate_field', 400, 'A field of this form was sent twice.');
    if (holdsNull(field) || holdsNull(value)) throw nullCharacter('form');
    if (isDamaged(value)) throw new AppError('malformed_form', 400, 'The form is not valid UTF-8.');
    form.set(field, value);
  }
  return form;
}

/**
 * The same, whatever stands in it: for a form that goes on to whoever checks it.
 * @throws {AppError} unsupported_form (415), form_too_large (413), malformed_form (400)
 */
export async function readFields(ctx: Context, { maxBytes }: { maxBytes: number }): Promise<URLSearchParams> {
  const charset = ctx.request.charset.toLowerCase();
  const plain = ctx.get('Content-Encoding') === '' && (charset === '' || charset === 'utf-8');
  if (!plain || !ctx.is('application/x-www-form-urlencoded')) {
    throw new AppError('unsupported_form', 415, 'Forms are read as application/x-www-form-urlencoded in UTF-8 only.');
  }

  return new URLSearchParams(decodeUtf8(await readBody(ctx, maxBytes, 'form'), 'form'));
}

/**
 * Reads the JSON document in a request's body; undefined where there is none.
 * @throws {AppError} unsupported_document (415), document_too_large (413), malformed_document (400)
 */
export async function readJson(ctx: Context, { maxBytes = 16_384 } = {}): Promise<unknown> {
  const bytes = await readBody(ctx, maxBytes, 'document');
  if (bytes.length === 0) return undefined;
  if (ctx.get('Content-Encoding') !== '' || !ctx.is('application/json')) {
    throw new AppError('unsupported_document', 415, 'Documents are read as application/json in UTF-8 only.');
  }
  try {
    return JSON.parse(decodeUtf8(bytes, 'document'), (name, value: unknown) => {
      if (holdsNull(name) || holdsNull(value)) throw nullCharacter('document');
      return value;
    }) as unknown;
  } catch (cause) {
    // What JSON.parse complains of may quote the document, so it stays a cause.
    if (isAppError(cause)) throw cause;
    throw new AppError('malformed_document', 400, 'The document is not valid JSON.', { cause });
  }
}

// What URLSearchParams puts in the place of escaped bytes that are no UTF-8: a password would be another one.
const isDamaged = (value: string) => value.includes('\uFFFD');

type Body = 'form' | 'document';

const holdsNull = (value: unknown) => typeof value === 'string' && value.includes('\0');

const nullCharacter = (what: Body) => new AppError(`malformed_${what}`, 400, `The ${what} has a null character in it.`);

async function readBody(ctx: Context, maxBytes: number, what: Body): Promise<Buffer> {
  if ((ctx.request.length ?? 0) > maxBytes) throw tooLarge(ctx, maxBytes, what);
  const chunks: Buffer[] = [];
  let received = 0;
  try {
    // Leaving the loop early must not destroy the socket: the refusal still has to travel over it.
    for await (const chunk of ctx.req.iterator({ destroyOnReturn: false })) {
      received += chunk.length;
      if (received > maxBytes) throw tooLarge(ctx, maxBytes, what);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError(`malformed_${what}`, 400, `The ${what} did not arrive whole.`, { cause });
  }
  return Buffer.concat(chunks, received);
}

function tooLarge(ctx: Context, maxBytes: number, what: Body): AppError {
  // The rest of the body is still on its way; closing the connection spares us from reading it.
  ctx.set('Connection', 'close');
  return new AppError(`${what}_too_large`, 413, `This ${what} is larger than the ${maxBytes} bytes that are read.`);
}

function decodeUtf8(bytes: Buffer, what: Body): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AppError(`malformed_${what}`, 400, `The ${what} is not valid UTF-8.`, { cause });
  }
}
