// The refresh token grant (RFC 6749 §6): a token is exchanged for its successor, and comes with a new access token. What the request is
// to the chain of its token is ../refresh.ts. The successor is written while the answer is signed: a crash in between
// loses nothing, since the same answer can be made again.

import { audienceOf } from '../../clients/apis.ts';
import { accessTokenIdOf } from '../../grants/refresh-handle.ts';
import type { Models } from '../adapter.ts';
import type { AnsweredAgain, RefreshRotation } from '../refresh.ts';
import { answeredAgain } from '../refresh.ts';
import { withoutUngranted } from '../scope.ts';
import type { TokenFormats } from '../tokens.ts';
import type { UpstreamProvider } from '../upstream-session.ts';
import { holdsUpstream, intactBacking } from './backed.ts';
import type { Issuing, PersonalSource } from './issuing.ts';
import type { PlainRequest } from './plain-request.ts';
import type { Ended, Granted, RequestOrigin } from './token-endpoint.ts';

interface RefreshTokenParts {
  issuing: Issuing;
  formats: Pick<TokenFormats, 'openRefreshToken'>;
  models: Pick<Models, 'findBackedRefreshToken'>;
  rotation: RefreshRotation;
  upstream: Pick<UpstreamProvider, 'statusOf'> | undefined;
  isKnownScope(scope: string): boolean;
  now(): number;
}

export async function grantRefresh(
  { application, parameters }: PlainRequest,
  from: RequestOrigin,
  parts: RefreshTokenParts,
): Promise<Granted | Ended | undefined> {
  const { issuing, formats, models, rotation, upstream, isKnownScope, now } = parts;
  const { refresh_token: token, resource } = parameters;
  if (application.type === 'service' || !application.refreshTokens || token === undefined) return undefined;
  const handle = await formats.openRefreshToken(token);
  const read = async () => {
    const stored = handle === undefined ? undefined : await models.findBackedRefreshToken(handle);
    const backing = stored && intactBacking(stored.payload as PersonalSource, stored, application, now());
    return backing && { stored, ...backing };
  };
  const before = await read();
  if (!before || !(await holdsUpstream(before.grant, upstream))) return undefined;
  // Whoever asked upstream may have learned something of the person.
  const found = upstream && before.grant.upstream !== undefined ? await read() : before;
  if (handle === undefined) return undefined;
  const audience = resource && audienceOf(resource);
  if (!found) return { ended: true, subject: before.account.id, audience };
  const { stored, grant, account } = found;
  const source = stored.payload as PersonalSource & typeof stored.payload;
  const scope = withoutUngranted(parameters.scope, source, isKnownScope);
  const access = issuing.personalAccess(application, source, grant, { scope, resource });
  if (!access) return undefined;

  const request = rotation.requestOf({ scope, resource }, from);
  const refresh = await rotation.decide(handle, stored, request, access.life);
  if (refresh.is === 'reuse') return undefined;
  const written = refresh.is === 'first' ? rotation.exchange(handle, stored, refresh, request) : true;
  const signed = issuing.toPerson(
    { application, account, grant, grantId: source.grantId, source, access },
    {
      at: refresh.at,
      id: accessTokenIdOf(refresh.handle),
      nonce: undefined,
      refreshToken: refresh,
    },
  );
  const [isWritten, answer] = await Promise.all([written, signed]);
  if (!isWritten) return undefined;
  return {
    answer,
    event: eventOf[answeredAgain(refresh) ?? 'first'],
    subject: account.id,
    scope: access.scope,
    audience,
    firstAskedFrom: refresh.firstAskedFrom,
  };
}

const eventOf = {
  first: 'token.issued',
  repeated: 'token.issued_again',
  'repeated elsewhere': 'token.issued_elsewhere',
  // The rotations of such a chain are in the trail, and each of them said that it is ahead of its pace.
  'ahead of its pace': undefined,
} as const satisfies Record<AnsweredAgain | 'first', Granted['event']>;
