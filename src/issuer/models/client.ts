// The client in oidc-provider's eyes: found once for each state of the application behind it, and its secret compared
// by its digest (lib/shared/client_auth.js), slowed where it has to be (web/secret-throttle.ts).

import { errors, Provider } from 'oidc-provider';
import { secretMatches } from '../../clients/clients.ts';
import { isAppError } from '../../errors.ts';
import { retryAfterSeconds, type SecretThrottle } from '../../web/secret-throttle.ts';

export interface ClientParts {
  /** The application behind a client id: the same object for as long as nothing about it changed. */
  findApplication(clientId: string): Promise<object | undefined>;
  secretThrottle: SecretThrottle;
}

export function extendClient(Client: Provider['Client'], parts: ClientParts): void {
  Object.defineProperties(Client.prototype, {
    // Metadata holds the digest of the secret (clients/clients.ts), so the comparison is ours.
    compareClientSecret: {
      value(this: { clientId: string; clientSecret: string }, presented: string) {
        return compareInTurn(parts.secretThrottle, this.clientId, () => secretMatches(this.clientSecret, presented));
      },
    },
    // Every application may learn the session's id: sign-out and revocation refer to it.
    includeSid: { value: () => true },
  });
  Object.defineProperty(Client, 'find', { value: rememberClients(Client, parts) });
}

// oidc-provider tells a client by a digest of its metadata, computed anew at every request. The application's own
// object does as well: clients/clients.ts hands the same one out until it has changed.
function rememberClients(
  Base: Provider['Client'],
  { findApplication, secretThrottle }: ClientParts,
): Provider['Client']['find'] {
  const find = Base.find.bind(Base);
  const clients = new WeakMap<object, Awaited<ReturnType<typeof find>>>();
  return async (clientId) => {
    const application = await findApplication(clientId);
    if (!application) {
      if (Provider.ctx?.path === '/token') await compareInTurn(secretThrottle, undefined, () => false);
      return undefined;
    }
    const known = clients.get(application);
    if (known) return known;
    const client = await find(clientId);
    if (client) clients.set(application, client);
    return client;
  };
}

/**
 * What `isRight` says in its turn.
 * @param clientId undefined where there is no such application
 * @throws {InvalidClientAuth} of status 429
 */
async function compareInTurn(
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
