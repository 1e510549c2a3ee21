// Signing in with Microsoft, in three parts: from our page to Microsoft (`begin`), Microsoft's callback, and from a
// verified identity to the end of the sign-in. How an identity is proved is connector.ts; whose account it is,
// account-linking.ts. How a sign-in failed is written down here, once: in the audit trail for whoever asks later, in
// the log for whoever has to act.

import Router from '@koa/router';
import type { Context } from 'koa';
import { emailKey } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import { AppError, isAppError } from '../errors.ts';
import type { CompleteSignIn } from '../issuer/complete-sign-in.ts';
import type { Issuer } from '../issuer/issuer.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import type { Log } from '../log.ts';
import { readForm } from '../web/body.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import { type AccountLinking, externalIdOf } from './account-linking.ts';
import { type ConnectTo, hintsFor } from './authorization-request.ts';
import { entraCallbackPath, resumePath } from './callback.ts';
import type { EntraConnector, FinishedSignIn } from './connector.ts';
import { EntraError } from './errors.ts';
import type { UpstreamSessions } from './upstream-sessions.ts';

export interface EntraSignIn {
  readonly config: EntraConfig;
  /**
   * Sends the browser to Microsoft.
   * @throws {EntraError}
   */
  begin(ctx: Context, pending: PendingSignIn, options?: RedirectOptions): Promise<void>;
  /** Where Microsoft sends browsers back to. */
  routes(ends: SignInEnds): Router;
}

export interface RedirectOptions {
  /** What was typed on our page. */
  email?: string;
  /** Whether Microsoft is to ask which account, since the one it has a session of will not do. */
  another?: boolean;
  connectTo?: ConnectTo;
}

/** How a sign-in ends that comes back from Microsoft. */
interface SignInEnds {
  issuer: Pick<Issuer, 'pendingSignIn'>;
  completeSignIn: CompleteSignIn;
  /** Microsoft said yes, and we say no, in words for the person. */
  refused(ctx: Context, uid: string, error: AppError): Promise<void>;
  failed(ctx: Context, error: EntraError): Promise<void>;
}

interface EntraSignInParts {
  config: EntraConfig;
  connector: EntraConnector;
  accounts: Pick<Accounts, 'find'>;
  accountLinking: AccountLinking;
  sessions: UpstreamSessions;
  audit: Audit;
  log: Log;
}

/** What a person may read of a refusal that came after Microsoft's yes. */
const refusals = new Set([
  'account_disabled',
  'account_unknown',
  'identity_taken',
  'groups_unavailable',
  'connect_expired',
]);

export function createEntraSignIn(parts: EntraSignInParts): EntraSignIn {
  const { config, connector, accounts, accountLinking, sessions, audit, log } = parts;

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

  /** @throws {AppError} in words for the person */
  async function complete(ctx: Context, { identity, uid, connectTo }: FinishedSignIn, ends: SignInEnds): Promise<void> {
    const pending = await ends.issuer.pendingSignIn(ctx, uid);
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
      await ends.completeSignIn(ctx, pending, account, { method: 'entra', upstream, acr, authTime });
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
  }

  return {
    config,

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

    routes: (ends) =>
      callbackRoutes({
        connector,
        async finished(ctx, finished) {
          try {
            await complete(ctx, finished, ends);
          } catch (error) {
            if (!isAppError(error) || !refusals.has(error.code)) throw error;
            await ends.refused(ctx, finished.uid, error);
          }
        },
        failed: ends.failed,
        audit,
        log,
      }),
  };
}

interface CallbackParts {
  connector: Pick<EntraConnector, 'finish' | 'stash'>;
  finished(ctx: Context, finished: FinishedSignIn): Promise<void>;
  /** Answers a failed sign-in. */
  failed(ctx: Context, error: EntraError): Promise<void>;
  audit: Audit;
  log: Log;
}

export function callbackRoutes({ connector, finished, failed, audit, log }: CallbackParts): Router {
  const router = new Router();

  router.get([entraCallbackPath, resumePath], (ctx) =>
    answering(ctx, async () => {
      // A code is used up by a GET; whoever only looks (a link scanner, a prefetch) must not do that.
      if (ctx.method === 'HEAD') throw new AppError('method_not_allowed', 405, 'This address answers GET only.');
      await finished(ctx, await connector.finish(ctx));
    }),
  );

  router.post(entraCallbackPath, (ctx) =>
    answering(ctx, async () => {
      sendRedirect(ctx, await connector.stash(await readForm(ctx)));
    }),
  );

  async function answering(ctx: Context, work: () => Promise<void>): Promise<void> {
    ctx.set({ 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer' });
    try {
      await work();
    } catch (error) {
      if (!(error instanceof EntraError)) throw error;
      if (error.facts.redirectTo !== undefined) return sendRedirect(ctx, error.facts.redirectTo);
      writeDown(ctx, error);
      await failed(ctx, error);
    }
  }

  function writeDown(ctx: Context, { failure, alert, facts, hint, cause }: EntraError): void {
    if (failure === 'consent_given' || failure === 'consent_declined') {
      return log.info(`entra.${failure}`, { requestId: requestOf(ctx).requestId });
    }
    const { requestId, address } = requestOf(ctx);
    const { reason, numbers, correlationId } = facts;
    audit.record({
      event: alert === 'security' ? 'signin.forged' : 'signin.refused',
      requestId,
      address,
      detail: { method: 'entra', failure, reason, aadsts: numbers, correlationId },
    });
    const write = alert ? log.error : failure === 'transient' ? log.warn : log.info;
    write('entra.sign_in_failed', { failure, reason, aadsts: numbers, correlationId, requestId, hint, cause });
  }

  return router;
}
