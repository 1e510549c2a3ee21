// Access tokens (RFC 9068): a person's, which belongs to a grant, and an application's own (RFC 6749 §4.4), which has a
// status index without one. Both name in `jti` what issued them.

import { Provider } from 'oidc-provider';
import type { StatusIndexes } from '../../status-list/indexes.ts';
import type { ProviderRefresh } from '../provider-refresh.ts';
import type { TokenFormats } from '../tokens.ts';
import type { ModelClass } from './model.ts';

/** Access tokens are always JWTs. Without an API they are addressed to the issuer, for its userinfo endpoint. */
export function accessTokenModel(
  Base: ModelClass,
  formats: TokenFormats,
  refresh: Pick<ProviderRefresh, 'accessTokenId'>,
): ModelClass {
  return class AccessToken extends Base {
    static override async find(token: string) {
      const claims = await formats.openAccessToken(token);
      if (!claims) return undefined;
      const { jti, sub: accountId, client_id: clientId, scope, iat, exp } = claims;
      return new this({ jti, accountId, clientId, scope, iat, exp, grantId: grantIdOf(String(jti)) });
    }

    override generateTokenId() {
      const id = super.generateTokenId(); // it settles the token's format, too (lib/models/formats/index.js)
      return `${this.grantId}.${refresh.accessTokenId(Provider.ctx) ?? id}`;
    }

    override async save() {
      this.status = Provider.ctx!.oidc.entities.Grant!.status;
      return super.save();
    }

    // oidc-provider makes a JWT for a resource server only; where there is none, the issuer is the one.
    override get resourceServer() {
      return super.resourceServer ?? { accessTokenFormat: 'jwt', scopes: this.scopes };
    }

    override set resourceServer(resourceServer) {
      super.resourceServer = resourceServer;
    }
  };
}

/** What an application gets for itself: it has no grant, but a status index of its own, and a name for it in `jti`. */
export function serviceTokenModel(Base: ModelClass, statusIndexes: Pick<StatusIndexes, 'ofClient'>): ModelClass {
  return class ClientCredentials extends Base {
    override async save() {
      const { grantId, index } = await statusIndexes.ofClient(this.clientId);
      this.status = index;
      this.jti = `${grantId}.${this.generateTokenId()}`;
      return super.save();
    }
  };
}

/** The grant is named in the first half of `jti`, so that a token leads to it without a table of tokens. */
export function grantIdOf(jti: string): string {
  return jti.split('.')[0]!;
}
