// The pages of a sign-in under way, at /sign-in/<uid>: which one is due, and what each form does. Which requests need a
// person at all is oidc-provider's decision; what it waits for comes from issuer.pendingSignIn.

import { hash } from 'node:crypto';
import Router from '@koa/router';
import type { Context } from 'koa';
import { emailKey, type Accounts } from '../accounts.ts';
import type { Audit } from '../audit.ts';
import { AppError } from '../errors.ts';
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
    const { application, consent, note, loginHint, redirectUri } = pending;
    const common = { action: ctx.path, application: application.name };
    const options = { status, formAction: [redirectUri] };

    if (consent) {
      const account = await accounts.find(pending.accountId ?? '');
      if (!account) throw new AppError('sign_in_lost', 400, 'the person of this sign-in is gone');
      const page = pages.consent({ ...common, ...consent, email: account.email, origin: webOrigin(redirectUri) });
      return sendPage(ctx, page, options);
    }
    if (note?.mustChangePassword) {
      const account = await accounts.find(note.mustChangePassword.accountId);
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

    const { waitSeconds, succeeded } = await attempts.begin(
      emailKey(email), addressPrefix((ctx.state as RequestState).address));
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

    await succeeded();
    if (account.passwordMustChange) {
      const provedHash = fingerprint(account.passwordHash!);
      await issuer.noteSignIn(ctx, { mustChangePassword: { accountId: account.id, provedHash } });
      return redirect(ctx, ctx.path);
    }
    if (rehashed) await accounts.rehash(account.id, account.passwordHash!, rehashed);
    return complete(ctx, pending, account, ['pwd']);
  }

  async function chooseNewPassword(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const { accountId, provedHash } = pending.note!.mustChangePassword!;
    const account = await accounts.find(accountId);
    const current = account?.passwordHash;
    // One use is one: what another sign-in or an administrator replaced since it was proved here is good for nothing.
    if (!account || account.disabledAt || !current || fingerprint(current) !== provedHash) throw passwordGone();

    const chosen = form.get('new_password') ?? '';
    const problem = await problemWith(chosen, form.get('new_password_again') ?? '', current);
    if (problem) return showStep(ctx, pending, { problem, status: 400 });
    const { requestId, address } = ctx.state as RequestState;
    const replacement = await passwords.hash(chosen);
    const changed = await accounts.choosePassword(accountId, current, replacement, { requestId, address });
    if (!changed) throw passwordGone();
    return complete(ctx, pending, account, ['pwd']);
  }

  async function problemWith(chosen: string, again: string, currentHash: string): Promise<string | undefined> {
    if (chosen !== again) return 'The two passwords are not the same.';
    const problem = passwords.problemWith(chosen);
    if (problem) return problem;
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

function passwordGone(): AppError {
  return new AppError('sign_in_lost', 400, 'the one-time password of this sign-in has been replaced');
}

// Kept with the pending sign-in in place of the hash itself, which belongs in one table.
const fingerprint = (passwordHash: string) => hash('sha256', passwordHash, 'base64url');

/** What a person can recognise a web address by; a private-use scheme tells them nothing. */
function webOrigin(uri: string): string | undefined {
  const { protocol, origin } = new URL(uri);
  return protocol === 'https:' || protocol === 'http:' ? origin : undefined;
}

function inWords(seconds: number): string {
  if (seconds < 90) return `${seconds} second${seconds === 1 ? '' : 's'}`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
