// What the endpoints of RFC 7662 and RFC 7009 have in common: a form, a client that authenticates, a page's origin, a
// token that is looked up, and refusals. oidc-provider has both and refuses JWTs there, so these answer before it.

import type { Context, Middleware } from 'koa';
import type { Clients, RegisteredClient } from '../../clients/clients.ts';
import { databaseFailureIn } from '../../database/failures.ts';
import { AppError, isAppError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { readForm } from '../../web/body.ts';
import { endpoints } from '../../web/endpoints.ts';
import { comeAgain, isComeAgain, logFailedRequest } from '../../web/failed-request.ts';
import { requestOf } from '../../web/request.ts';
import { retryAfterSeconds, type SecretThrottle } from '../../web/secret-throttle.ts';
import { authenticateClient } from './client-auth.ts';
import { type IntrospectionParts, introspect } from './introspection.ts';
import { type RevocationParts, revoke } from './revocation.ts';
import type { FoundToken } from './token-lookup.ts';

interface TokenEndpointsParts extends Omit<IntrospectionParts, 'now'>, RevocationParts {
  clients: Pick<Clients, 'find'>;
  lookUp: (token: string) => Promise<FoundToken | undefined>;
  secretThrottle: SecretThrottle;
  log: Log;
  /** Epoch milliseconds. */
  now?: () => number;
}

export function tokenEndpoints({ now = Date.now, ...parts }: TokenEndpointsParts): Middleware {
  const { issuer, clients, lookUp, secretThrottle, audit, log } = parts;

  return async (ctx, next) => {
    const isIntrospection = ctx.path === endpoints.introspection.path;
    if (!isIntrospection && ctx.path !== endpoints.revocation.path) return next();
    ctx.set('Cache-Control', 'no-store');
    ctx.vary('Origin');
    if (ctx.get('Origin') !== '') ctx.set('Access-Control-Allow-Origin', ctx.get('Origin'));
    if (ctx.method === 'OPTIONS') return allowPreflight(ctx);
    try {
      const form = await readForm(ctx, { maxBytes: 56 * 1024 });
      const application = await authenticateClient(ctx, form, clients, secretThrottle);
      checkOrigin(ctx, application);
      const token = form.get('token');
      if (!token) throw new AppError('invalid_request', 400, 'missing required parameter: token');
      const found = await lookUp(token);
      await (isIntrospection
        ? introspect(ctx, application, found, { ...parts, now })
        : revoke(ctx, application, found, parts));
    } catch (error) {
      refuse(ctx, error, isIntrospection ? 'introspection.refused' : 'revocation.refused');
    }
  };

  function refuse(ctx: Context, error: unknown, event: 'introspection.refused' | 'revocation.refused'): void {
    const { status, code, description } = wordsFor(error);
    ctx.status = status;
    isComeAgain(ctx, error);
    ctx.body = { error: code, error_description: description };
    if (status === 429) ctx.set('Retry-After', String(retryAfterSeconds));
    if (status === 401 && ctx.get('Authorization') !== '') {
      ctx.set('WWW-Authenticate', `Basic realm="${issuer}"`); // RFC 6749 §5.2
    }
    if (status >= 500) logFailedRequest(log, ctx, error);
    const { requestId, address } = requestOf(ctx);
    audit.record({ event, detail: { error: code, description }, requestId, address });
  }
}

// The provider's rule for its own endpoints: a page may act for an application that says it is one of its pages.
function checkOrigin(ctx: Context, { clientId, origins }: RegisteredClient): void {
  const origin = ctx.get('Origin');
  if (origin === '' || origins.includes(origin)) return;
  ctx.remove('Access-Control-Allow-Origin');
  throw new AppError('invalid_request', 400, `pages of this origin may not act for ${clientId}`);
}

function allowPreflight(ctx: Context): void {
  ctx.set({
    'Access-Control-Allow-Methods': 'POST',
    'Access-Control-Allow-Headers': 'Authorization, Content-Type',
    'Access-Control-Max-Age': '3600',
  });
  ctx.status = 204;
}

function wordsFor(error: unknown): { status: number; code: string; description: string } {
  if (databaseFailureIn(error)) {
    return { status: 503, code: comeAgain.error, description: comeAgain.error_description };
  }
  if (!isAppError(error) || error.status >= 500) {
    const status = isAppError(error) ? error.status : 500;
    return { status, code: 'server_error', description: 'something went wrong on our side; try again' };
  }
  // A form that cannot be read has a code of its own elsewhere; here RFC 6749 §5.2 has one for all.
  const isOfClient = error.code === 'invalid_client' || error.code === 'too_many_wrong_secrets';
  const code = isOfClient ? 'invalid_client' : 'invalid_request';
  return { status: error.status, code, description: error.message };
}
