// The step after a one-time password: its person chooses another one in its place. What may be chosen is
// new-password.ts.

import { hash } from 'node:crypto';
import type { Context } from 'koa';
import type { Account } from '../accounts/account.ts';
import { AppError, isAppError } from '../errors.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import { sendPage } from '../web/headers.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import type { Shown } from './next-page.ts';
import { formOf, type SignInForm, type SignInPage, type SignInParts } from './page.ts';

export interface ReplacePasswordStep {
  /** @param provedHash of the one-time password that was right */
  begin(ctx: Context, account: Account, provedHash: string): Promise<void>;
  show(ctx: Context, pending: PendingSignIn, shown: Shown): Promise<void>;
  choose(ctx: Context, pending: PendingSignIn, form: SignInForm): Promise<void>;
}

const notTheSame = 'The two passwords are not the same.';

export function createReplacePasswordStep(parts: SignInParts, page: SignInPage): ReplacePasswordStep {
  const { issuer, accounts, newPasswords, complete, pages, minPasswordLength: minLength } = parts;

  return {
    async begin(ctx, { id: accountId }, provedHash) {
      await issuer.noteSignIn(ctx, { mustChangePassword: { accountId, provedHash: fingerprint(provedHash) } });
      sendRedirect(ctx, ctx.path);
    },

    async show(ctx, pending, { problem, status }) {
      const { application, redirectUri, note } = pending;
      const account = await accounts.find(note?.mustChangePassword?.accountId ?? '');
      const common = { action: formOf(pending), application: application.name };
      const html = pages.newPassword({ ...common, email: account?.email ?? '', minLength, problem });
      sendPage(ctx, html, { formAction: [redirectUri], status });
    },

    async choose(ctx, pending, form) {
      const { accountId, provedHash } = pending.note?.mustChangePassword ?? { accountId: '' };
      const account = await accounts.find(accountId);
      const current = account?.passwordHash;
      // One use is one: what another sign-in or an administrator replaced since it was proved here is good for nothing.
      if (!account || account.disabledAt || !current || fingerprint(current) !== provedHash) throw passwordGone();

      const chosen = form.get('new_password') ?? '';
      if (chosen !== form.get('new_password_again')) {
        return page.goBack(ctx, pending, { problem: notTheSame, status: 400 });
      }
      const replacement = await newPasswords
        .choose(chosen, account, { isProved: true, from: [accountId] })
        .catch((error: unknown) => {
          if (isAppError(error, 'password_unacceptable')) return error;
          throw error;
        });
      if (isAppError(replacement)) return page.goBack(ctx, pending, { problem: replacement.message, status: 400 });
      const { requestId, address } = requestOf(ctx);
      const renewed = await accounts.choosePassword(accountId, current, replacement, { requestId, address });
      if (!renewed) throw passwordGone();
      requestOf(ctx).passwordSaved = true; // which the person is told, should the sign-in end here
      return complete(ctx, pending, renewed, { method: 'password', amr: ['pwd'] });
    },
  };
}

function passwordGone(): AppError {
  return new AppError('sign_in_lost', 400, 'the one-time password of this sign-in has been replaced');
}

// Kept with the pending sign-in in place of the hash itself, which belongs in one table.
const fingerprint = (passwordHash: string) => hash('sha256', passwordHash, 'base64url');
