// The consent step: a person allows an application what it asks for, or denies it (OIDC Core §3.1.2.4). What it asks
// for, and whether anybody is asked at all, is issuer/consent.ts.

import type { Context } from 'koa';
import { displayNameOf } from '../accounts/account.ts';
import { AppError } from '../errors.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import { sendPage } from '../web/headers.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import type { Shown } from './next-page.ts';
import { formOf, type SignInForm, type SignInPage, type SignInParts } from './page.ts';

export function createConsentStep({ issuer, accounts, pages, audit }: SignInParts, page: SignInPage) {
  return {
    async show(ctx: Context, pending: PendingSignIn, { status }: Shown): Promise<void> {
      const { application, consent, redirectUri } = pending;
      const account = await accounts.find(pending.accountId ?? '');
      if (!account || !consent) throw new AppError('sign_in_lost', 400, 'the person of this sign-in is gone');
      const html = pages.consent({
        action: formOf(pending),
        application: application.name,
        ...consent,
        email: displayNameOf(account),
        origin: webOrigin(redirectUri),
      });
      sendPage(ctx, html, { formAction: [redirectUri], status });
    },

    async decide(ctx: Context, pending: PendingSignIn, form: SignInForm): Promise<void> {
      const decision = form.get('decision');
      if (decision !== 'allow' && decision !== 'deny') return page.goBack(ctx, pending, { status: 400 });
      const returnTo = await issuer.finishSignIn(ctx, { consent: decision });
      const { requestId, address } = requestOf(ctx);
      audit.record({
        event: decision === 'allow' ? 'consent.given' : 'consent.declined',
        subject: pending.accountId,
        clientId: pending.application.clientId,
        requestId,
        address,
      });
      sendRedirect(ctx, returnTo);
    },
  };
}

/** What a person can recognise a web address by; a private-use scheme tells them nothing. */
function webOrigin(uri: string): string | undefined {
  const { protocol, origin } = new URL(uri);
  return protocol === 'https:' || protocol === 'http:' ? origin : undefined;
}
