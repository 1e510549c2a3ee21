// Client authentication (RFC 6749 §2.3.1) at the endpoints that are ours and not the provider's. The same
// ways as at the token endpoint: a secret in the Authorization header or in the form, and a name alone for those that
// cannot keep one.

import type { Context } from 'koa';
import {
  authenticatedTwice,
  type Clients,
  needsSecret,
  type RegisteredClient,
  secretMatches,
} from '../../clients/clients.ts';
import { AppError } from '../../errors.ts';
import { requestOf } from '../../web/request.ts';
import type { SecretThrottle } from '../../web/secret-throttle.ts';

/** @throws {AppError} invalid_request, invalid_client, too_many_wrong_secrets */
export async function authenticateClient(
  ctx: Context,
  form: ReadonlyMap<string, string>,
  clients: Pick<Clients, 'find'>,
  throttle: SecretThrottle,
): Promise<RegisteredClient> {
  const { clientId, secret } = credentialsOf(ctx, form);
  const application = await clients.find(clientId);
  const { address } = requestOf(ctx);
  if (application && !needsSecret(application.type) && secret === undefined) return application;
  if (await throttle.check(application?.clientId, address, () => isProved(application, secret))) return application!;
  throw new AppError('invalid_client', 401, 'client authentication failed');
}

// Base64 with its padding or without (RFC 4648 §3.2).
const basicPattern = /^Basic ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?)$/i;

interface Credentials {
  clientId: string;
  secret: string | undefined;
}

function credentialsOf(ctx: Context, form: ReadonlyMap<string, string>): Credentials {
  const header = ctx.get('Authorization');
  const [named, secret] = [form.get('client_id'), form.get('client_secret')];
  if (header === '') {
    if (!named) throw new AppError('invalid_client', 401, 'no client authentication was sent');
    return { clientId: named, secret };
  }
  const basic = readBasic(header);
  if (!basic) throw new AppError('invalid_request', 400, 'the Authorization header is not as RFC 6749 §2.3.1 has it');
  if (secret !== undefined) throw new AppError('invalid_request', 400, authenticatedTwice);
  if (named !== undefined && named !== basic.clientId) {
    throw new AppError('invalid_request', 400, 'client_id in the form is another one than in the Authorization header');
  }
  return basic;
}

/** What an Authorization header says (RFC 6749 §2.3.1); undefined where it is not as that has it. */
export function readBasic(header: string): { clientId: string; secret: string } | undefined {
  const encoded = basicPattern.exec(header)?.[1];
  const pair = encoded && Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair?.indexOf(':') ?? -1;
  if (!pair || colon < 1) return undefined;
  try {
    // Both halves are form-encoded before they are joined. (RFC 6749 §2.3.1, appendix B)
    const [clientId, secret] = [pair.slice(0, colon), pair.slice(colon + 1)].map((half) =>
      decodeURIComponent(half.replaceAll('+', ' ')),
    );
    return { clientId: clientId!, secret: secret! };
  } catch {
    return undefined; // "%" and no two digits: it was not encoded, and what it should say is anybody's guess.
  }
}

function isProved(application: RegisteredClient | undefined, secret: string | undefined): boolean {
  if (!application || !needsSecret(application.type)) return false;
  const { secretHash } = application;
  return secret !== undefined && secretHash !== undefined && secretMatches(secretHash, secret);
}
