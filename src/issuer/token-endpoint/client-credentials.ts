// The client credentials grant (RFC 6749 §4.4): a service gets a token for itself.

import { randomUUID } from 'node:crypto';
import { type Apis, audienceOf, resourceOf } from '../../clients/apis.ts';
import type { StatusIndexes } from '../../status-list/indexes.ts';
import { apiAccess, defaultResource, serviceScope } from '../audience.ts';
import type { Issuing } from './issuing.ts';
import type { PlainRequest } from './plain-request.ts';
import type { Granted } from './token-endpoint.ts';

interface ClientCredentialsParts {
  issuing: Pick<Issuing, 'toService'>;
  apis: Apis;
  statusIndexes: Pick<StatusIndexes, 'ofClient'>;
  /** Seconds that an access token lives, unless client or API have another life. */
  accessTokenLife: number;
  now(): number;
}

export async function grantClientCredentials(
  { application, parameters }: PlainRequest,
  { issuing, apis, statusIndexes, accessTokenLife, now }: ClientCredentialsParts,
): Promise<Granted | undefined> {
  if (application.type !== 'service') return undefined;
  const resource = parameters.resource ?? defaultResource(application);
  if (typeof resource !== 'string') return undefined;
  const access = apiAccess(resource, application, { apis, defaultLife: accessTokenLife });
  // One name for one API: what is no absolute URI stands for none (RFC 8707 §2).
  if (!access || resourceOf(access.audience) !== resource) return undefined;
  const { scope, refused } = serviceScope(parameters.scope, access);
  if (refused !== undefined) return undefined;

  const holder = await statusIndexes.ofClient(application.clientId);
  const id = randomUUID(); // of which node keeps a stock; 122 random bits
  const answer = await issuing.toService(application, access, scope, holder, { at: now(), id });
  return { answer, event: 'token.issued', scope: scope || undefined, audience: audienceOf(resource) };
}
