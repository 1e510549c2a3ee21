// Authorizes calls of the admin API: an administrator, or a service that was given the scope, with an access token for it. The
// token is checked with our own verifier, offline like anywhere else; but what it says was true when it was issued, and
// here it must still be true: the account is asked for, and the application, and whether the token was revoked.

import type { Context } from 'koa';
import { adminRole } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Clients } from '../clients/clients.ts';
import { AppError } from '../errors.ts';
import type { SigningKeys } from '../keys/keyring.ts';
import { type AccessToken, createVerifier, VerificationError, type Verifier } from '../verifier/index.ts';
import { authenticator } from '../verifier/request.ts';

export type AdminScope = 'admin:read' | 'admin:write';

export interface Caller {
  /** For the audit trail: a person's account id, or a service's client_id. */
  actor: string;
  /** The application through which. */
  clientId: string;
  scopes: readonly AdminScope[];
}

export interface Authorizer {
  /**
   * The caller, if the token is genuine and whom it speaks for may administer now.
   * @throws {VerificationError}
   * @throws {AppError} invalid_token (401), keys_unavailable (503)
   */
  authorize(ctx: Context): Promise<Caller>;
  /** Accepts what other keys signed from now on. */
  useKeys(keys: SigningKeys): void;
}

interface AuthorizerParts {
  issuer: string;
  audience: string;
  accounts: Pick<Accounts, 'find'>;
  clients: Pick<Clients, 'find'>;
  /** Asked of where it is written down, and not of a list that may be some seconds old. */
  isRevoked: (claims: AccessToken['claims']) => Promise<boolean>;
  now?: () => number;
}

export function createAuthorizer(parts: AuthorizerParts): Authorizer {
  const { issuer, audience, accounts, clients, isRevoked, now = Date.now } = parts;
  let verifier: Verifier | undefined;

  /** What the application may ask for now; a declared one may have changed with a restart. */
  async function scopesNow(token: AccessToken): Promise<{ scopes: AdminScope[]; isService: boolean }> {
    const application = await clients.find(token.clientId);
    if (!application) throw gone('the application that asked for the token is unknown or disabled');
    const allowed = application.access[audience] ?? [];
    return {
      scopes: token.scopes.filter((scope): scope is AdminScope => isAdminScope(scope) && allowed.includes(scope)),
      isService: application.type === 'service' && token.sub === token.clientId,
    };
  }

  async function requireAdministrator(accountId: string): Promise<void> {
    const account = await accounts.find(accountId);
    if (!account || account.disabledAt) throw gone('the account behind the token is unknown or disabled');
    if (account.roles.includes(adminRole)) return;
    throw new VerificationError('insufficient_role', 'the person is not an administrator');
  }

  return {
    async authorize(ctx) {
      if (!verifier) throw new AppError('keys_unavailable', 503, 'there are no keys yet to check a token with');
      const token = await authenticator(verifier)(ctx.req);
      // As the verifier's own middleware does: whoever answers a refusal can then say of whom.
      ctx.state.token = token;
      if (await isRevoked(token.claims)) throw gone('the token was revoked');
      const { scopes, isService } = await scopesNow(token);
      if (!isService) await requireAdministrator(token.sub);
      return { actor: token.sub, clientId: token.clientId, scopes };
    },

    useKeys({ published }) {
      verifier?.close();
      verifier = createVerifier({ issuer, audience, jwks: { keys: [...published] }, now });
    },
  };
}

/** @throws {VerificationError} insufficient_scope */
export function requireAdminScope({ scopes }: Caller, scope: AdminScope): void {
  if (scopes.includes(scope)) return;
  const scopesNeeded = { scopes: [scope] };
  throw new VerificationError('insufficient_scope', 'the token does not have the scope this needs', scopesNeeded);
}

function isAdminScope(scope: string): scope is AdminScope {
  return scope === 'admin:read' || scope === 'admin:write';
}

// RFC 6750 §3.1: "revoked … or invalid for other reasons".
function gone(message: string): AppError {
  return new AppError('invalid_token', 401, message, { hint: 'sign in again, as an administrator' });
}
