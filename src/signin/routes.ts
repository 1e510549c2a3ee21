// The addresses of a sign-in under way, at /sign-in/<uid>, and which step each request is for. Which requests need a
// person at all is oidc-provider's decision; what it waits for comes from issuer.pendingSignIn.

import Router from '@koa/router';
import { readForm, requireSameOrigin } from '../web/body.ts';
import { sendRedirect } from '../web/redirect.ts';
import { createCheckPasswordStep } from './check-password.ts';
import { createConsentStep } from './consent.ts';
import { createMicrosoftStep } from './microsoft.ts';
import { createSignInPage, formOf, type SignInParts } from './page.ts';
import { createReplacePasswordStep } from './replace-password.ts';

export function signInRoutes(parts: SignInParts): Router {
  const { issuerUrl, issuer, entra } = parts;
  const router = new Router();
  const page = createSignInPage(parts);
  const consent = createConsentStep(parts, page);
  const replacePassword = createReplacePasswordStep(parts, page);
  const microsoft = entra && createMicrosoftStep(parts, page, entra);
  const checkPassword = createCheckPasswordStep(parts, { page, replacePassword, microsoft });

  router.get('/sign-in/:uid', async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    if (microsoft?.goesStraight(ctx, pending)) {
      // Noted, so that whoever comes back from there sees the page and has a choice.
      await issuer.noteSignIn(ctx, { sentToMicrosoft: true });
      return microsoft.redirect(ctx, pending);
    }
    const shown = page.leftFor(pending);
    if (pending.consent) return consent.show(ctx, pending, shown);
    if (pending.note?.mustChangePassword) return replacePassword.show(ctx, pending, shown);
    return page.show(ctx, pending, shown);
  });

  router.get('/sign-in/:uid/microsoft', async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    if (!microsoft?.isOffered || pending.step !== 'login') return sendRedirect(ctx, formOf(pending));
    return microsoft.redirect(ctx, pending, { another: 'another' in ctx.query });
  });

  if (microsoft) router.use(microsoft.routes().routes());

  router.post('/sign-in/:uid', requireSameOrigin({ issuer: issuerUrl }), async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    const form = await readForm(ctx);
    if (form.has('cancel')) return sendRedirect(ctx, await issuer.finishSignIn(ctx, { cancelled: true }));
    if (pending.step === 'consent') return consent.decide(ctx, pending, form);
    if (pending.note?.mustChangePassword) return replacePassword.choose(ctx, pending, form);
    const asksAddress = page.realmOf(ctx).step === 'identifier' && !form.has('password');
    if (microsoft && asksAddress) return microsoft.chooseWay(ctx, pending, form);
    return checkPassword(ctx, pending, form);
  });

  return router;
}
