// POST /token/introspection (RFC 7662, signed on request: RFC 9701), for tokens that are JWTs. A token that is unknown,
// forged, expired or somebody else's gets the same answer as one that never was: {"active":false}.

import type { Context } from 'koa';
import { needsSecret, type RegisteredClient } from '../../clients/clients.ts';
import { AppError } from '../../errors.ts';
import { signCompact } from '../../keys/compact-jws.ts';
import { issuedAt } from '../../keys/dating.ts';
import type { Signer } from '../../keys/signer.ts';
import { isRevoked, type RevokedStatuses } from '../../status-list/revoked.ts';
import type { FoundToken } from './token-lookup.ts';

const signedType = 'application/token-introspection+jwt';

export interface IntrospectionParts {
  issuer: string;
  revoked: Pick<RevokedStatuses, 'has'>;
  /** What signs now. */
  signer: () => Signer;
  /** Epoch milliseconds. */
  now: () => number;
}

/** @throws {AppError} invalid_client */
export async function introspect(
  ctx: Context,
  application: RegisteredClient,
  token: FoundToken | undefined,
  { issuer, revoked, signer, now }: IntrospectionParts,
): Promise<void> {
  if (!needsSecret(application.type)) {
    // RFC 7662 §2.1: without authentication anybody could try tokens here.
    throw new AppError('invalid_client', 401, 'only an application with a secret may ask about tokens');
  }
  const active = token !== undefined && mayKnow(application, token) && (await isActive(token, revoked));
  const body = active ? { ...token.claims, active, token_type: tokenTypeOf(token) } : { active: false };
  ctx.vary('Accept');
  if (ctx.accepts('application/json', signedType) !== signedType) {
    ctx.body = body;
    return;
  }
  // RFC 9701 §5: about the answer, and the answer as one claim, so that it can be taken for nothing else.
  const about = { iss: issuer, aud: application.clientId, iat: issuedAt(now()) };
  ctx.body = await signCompact(signer(), 'token-introspection+jwt', { ...about, token_introspection: body });
  ctx.set('Content-Type', signedType);
}

async function isActive(token: FoundToken, revoked: IntrospectionParts['revoked']): Promise<boolean> {
  if (!token.usable) return false;
  return token.type === 'refresh_token' || !(await isRevoked(token.claims, revoked));
}

/** An application may know of its own tokens, and of those for an API that it is (`introspects` in signet.yaml). */
function mayKnow({ clientId, introspects = [] }: RegisteredClient, token: FoundToken): boolean {
  return token.clientId === clientId || token.audience.some((audience) => introspects.includes(audience));
}

// `token_type` is how an access token is used (RFC 6749 §7.1); a refresh token is not used at an API at all.
function tokenTypeOf({ type }: FoundToken): string | undefined {
  return type === 'access_token' ? 'Bearer' : undefined;
}
