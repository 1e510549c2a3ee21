// The refresh token (RFC 6749 §1.5): on the wire a signed handle (issuer/tokens.ts), spent and replaced in one statement
// (issuer/refresh.ts).

import { Provider } from 'oidc-provider';
import type { RefreshRotation } from '../refresh.ts';
import { leaveOutUngranted } from '../scope.ts';
import type { TokenFormats } from '../tokens.ts';
import type { ModelClass } from './model.ts';
import { whileSignedIn } from './session.ts';

export interface RefreshTokenParts {
  formats: TokenFormats;
  rotation: RefreshRotation;
  /** Whether a scope exists, granted or not. */
  isKnownScope(scope: string): boolean;
}

export function refreshTokenModel(
  Base: ModelClass,
  provider: Provider,
  { formats, rotation, isKnownScope }: RefreshTokenParts,
): ModelClass {
  return class RefreshToken extends Base {
    static override get IN_PAYLOAD() {
      return [...super.IN_PAYLOAD, 'ungrantedScope'];
    }

    static override async find(token: string, options?: object) {
      const handle = await formats.openRefreshToken(token);
      if (handle === undefined) return undefined;
      const found = await super.find(handle, { ...options, ignoreSessionBinding: true });
      if (found) leaveOutUngranted(Provider.ctx!, found, isKnownScope);
      return whileSignedIn(provider, found);
    }

    static override get adapter() {
      return { ...super.adapter, find: (handle: string) => rotation.find(Provider.ctx!, handle) };
    }

    override async consume() {
      await rotation.begin(Provider.ctx!, this.jti);
    }

    override async save() {
      this.jti ??= this.generateTokenId();
      const { AuthorizationCode: code, RotatedRefreshToken: spent } = Provider.ctx!.oidc.entities;
      this.ungrantedScope = (code ?? spent)?.ungrantedScope;
      const { payload } = await this.getValueAndPayload();
      const held = rotation.hold(Provider.ctx, { handle: this.jti, payload, lifeSeconds: this.remainingTTL });
      if (!held) await super.save();
      return formats.wrapRefreshToken(this.jti, payload.exp!);
    }
  };
}
