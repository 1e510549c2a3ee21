// The step by way of Microsoft: who is sent there, and what the sign-in page says when they come back without having
// signed in. What happens in between is entra/sign-in.ts.

import type Router from '@koa/router';
import type { Context } from 'koa';
import { belongsToMicrosoft } from '../entra/authorization-request.ts';
import { EntraError } from '../entra/errors.ts';
import type { EntraSignIn, RedirectOptions } from '../entra/sign-in.ts';
import { isAppError } from '../errors.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import type { ReturnLinks } from '../issuer/return-links.ts';
import { sendPage } from '../web/headers.ts';
import type { Pages } from '../web/pages.ts';
import { requestOf } from '../web/request.ts';
import type { Shown } from './next-page.ts';
import { addressIn, type SignInForm, type SignInPage, type SignInParts } from './page.ts';

export interface MicrosoftStep {
  /** Whether the page has a button that leads there. */
  isOffered: boolean;
  /** The application has said whose people it means, and they sign in at Microsoft. */
  goesStraight(ctx: Context, pending: PendingSignIn): boolean;
  /** The address was typed first: what its domain says, and nothing about whether anybody has it. */
  chooseWay(ctx: Context, pending: PendingSignIn, form: SignInForm): Promise<void>;
  redirect(ctx: Context, pending: PendingSignIn, options?: RedirectOptions): Promise<void>;
  routes(): Router;
}

// Microsoft would sign the same account in again without a question, and so it would be refused again.
const wrongAccount = new Set(['not_entitled', 'guest', 'account_state', 'policy', 'consent']);

export function createMicrosoftStep(parts: SignInParts, page: SignInPage, entra: EntraSignIn): MicrosoftStep {
  const { issuer, complete, pages, returnLinks } = parts;
  const { mode, domains } = entra.config;
  const ownPage = failurePage(pages, returnLinks);

  async function redirect(ctx: Context, pending: PendingSignIn, options?: RedirectOptions): Promise<void> {
    try {
      await entra.begin(ctx, pending, options);
    } catch (error) {
      if (!(error instanceof EntraError)) throw error;
      await showFailure(ctx, error);
    }
  }

  /** On the page where the sign-in began, where there are other ways; or on one of its own, where that page is gone. */
  async function showFailure(ctx: Context, error: EntraError): Promise<void> {
    const { uid } = error.facts;
    if (uid === undefined) return ownPage(ctx, error);
    try {
      await issuer.pendingSignIn(ctx, uid);
      await page.sayAt(ctx, uid, saidOf(error));
    } catch (gone) {
      // Whoever cancelled there is told no more than that the page they left has expired meanwhile.
      if (!isAppError(gone, 'sign_in_lost') || error.isChoice) throw gone;
      return ownPage(ctx, error);
    }
  }

  return {
    isOffered: mode !== 'local-only',

    goesStraight(ctx, { step, asked, note }) {
      if (step !== 'login' || note || page.wishOf(ctx) || page.realmOf(ctx).step === 'both') return false;
      return asked.domainHint !== undefined && domains.includes(asked.domainHint.toLowerCase());
    },

    async chooseWay(ctx, pending, form) {
      const email = addressIn(form);
      if (email === '') return page.goBack(ctx, pending, { problem: 'Enter your e-mail address.', status: 400 });
      if (belongsToMicrosoft(entra.config, email)) return redirect(ctx, pending, { email });
      return page.goBack(ctx, pending, { email, knownAddress: true });
    },

    redirect,

    routes: () =>
      entra.routes({
        issuer,
        completeSignIn: complete,
        refused: (ctx, uid, { message: problem, status }) =>
          page.sayAt(ctx, uid, { problem, status, tryAnother: true }),
        failed: showFailure,
      }),
  };
}

function saidOf({ title, message, status, failure, isChoice, facts }: EntraError): Shown {
  if (isChoice) return { notice: `${title}. ${message}` };
  const { correlationId, retryAfterSeconds } = facts;
  const reference = correlationId === undefined ? '' : ` (${correlationId})`;
  return {
    problem: `${title}. ${message}${reference}`,
    status,
    tryAnother: wrongAccount.has(failure),
    ...(retryAfterSeconds !== undefined && { until: Date.now() + retryAfterSeconds * 1000 }),
  };
}

/** Says what happened, with what Microsoft's support would ask for. */
export function failurePage(pages: Pages, returnLinks: Pick<ReturnLinks, 'from'>) {
  return async (ctx: Context, { title, message, status, code, isChoice, facts }: EntraError): Promise<void> => {
    const home = await returnLinks.from(ctx);
    if (isChoice) return sendPage(ctx, pages.message({ title, message, home }), { status });
    if (facts.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(facts.retryAfterSeconds));
    const reference = facts.correlationId === undefined ? '' : ` (${facts.correlationId}, ${new Date().toISOString()})`;
    const { requestId } = requestOf(ctx);
    sendPage(ctx, pages.error({ title, message: `${message}${reference}`, requestId, code, home }), { status });
  };
}
