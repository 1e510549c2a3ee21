// The ID token (OpenID Connect Core §2).

import { Provider } from 'oidc-provider';
import { issuedAt } from '../../keys/dating.ts';

export interface IdTokenClass {
  new (...input: never[]): { payload(): Promise<Record<string, unknown>> };
}

/**
 * ID tokens are dated as all that we sign (keys/dating.ts). One that comes with a refresh has no nonce: that belongs to the
 * request that signed the person in, and libraries have forgotten it by then (OpenID Connect Core §12.2).
 */
export function idTokenModel(Base: IdTokenClass, now: () => number): IdTokenClass {
  return class IdToken extends Base {
    override async payload() {
      const { nonce, ...claims } = await super.payload();
      const isRefresh = Provider.ctx?.oidc.params?.grant_type === 'refresh_token';
      return { ...claims, ...(isRefresh || nonce === undefined ? {} : { nonce }), iat: issuedAt(now()) };
    }
  };
}
