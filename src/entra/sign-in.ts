// Signing in with Microsoft: from our page to Microsoft (`begin`), and from a verified identity to the end of the
// sign-in (`complete`). How an identity is proved is entra/; whose account it is, account-linking.ts.

import type { Context } from 'koa';
import { emailKey } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import { AppError, isAppError } from '../errors.ts';
import type { CompleteSignIn } from '../issuer/complete-sign-in.ts';
import type { Issuer, PendingSignIn } from '../issuer/issuer.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import { type AccountLinking, externalIdOf } from './account-linking.ts';
import { hintsFor } from './authorization-request.ts';
import type { MountedEntraConnector } from './connector.ts';
import type { ConnectTo, FinishedSignIn } from './identity.ts';
import type { UpstreamSessions } from './upstream-sessions.ts';

export interface EntraSignIn {
  readonly config: EntraConfig;
  readonly connector: MountedEntraConnector;
  /**
   * Sends the browser to Microsoft.
   * @throws {EntraError}
   */
  begin(ctx: Context, pending: PendingSignIn, options?: RedirectOptions): Promise<void>;
  /** Ends a sign-in for a verified identity. @throws {AppError} in words for the person */
  complete(ctx: Context, finished: FinishedSignIn): Promise<void>;
}

export interface RedirectOptions {
  /** What was typed on our page. */
  email?: string;
  /** Whether Microsoft is to ask which account, since the one it has a session of will not do. */
  another?: boolean;
  connectTo?: ConnectTo;
}

export interface EntraSignInParts {
  config: EntraConfig;
  connector: MountedEntraConnector;
  issuer: Issuer;
  accounts: Pick<Accounts, 'find'>;
  accountLinking: AccountLinking;
  sessions: UpstreamSessions;
  finish: CompleteSignIn;
  audit: Audit;
}

export function createEntraSignIn(parts: EntraSignInParts): EntraSignIn {
  const { config, connector, issuer, accounts, accountLinking, sessions, finish, audit } = parts;

  /** How long the proof is good is the trip's own life; signed out everywhere, a person has to prove it anew. */
  async function stillProved({ accountId, signedOutAt }: ConnectTo): Promise<string> {
    const account = await accounts.find(accountId);
    if (account?.signedOutAt?.getTime() === signedOutAt) return accountId;
    throw new AppError(
      'connect_expired',
      400,
      'You have to enter your password once more. Go back to the application and start again.',
    );
  }

  /**
   * Microsoft's own name for who is signed in here and is to sign in anew. Undefined where somebody else is meant.
   * @param named by the application, or by the person
   */
  async function knownHint({ upstream }: PendingSignIn, named: string | undefined): Promise<string | undefined> {
    const session = upstream === undefined ? undefined : await sessions.find(upstream);
    if (session?.loginHint === undefined || named === undefined) return session?.loginHint;
    const { email, preferredUsername } = (await accounts.find(session.accountId)) ?? {};
    const isSame = [email, preferredUsername].some((name) => name !== undefined && emailKey(name) === emailKey(named));
    return isSame ? session.loginHint : undefined;
  }

  return {
    config,
    connector,

    async begin(ctx, pending, { email, another = false, connectTo } = {}) {
      const { loginHint: asked, domainHint, prompt, maxAge, acrValues } = pending.asked;
      // Whoever connects an account means a certain one, which need not be the one that Microsoft has a session of.
      const asks = another || connectTo !== undefined;
      const { loginHint, ...hint } = hintsFor(config, { email: email ?? asked, domainHint });
      sendRedirect(
        ctx,
        await connector.begin(ctx, pending, {
          ...hint,
          maxAge,
          acrValues,
          connectTo,
          loginHint: asks ? undefined : loginHint,
          knownHint: asks ? undefined : await knownHint(pending, email ?? asked),
          prompt: asks ? 'select_account' : prompt,
        }),
      );
    },

    async complete(ctx, { identity, uid, connectTo }) {
      const pending = await issuer.pendingSignIn(ctx, uid);
      if (pending.step !== 'login') throw new AppError('sign_in_lost', 400, 'this sign-in is past its first step');
      const { requestId, address } = requestOf(ctx);
      try {
        const proved = connectTo && (await stillProved(connectTo));
        const account = await accountLinking.signIn(identity, { requestId, address }, proved);
        const { sid, loginHint, upstreamRefreshToken, authTime, acr } = identity;
        const upstream = await sessions.open({
          method: 'entra',
          externalId: externalIdOf(identity),
          accountId: account.id,
          upstreamSid: sid,
          loginHint,
          refreshToken: upstreamRefreshToken,
        });
        // No amr: Entra's ID tokens of version 2.0 have none, so how the person was authenticated is not known.
        await finish(ctx, pending, account, { method: 'entra', upstream, acr, authTime });
      } catch (error) {
        if (!isAppError(error) || error.status >= 500) throw error;
        audit.record({
          event: 'signin.refused',
          clientId: pending.application.clientId,
          requestId,
          address,
          detail: { method: 'entra', reason: error.code, tid: identity.tid, oid: identity.oid },
        });
        throw error;
      }
    },
  };
}
