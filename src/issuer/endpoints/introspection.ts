// POST /token/introspection (RFC 7662, signed on request: RFC 9701) and POST /token/revocation (RFC 7009), for tokens
// that are JWTs. A token that is unknown, forged, expired or somebody else's gets the same answer as one that never
// was: {"active":false} here, 200 there.

import type { Context, Middleware } from 'koa';
import type { Audit } from '../../audit/audit.ts';
import type { AuditEvent } from '../../audit/events.ts';
import { type Clients, needsSecret, type RegisteredClient } from '../../clients/clients.ts';
import { databaseFailureIn } from '../../database/failures.ts';
import { AppError, isAppError } from '../../errors.ts';
import type { Grants } from '../../grants/grants.ts';
import { issuedAt } from '../../keys/dating.ts';
import type { Signer } from '../../keys/signer.ts';
import type { Log } from '../../log.ts';
import { isRevoked, type RevokedStatuses } from '../../status-list/revoked.ts';
import { readForm } from '../../web/body.ts';
import { endpoints } from '../../web/endpoints.ts';
import { comeAgain, isComeAgain, logFailedRequest } from '../../web/failed-request.ts';
import { type RequestState, requestOf } from '../../web/request.ts';
import { retryAfterSeconds, type SecretThrottle } from '../../web/secret-throttle.ts';
import { authenticateClient } from './client-auth.ts';
import type { FoundToken } from './token-lookup.ts';

const introspectionPath = endpoints.introspection.path;
const revocationPath = endpoints.revocation.path;
const signedType = 'application/token-introspection+jwt';

interface TokenEndpointsParts {
  issuer: string;
  clients: Pick<Clients, 'find'>;
  lookUp: (token: string) => Promise<FoundToken | undefined>;
  revoked: Pick<RevokedStatuses, 'has'>;
  grants: Pick<Grants, 'giveUp' | 'renewClient'>;
  secretThrottle: SecretThrottle;
  /** What signs now. */
  signer: () => Signer;
  audit: Pick<Audit, 'record'>;
  log: Log;
  /** Epoch milliseconds. */
  now?: () => number;
}

export function tokenEndpoints(parts: TokenEndpointsParts): Middleware {
  const { issuer, clients, lookUp, revoked, grants, signer, audit, log, now = Date.now } = parts;
  const answers = new Map([
    [introspectionPath, introspect],
    [revocationPath, revoke],
  ]);

  return async (ctx, next) => {
    const answer = answers.get(ctx.path);
    if (!answer) return next();
    ctx.set('Cache-Control', 'no-store');
    ctx.vary('Origin');
    if (ctx.get('Origin') !== '') ctx.set('Access-Control-Allow-Origin', ctx.get('Origin'));
    if (ctx.method === 'OPTIONS') return allowPreflight(ctx);
    try {
      const form = await readForm(ctx, { maxBytes: 56 * 1024 });
      const application = await authenticateClient(ctx, form, clients, parts.secretThrottle);
      checkOrigin(ctx, application);
      const token = form.get('token');
      if (!token) throw new AppError('invalid_request', 400, 'missing required parameter: token');
      await answer(ctx, application, await lookUp(token));
    } catch (error) {
      refuse(ctx, error);
    }
  };

  async function introspect(ctx: Context, application: RegisteredClient, token: FoundToken | undefined): Promise<void> {
    if (!needsSecret(application.type)) {
      // RFC 7662 §2.1: without authentication anybody could try tokens here.
      throw new AppError('invalid_client', 401, 'only an application with a secret may ask about tokens');
    }
    const active = token !== undefined && mayKnow(application, token) && (await isActive(token));
    const body = active ? { ...token.claims, active, token_type: tokenTypeOf(token) } : { active: false };
    ctx.vary('Accept');
    if (ctx.accepts('application/json', signedType) !== signedType) {
      ctx.body = body;
      return;
    }
    ctx.body = await sign(application, body);
    ctx.set('Content-Type', signedType);
  }

  async function isActive(token: FoundToken): Promise<boolean> {
    if (!token.usable) return false;
    return token.type === 'refresh_token' || !(await isRevoked(token.claims, revoked));
  }

  /** RFC 9701 §5: about the answer, and the answer as one claim, so that it can be taken for nothing else. */
  async function sign({ clientId }: RegisteredClient, answer: object): Promise<string> {
    const { alg, kid, sign: signData } = signer();
    const head = encode({ alg, typ: 'token-introspection+jwt', kid });
    const body = encode({ iss: issuer, aud: clientId, iat: issuedAt(now()), token_introspection: answer });
    const signature = await signData(Buffer.from(`${head}.${body}`));
    return `${head}.${body}.${signature.toString('base64url')}`;
  }

  async function revoke(ctx: Context, { clientId }: RegisteredClient, token: FoundToken | undefined): Promise<void> {
    ctx.status = 200;
    ctx.body = '';
    // RFC 7009 §2.1: only those that were issued to the client. That there is another is not for it to learn.
    if (!token || token.clientId !== clientId) return;
    const isForItself = token.type === 'access_token' && token.claims.sub === clientId;
    if (isForItself) await grants.renewClient(clientId);
    else await grants.giveUp(token.grantId);
    note(ctx, 'grant.revoked', {
      clientId,
      subject: String(token.claims.sub),
      detail: { grantId: token.grantId, cause: 'its application gave it up', tokenType: token.type },
    });
  }

  function refuse(ctx: Context, error: unknown): void {
    const { status, code, description } = wordsFor(error);
    ctx.status = status;
    isComeAgain(ctx, error);
    ctx.body = { error: code, error_description: description };
    if (status === 429) ctx.set('Retry-After', String(retryAfterSeconds));
    if (status === 401 && ctx.get('Authorization') !== '') {
      ctx.set('WWW-Authenticate', `Basic realm="${issuer}"`); // RFC 6749 §5.2
    }
    if (status >= 500) logFailedRequest(log, ctx, error);
    const event = ctx.path === introspectionPath ? 'introspection.refused' : 'revocation.refused';
    note(ctx, event, { detail: { error: code, description } });
  }

  function note(
    ctx: Context,
    event: AuditEvent['event'],
    facts: Pick<AuditEvent, 'clientId' | 'subject' | 'detail'>,
  ): void {
    audit.record({ event, ...facts, ...originOf(ctx) });
  }
}

/** An application may know of its own tokens, and of those for an API that it is (`introspects` in signet.yaml). */
function mayKnow({ clientId, introspects = [] }: RegisteredClient, token: FoundToken): boolean {
  return token.clientId === clientId || token.audience.some((audience) => introspects.includes(audience));
}

// `token_type` is how an access token is used (RFC 6749 §7.1); a refresh token is not used at an API at all.
function tokenTypeOf({ type }: FoundToken): string | undefined {
  return type === 'access_token' ? 'Bearer' : undefined;
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

function originOf(ctx: Context): Pick<RequestState, 'requestId' | 'address'> {
  const { requestId, address } = requestOf(ctx);
  return { requestId, address };
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
