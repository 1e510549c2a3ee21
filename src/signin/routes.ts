// The pages of a sign-in under way, at /sign-in/<uid>: which one is due, and what each form does. Which requests need a
// person at all is oidc-provider's decision; what it waits for comes from issuer.pendingSignIn.

import Router from '@koa/router';
import type { Context } from 'koa';
import { emailKey, type Accounts } from '../accounts.ts';
import type { Audit } from '../audit.ts';
import { AppError, isAppError } from '../errors.ts';
import type { Issuer, PendingSignIn } from '../issuer/issuer.ts';
import type { RequestState } from '../issuer/provider.ts';
import { addressPrefix, readForm, requireSameOrigin, sendPage } from '../web/guard.ts';
import type { Pages } from '../web/pages.ts';
import type { Attempts } from './attempts.ts';
import { redirect, type CompleteSignIn } from './complete.ts';
import type { Passwords } from './password.ts';

export interface SignInParts {
  issuerUrl: string;
  issuer: Issuer;
  accounts: Accounts;
  passwords: Passwords;
  attempts: Attempts;
  complete: CompleteSignIn;
  pages: Pages;
  audit: Audit;
  minPasswordLength: number;
}

type Form = ReadonlyMap<string, string>;

// One sentence for all of them: whether the person exists is nobody's business.
const wrongPassword = 'That e-mail address and password do not match.';

export function signInRoutes(parts: SignInParts): Router {
  const { issuer, accounts, passwords, attempts, complete, pages, audit } = parts;
  const router = new Router();

  router.get('/sign-in/:uid', async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    await showStep(ctx, pending, {});
  });

  router.post('/sign-in/:uid', requireSameOrigin({ issuer: parts.issuerUrl }), async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    const form = await readForm(ctx);
    if (form.has('cancel')) return redirect(ctx, await issuer.finishSignIn(ctx, { cancelled: true }));
    if (pending.step === 'consent') return decideConsent(ctx, pending, form);
    if (pending.note?.mustChangePassword) return chooseNewPassword(ctx, pending, form);
    return checkPassword(ctx, pending, form);
  });

  async function showStep(
    ctx: Context,
    pending: PendingSignIn,
    { email, problem, status = 200 }: { email?: string; problem?: string; status?: number },
  ): Promise<void> {
    const { application, consent, note, loginHint, returnOrigin } = pending;
    const common = { action: ctx.path, application: application.name };
    const options = { status, formAction: returnOrigin ? [returnOrigin] : [application.redirectUris[0] ?? ''] };

    if (consent) {
      const account = await accounts.find(pending.accountId ?? '');
      if (!account) throw new AppError('sign_in_lost', 400, 'the person of this sign-in is gone');
      const page = pages.consent({ ...common, ...consent, email: account.email, origin: returnOrigin });
      return sendPage(ctx, page, options);
    }
    if (note?.mustChangePassword) {
      const account = await accounts.find(note.mustChangePassword);
      const page = pages.newPassword({
        ...common, email: account?.email ?? '', minLength: parts.minPasswordLength, problem,
      });
      return sendPage(ctx, page, options);
    }
    return sendPage(ctx, pages.signIn({ ...common, email: email ?? loginHint, problem }), options);
  }

  async function checkPassword(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const email = form.get('email')?.trim().slice(0, 254) ?? '';
    const password = form.get('password') ?? '';
    if (email === '' || password === '') {
      return showStep(ctx, pending, { email, problem: 'Enter your e-mail address and your password.', status: 400 });
    }

    const key = emailKey(email);
    const prefix = addressPrefix((ctx.state as RequestState).address);
    const { waitSeconds } = await attempts.begin(key, prefix);
    if (waitSeconds > 0) {
      refuse(ctx, pending, undefined, 'too_many_attempts');
      ctx.set('Retry-After', String(waitSeconds));
      const problem = `Too many attempts. Try again in ${inWords(waitSeconds)}.`;
      return showStep(ctx, pending, { email, problem, status: 429 });
    }

    const account = await accounts.findByEmail(email);
    const { ok, rehashed } = await passwords.check(password, account?.passwordHash);
    if (!ok || !account || account.disabledAt) {
      refuse(ctx, pending, account?.id, ok ? 'account_disabled' : 'wrong_password');
      return showStep(ctx, pending, { email, problem: wrongPassword, status: 400 });
    }

    await attempts.succeeded(key, prefix);
    if (rehashed) await accounts.rehash(account.id, account.passwordHash!, rehashed);
    if (!account.passwordMustChange) return complete(ctx, pending, account, ['pwd']);
    await issuer.noteSignIn(ctx, { mustChangePassword: account.id });
    return redirect(ctx, ctx.path);
  }

  async function chooseNewPassword(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const account = await accounts.find(pending.note!.mustChangePassword!);
    if (!account || account.disabledAt) throw new AppError('sign_in_lost', 400, 'the account of this sign-in is gone');
    const chosen = form.get('new_password') ?? '';
    const problem = await problemWith(chosen, form.get('new_password_again') ?? '', account.passwordHash);
    if (problem) return showStep(ctx, pending, { problem, status: 400 });

    try {
      const passwordHash = await passwords.hash(chosen);
      await accounts.setPassword(account.id, passwordHash, { mustChange: false, actor: account.id });
    } catch (error) {
      if (!isAppError(error) || error.status !== 400) throw error;
      return showStep(ctx, pending, { problem: error.message, status: 400 });
    }
    return complete(ctx, pending, account, ['pwd']);
  }

  async function problemWith(chosen: string, again: string, currentHash: string | undefined) {
    if (chosen !== again) return 'The two passwords are not the same.';
    const { ok: same } = await passwords.check(chosen, currentHash);
    return same ? 'Choose a password other than the one-time password.' : undefined;
  }

  async function decideConsent(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const decision = form.get('decision');
    if (decision !== 'allow' && decision !== 'deny') return showStep(ctx, pending, { status: 400 });
    const { requestId, address } = ctx.state as RequestState;
    audit.record({
      event: decision === 'allow' ? 'consent.given' : 'consent.declined',
      subject: pending.accountId, clientId: pending.application.clientId, requestId, address,
    });
    return redirect(ctx, await issuer.finishSignIn(ctx, { consent: decision }));
  }

  function refuse(ctx: Context, pending: PendingSignIn, subject: string | undefined, reason: string): void {
    const { requestId, address } = ctx.state as RequestState;
    audit.record({
      event: 'signin.refused', subject, clientId: pending.application.clientId, requestId, address, detail: { reason },
    });
  }

  return router;
}

function inWords(seconds: number): string {
  if (seconds < 90) return `${seconds} second${seconds === 1 ? '' : 's'}`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
