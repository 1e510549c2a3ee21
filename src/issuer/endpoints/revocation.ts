// POST /token/revocation (RFC 7009): an application gives up a token, and all that was issued with it. A token that is
// unknown, forged, expired or somebody else's gets the same answer as one that was given up: 200.

import type { Context } from 'koa';
import type { Audit } from '../../audit/audit.ts';
import type { RegisteredClient } from '../../clients/clients.ts';
import type { Grants } from '../../grants/grants.ts';
import { requestOf } from '../../web/request.ts';
import type { FoundToken } from './token-lookup.ts';

export interface RevocationParts {
  grants: Pick<Grants, 'giveUp' | 'renewClient'>;
  audit: Pick<Audit, 'record'>;
}

export async function revoke(
  ctx: Context,
  { clientId }: RegisteredClient,
  token: FoundToken | undefined,
  { grants, audit }: RevocationParts,
): Promise<void> {
  ctx.status = 200;
  ctx.body = '';
  // RFC 7009 §2.1: only those that were issued to the client. That there is another is not for it to learn.
  if (!token || token.clientId !== clientId) return;
  const isForItself = token.type === 'access_token' && token.claims.sub === clientId;
  if (isForItself) await grants.renewClient(clientId);
  else await grants.giveUp(token.grantId);
  const { requestId, address } = requestOf(ctx);
  audit.record({
    event: 'grant.revoked',
    clientId,
    subject: String(token.claims.sub),
    detail: { grantId: token.grantId, cause: 'its application gave it up', tokenType: token.type },
    requestId,
    address,
  });
}
