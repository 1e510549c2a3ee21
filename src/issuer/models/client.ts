// The comparison of a client secret in oidc-provider's own client authentication (lib/shared/client_auth.js), slowed
// where it has to be (web/secret-throttle.ts).

import { errors, Provider } from 'oidc-provider';
import { isAppError } from '../../errors.ts';
import { retryAfterSeconds, type SecretThrottle } from '../../web/secret-throttle.ts';

/**
 * What `isRight` says in its turn.
 * @param clientId undefined where there is no such application
 * @throws {InvalidClientAuth} of status 429
 */
export async function compareInTurn(
  throttle: SecretThrottle,
  clientId: string | undefined,
  isRight: () => boolean,
): Promise<boolean> {
  const ctx = Provider.ctx!;
  try {
    return await throttle.check(clientId, (ctx.state as { address?: string }).address ?? '', isRight);
  } catch (cause) {
    if (!isAppError(cause, 'too_many_wrong_secrets')) throw cause;
    ctx.set('Retry-After', String(retryAfterSeconds));
    // RFC 6749 §5.2 has no code for haste. RFC 6585 §4 has the status.
    const error = new errors.InvalidClientAuth(cause.message);
    throw Object.assign(error, { status: 429, statusCode: 429, error_description: cause.message });
  }
}
