// The refresh token (RFC 6749 §1.5): on the wire a signed handle (issuer/tokens.ts), found, spent and replaced by
// issuer/provider-refresh.ts.

import { Provider } from 'oidc-provider';
import type { ProviderRefresh } from '../provider-refresh.ts';
import { withoutUngranted } from '../scope.ts';
import type { TokenFormats } from '../tokens.ts';
import type { ModelClass } from './model.ts';
import { whileSignedIn } from './session.ts';

export interface RefreshTokenParts {
  formats: TokenFormats;
  refresh: ProviderRefresh;
  /** Whether a scope exists, granted or not. */
  isKnownScope(scope: string): boolean;
  /** Epoch milliseconds. */
  now(): number;
}

export function refreshTokenModel(
  Base: ModelClass,
  provider: Provider,
  { formats, refresh, isKnownScope, now }: RefreshTokenParts,
): ModelClass {
  return class RefreshToken extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'ungrantedScope'];
    }

    static override async find(token: string, options?: object) {
      const handle = await formats.openRefreshToken(token);
      if (handle === undefined) return undefined;
      const found = await super.find(handle, { ...options, ignoreSessionBinding: true });
      const { params } = Provider.ctx!.oidc;
      if (found && typeof params?.scope === 'string')
        params.scope = withoutUngranted(params.scope, found, isKnownScope);
      return whileSignedIn(provider, found);
    }

    static override get adapter() {
      return { ...super.adapter, find: (handle: string) => refresh.find(Provider.ctx!, handle) };
    }

    override async consume() {
      await refresh.begin(Provider.ctx!, this.jti);
    }

    override async save() {
      const rotation = refresh.underWay(Provider.ctx);
      if (rotation) return formats.wrapRefreshToken(rotation.handle, rotation.exp, rotation.at);
      this.ungrantedScope = Provider.ctx!.oidc.entities.AuthorizationCode?.ungrantedScope;
      const { payload } = await this.getValueAndPayload();
      this.jti = refresh.firstHandle(payload.exp!);
      await super.save();
      return formats.wrapRefreshToken(this.jti, payload.exp!, now());
    }
  };
}
