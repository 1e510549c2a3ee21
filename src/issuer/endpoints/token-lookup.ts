// Token look-up, for introspection (RFC 7662) and revocation (RFC 7009): what a token is that comes back to us. Whether
// its status index is revoked, and who may know, is for introspection.ts to say.

import type { BackedRefreshToken, StoredRefreshToken } from '../../grants/refresh-rows.ts';
import type { Models } from '../adapter.ts';
import { grantIdOf } from '../models/access-token.ts';
import { isSignedIn } from '../token-endpoint/backed.ts';
import type { TokenFormats } from '../tokens.ts';

export interface FoundToken {
  type: 'access_token' | 'refresh_token';
  clientId: string;
  /** What issued it: a person's grant, or an application's name for itself. */
  grantId: string;
  /** Whether it still opens something, as far as its own kind knows. */
  usable: boolean;
  /** The APIs it is for; a refresh token is for nobody but us. */
  audience: readonly string[];
  /** For an answer of introspection. */
  claims: Record<string, unknown>;
}

interface LookUpParts {
  models: Models;
  formats: TokenFormats;
  issuer: string;
  /** For so long a spent refresh token is answered again, in milliseconds. */
  graceMs: number;
  /** Epoch milliseconds. */
  now: () => number;
}

export async function lookUpToken(token: string, parts: LookUpParts): Promise<FoundToken | undefined> {
  const { models, formats, issuer } = parts;
  const now = parts.now();
  const claims = await formats.openAnyAccessToken(token);
  if (claims) {
    return {
      type: 'access_token',
      clientId: String(claims.client_id),
      grantId: grantIdOf(String(claims.jti)),
      // The verifier bears with clocks that are a little off; here the issuer itself is asked.
      usable: Number(claims.exp) * 1000 > now,
      audience: [claims.aud].flat() as string[],
      claims,
    };
  }

  const handle = await formats.openRefreshToken(token);
  const stored = handle === undefined ? undefined : await models.findBackedRefreshToken(handle);
  if (!stored || stored.payload.exp * 1000 <= now) return undefined;
  const { clientId, grantId, accountId, scope, iat, exp } = stored.payload;
  return {
    type: 'refresh_token',
    clientId,
    grantId,
    usable: !isSpent(stored, parts, now) && isBacked(stored, now),
    audience: [],
    claims: { iss: issuer, sub: accountId, client_id: clientId, scope, iat, exp },
  };
}

/**
 * Not before its grace is over, in which it is still answered (issuer/refresh.ts). Said earlier, it would tell whoever stole it,
 * and its application's secret, when to repeat the owner's request: asking here costs a token nothing.
 */
function isSpent({ state, rotation }: StoredRefreshToken, { graceMs }: LookUpParts, now: number) {
  return state === 'older' || (state === 'previous' && (graceMs === 0 || now - rotation!.at > graceMs));
}

/** Whether the grant and the session behind it go on. */
function isBacked({ payload, grant, session }: BackedRefreshToken, now: number): boolean {
  return grant !== undefined && isSignedIn(payload, session, now);
}
