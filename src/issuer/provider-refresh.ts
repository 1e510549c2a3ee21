// Refresh as oidc-provider carries it out. It consumes the old token, then saves the new one, then signs the rest. Here
// nothing is written until the whole answer is known; then one statement puts the successor in the place of the old token,
// and thereby spends it. A crash loses nothing, and whoever comes second finds what the first one did. What a request is
// to its token is refresh.ts.
//
// Whether a token was spent before is looked at last, when nothing else can be wrong with the request any more. So no
// refusal tells it for free: what is wrong with a request is answered alike whether the token was spent or not, and a
// request with which nothing is wrong has used it.

import { errors, type Grant, type KoaContextWithOIDC } from 'oidc-provider';
import type { Account } from '../accounts/account.ts';
import { databaseFailureIn } from '../database/failures.ts';
import type { GrantPayload } from '../grants/backing.ts';
import { accessTokenIdOf } from '../grants/refresh-handle.ts';
import type { StoredRefreshToken } from '../grants/refresh-rows.ts';
import { requestOf } from '../web/request.ts';
import type { Models } from './adapter.ts';
import { answeredAgain, type Refresh, type RefreshRequest, type RefreshRotation } from './refresh.ts';
import type { Asked, Issuing, PersonalSource } from './token-endpoint/issuing.ts';

interface UnderWay {
  handle: string;
  stored: StoredRefreshToken;
  request: RefreshRequest;
  refresh: Refresh;
}

export interface ProviderRefresh {
  firstHandle(expiresAt: number): string;
  /** Looks a handle up. A spent token still looks unspent: what becomes of it is decided in `begin` and `settle`. */
  find(ctx: KoaContextWithOIDC, handle: string): Promise<StoredRefreshToken['payload'] | undefined>;
  /** In the place of oidc-provider's consume(). */
  begin(ctx: KoaContextWithOIDC, handle: string): Promise<void>;
  /** The refresh of this request; undefined where none is under way. */
  underWay(ctx: KoaContextWithOIDC | undefined): Refresh | undefined;
  /** The random part of the `jti` of its access token. */
  accessTokenId(ctx: KoaContextWithOIDC | undefined): string | undefined;
  /** Koa middleware around the token endpoint: writes, or answers again. */
  settle(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void>;
}

interface ProviderRefreshParts {
  models: Pick<Models, 'findRefreshToken' | 'adapter'>;
  rotation: RefreshRotation;
  /** Makes the answer of an earlier request once more. */
  issuing: Pick<Issuing, 'personalAccess' | 'toPerson'>;
  now(): number;
}

export function createProviderRefresh(parts: ProviderRefreshParts): ProviderRefresh {
  const { models, rotation, issuing, now } = parts;
  const refreshes = new WeakMap<object, UnderWay>();
  const found = new WeakMap<object, StoredRefreshToken>();
  const arrivals = new WeakMap<object, number>();

  const requestIn = (ctx: KoaContextWithOIDC) =>
    rotation.requestOf(ctx.oidc.params!, { address: requestOf(ctx).address, arrivedAt: arrivals.get(ctx)! });

  async function endGrant(ctx: KoaContextWithOIDC, grantId: string): Promise<void> {
    await models.adapter('Grant').destroy(grantId);
    for (const model of ['RefreshToken', 'AuthorizationCode']) await models.adapter(model).revokeByGrantId(grantId);
    ctx.oidc.provider.emit('grant.revoked', ctx, grantId);
  }

  async function refuseReuse(ctx: KoaContextWithOIDC, { payload }: StoredRefreshToken): Promise<void> {
    await endGrant(ctx, payload.grantId);
    refuse(ctx, 'the refresh token was used before');
  }

  const underWay = (ctx: KoaContextWithOIDC | undefined) => ctx && refreshes.get(ctx)?.refresh;

  /** What the application of a refresh under way is to get. */
  function accessOf({ oidc }: KoaContextWithOIDC, { payload }: StoredRefreshToken) {
    const { scope, resource } = oidc.params as Asked;
    const { application } = oidc.client!;
    return issuing.personalAccess(application, payload as PersonalSource, oidc.grant as GrantPayload, {
      scope,
      resource,
    });
  }

  async function answerAgain(ctx: KoaContextWithOIDC, stored: StoredRefreshToken, refresh: Refresh) {
    const access = accessOf(ctx, stored);
    if (!access) return undefined;
    const { client, grant, account } = ctx.oidc;
    return issuing.toPerson(
      {
        application: client!.application,
        account: (account as unknown as { account: Account }).account,
        grant: grant as GrantPayload & Pick<Grant, 'status'>,
        grantId: stored.payload.grantId,
        source: stored.payload as PersonalSource,
        access,
      },
      { at: refresh.at, id: accessTokenIdOf(refresh.handle), nonce: undefined, refreshToken: refresh },
    );
  }

  function note(ctx: KoaContextWithOIDC, refresh: Refresh): void {
    ctx.state.answeredAgain = answeredAgain(refresh);
    ctx.state.firstAskedFrom = refresh.firstAskedFrom;
  }

  return {
    firstHandle: (expiresAt) => rotation.handles.first(expiresAt),

    async find(ctx, handle) {
      const stored = await models.findRefreshToken(handle);
      if (stored) found.set(ctx, stored);
      return stored?.payload;
    },

    async begin(ctx, handle) {
      const stored = found.get(ctx)!;
      const request = requestIn(ctx);
      const refresh = await rotation.decide(handle, stored, request, accessOf(ctx, stored)?.life ?? 0);
      refreshes.set(ctx, { handle, stored, request, refresh });
      // All tokens of an answer are of the same moment.
      ctx.state.datedAt = refresh.at;
      note(ctx, refresh);
      if (refresh.is === 'first' || refresh.is === 'reuse') return;
      // It stops oidc-provider from signing anew, and `settle` replaces the error.
      throw new errors.InvalidGrant('answered again');
    },

    underWay,

    accessTokenId(ctx) {
      const refresh = underWay(ctx);
      return refresh && accessTokenIdOf(refresh.handle);
    },

    async settle(ctx, next) {
      arrivals.set(ctx, rotation.arrivalOf(requestOf(ctx), now()));
      await next();
      const underWay = refreshes.get(ctx);
      if (!underWay) return;
      const { handle, stored, request, refresh } = underWay;
      const again = async (one: StoredRefreshToken, as: Refresh) => {
        const body = await answerAgain(ctx, one, as);
        if (!body) return refuse(ctx, 'what was granted has changed');
        ctx.status = 200;
        ctx.body = body;
      };
      if (refresh.is === 'repeated' || refresh.is === 'ahead of its pace') return again(stored, refresh);
      if (ctx.status !== 200) return;
      if (refresh.is === 'reuse') return refuseReuse(ctx, stored);

      const write = () => rotation.exchange(handle, stored, refresh, request);
      // Where the connection was lost over it, nobody knows whether it was written. Once more does no harm: if it was,
      // what is found below is this request.
      const isWritten = await write().catch((error: unknown) => {
        if (rotation.isTolerant && databaseFailureIn(error)) return write();
        throw error;
      });
      if (isWritten) return;

      const before = await models.findRefreshToken(handle);
      if (!before || before.state === 'current') return refuse(ctx, grantHasEnded);
      const second = await rotation.decide(handle, before, request, 0);
      if (second.is !== 'repeated') return refuseReuse(ctx, before);
      note(ctx, second);
      return again(before, second);
    },
  };
}

/** As oidc-provider refuses a token that it does not know. */
export const invalidGrant = { error: 'invalid_grant', error_description: 'grant request is invalid' };
export const grantHasEnded = 'the grant has ended';

function refuse(ctx: KoaContextWithOIDC, reason: string): void {
  ctx.state.refusal = reason;
  ctx.status = 400;
  ctx.body = invalidGrant;
}
