// The authorization code (RFC 6749 §4.1.2): good while its session lasts, and with it what could not be granted.

import { Provider } from 'oidc-provider';
import { ungrantableScope } from '../scope.ts';
import type { ModelClass } from './model.ts';
import { whileSignedIn } from './session.ts';

export function codeModel(Base: ModelClass, provider: Provider): ModelClass {
  return class AuthorizationCode extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'ungrantedScope'];
    }

    override async save() {
      this.ungrantedScope = Provider.ctx!.oidc.params?.[ungrantableScope] as string | undefined;
      return super.save();
    }

    static override async find(code: string, options?: object) {
      return whileSignedIn(provider, await super.find(code, { ...options, ignoreSessionBinding: true }));
    }
  };
}
