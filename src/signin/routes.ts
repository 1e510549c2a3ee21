// The pages of a sign-in under way, at /sign-in/<uid>: which one is due, and what each form does. Which requests need a
// person at all is oidc-provider's decision; what it waits for comes from issuer.pendingSignIn.

import { hash } from 'node:crypto';
import Router from '@koa/router';
import type { Context } from 'koa';
import { displayNameOf, emailKey } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import { belongsToMicrosoft } from '../entra/authorization-request.ts';
import { EntraError } from '../entra/errors.ts';
import type { FinishedSignIn } from '../entra/identity.ts';
import { entraRoutes, failurePage } from '../entra/routes.ts';
import type { EntraSignIn, RedirectOptions } from '../entra/sign-in.ts';
import { AppError, isAppError } from '../errors.ts';
import type { CompleteSignIn } from '../issuer/complete-sign-in.ts';
import type { Issuer, PendingSignIn } from '../issuer/issuer.ts';
import type { ReturnLinks } from '../issuer/return-links.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { addressPrefixes } from '../web/address.ts';
import { readForm, requireSameOrigin } from '../web/body.ts';
import { sendPage } from '../web/headers.ts';
import type { Pages } from '../web/pages.ts';
import { sendRedirect } from '../web/redirect.ts';
import { requestOf } from '../web/request.ts';
import type { Devices } from './device.ts';
import { type Realm, realmFor } from './home-realm.ts';
import type { LoginThrottle } from './login-throttle.ts';
import type { NewPasswords } from './new-password.ts';
import { createNextPages, type Shown } from './next-page.ts';
import type { Passwords } from './password.ts';

interface SignInParts {
  issuerUrl: string;
  issuer: Issuer;
  accounts: Accounts;
  passwords: Passwords;
  throttle: LoginThrottle;
  newPasswords: NewPasswords;
  devices: Devices;
  complete: CompleteSignIn;
  pages: Pages;
  returnLinks: Pick<ReturnLinks, 'from'>;
  audit: Audit;
  seal: Seal;
  log: Log;
  minPasswordLength: number;
  /** Absent where nobody signs in with Microsoft. */
  entra?: EntraSignIn | undefined;
}

type Form = ReadonlyMap<string, string>;

// One sentence for all of them: whether the person exists is nobody's business.
const wrongPassword = 'That e-mail address and password do not match.';
// About what those need who are before: some 100 checks, ten a second.
const busySeconds = 10;
const notTheSame = 'The two passwords are not the same.';
const noAddress = 'Enter your e-mail address and your password.';
// Of https only the scheme counts in a form-action, and so whichever cloud it is.
const microsoft = 'https://login.microsoftonline.com';

/** What a person may read of a refusal that came after Microsoft's yes. */
const refusals = new Set([
  'account_disabled',
  'account_unknown',
  'identity_taken',
  'groups_unavailable',
  'connect_expired',
]);
// Microsoft would sign the same account in again without a question, and so it would be refused again.
const wrongAccount = new Set(['not_entitled', 'guest', 'account_state', 'policy', 'consent']);

/** What a person asked for by following a link: the password form all the same, or to connect an account. */
type Wish = 'local' | 'connect' | undefined;

export function signInRoutes(parts: SignInParts): Router {
  const { newPasswords } = parts;
  const { issuer, accounts, passwords, throttle, devices, complete, pages, audit, log, entra } = parts;
  const router = new Router();
  const ownPage = failurePage(pages, parts.returnLinks);
  const nextPages = createNextPages(parts.seal);

  router.get('/sign-in/:uid', async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    if (entra && goesStraight(ctx, pending)) {
      // Noted, so that whoever comes back from there sees the page and has a choice.
      await issuer.noteSignIn(ctx, { sentToMicrosoft: true });
      return leave(ctx, pending);
    }
    await showStep(ctx, pending, nextPages.read(pending.uid, pending.note?.nextPage));
  });

  router.get('/sign-in/:uid/microsoft', async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    if (!entra || entra.config.mode === 'local-only' || pending.step !== 'login')
      return sendRedirect(ctx, formOf(pending));
    return leave(ctx, pending, { another: 'another' in ctx.query });
  });

  if (entra) {
    const { connector } = entra;
    router.use(entraRoutes({ connector, complete: endAtMicrosoft, failed: showFailure, audit, log }).routes());
  }

  router.post('/sign-in/:uid', requireSameOrigin({ issuer: parts.issuerUrl }), async (ctx) => {
    const pending = await issuer.pendingSignIn(ctx);
    const form = await readForm(ctx);
    if (form.has('cancel')) return sendRedirect(ctx, await issuer.finishSignIn(ctx, { cancelled: true }));
    if (pending.step === 'consent') return decideConsent(ctx, pending, form);
    if (pending.note?.mustChangePassword) return chooseNewPassword(ctx, pending, form);
    if (realmOf(ctx).step === 'identifier' && !form.has('password')) return chooseWay(ctx, pending, form);
    return checkPassword(ctx, pending, form);
  });

  /** Answers a form: the next page, which is asked for by GET, says this. */
  async function goBack(ctx: Context, pending: PendingSignIn, shown: Shown): Promise<void> {
    const { uid, note } = pending;
    await issuer.noteSignIn(ctx, { ...note, nextPage: nextPages.keep(uid, shown) });
    const wish = wishOf(ctx);
    sendRedirect(ctx, wish ? `${formOf(pending)}?${wish}` : formOf(pending));
  }

  const wishOf = ({ query }: Context): Wish => {
    if ('connect' in query && entra) return 'connect';
    return 'local' in query ? 'local' : undefined;
  };

  const realmOf = (ctx: Context): Realm => realmFor(entra?.config, { local: wishOf(ctx) !== undefined });

  /** The application has said whose people it means, and they sign in at Microsoft. */
  function goesStraight(ctx: Context, { step, asked, note }: PendingSignIn): boolean {
    if (step !== 'login' || note || wishOf(ctx) || realmOf(ctx).step === 'both') return false;
    return asked.domainHint !== undefined && entra!.config.domains.includes(asked.domainHint.toLowerCase());
  }

  async function showStep(ctx: Context, pending: PendingSignIn, shown: Shown): Promise<void> {
    const { application, consent, note, redirectUri } = pending;
    const common = { action: formOf(pending), application: application.name };
    const options = { formAction: [redirectUri] };

    if (consent) {
      const account = await accounts.find(pending.accountId ?? '');
      if (!account) throw new AppError('sign_in_lost', 400, 'the person of this sign-in is gone');
      const page = pages.consent({
        ...common,
        ...consent,
        email: displayNameOf(account),
        origin: webOrigin(redirectUri),
      });
      return sendPage(ctx, page, { ...options, status: shown.status });
    }
    if (note?.mustChangePassword) {
      const account = await accounts.find(note.mustChangePassword.accountId);
      const page = pages.newPassword({
        ...common,
        email: account?.email ?? '',
        minLength: parts.minPasswordLength,
        problem: shown.problem,
      });
      return sendPage(ctx, page, { ...options, status: shown.status });
    }
    const says = lasting(ctx, shown);
    const page = signInPage(ctx, pending, says);
    return sendPage(ctx, page, { status: says.status, formAction: entra ? [redirectUri, microsoft] : [redirectUri] });
  }

  function signInPage(ctx: Context, pending: PendingSignIn, shown: Shown): string {
    const { email, problem, notice, tryAnother } = shown;
    const wish = wishOf(ctx);
    const realm = realmOf(ctx);
    const form = formOf(pending);
    const knownAddress = shown.knownAddress && realm.step === 'identifier';
    const common = { application: pending.application.name, email: email ?? pending.asked.loginHint, problem, notice };
    const href = `${form}/microsoft${tryAnother ? '?another' : ''}`;
    const button = { href, label: `Sign in with ${entra?.config.label}` };
    if (!knownAddress && (realm.step === 'identifier' || realm.step === 'microsoft')) {
      const asksAddress = realm.step === 'identifier';
      return pages.signInStart({ ...common, action: form, asksAddress, microsoft: button, local: `${form}?local` });
    }
    const { label } = entra?.config ?? {};
    const mayConnect = label !== undefined && !wish && !realm.administratorsOnly && entra!.config.mode === 'mixed';
    return pages.signIn({
      ...common,
      action: wish ? `${form}?${wish}` : form,
      ...(realm.microsoft && !knownAddress ? { microsoft: button } : {}),
      ...(knownAddress ? { back: `${form}?change` } : {}),
      ...(mayConnect ? { connect: { href: `${form}?connect`, label } } : {}),
      ...(wish === 'connect' ? { connecting: label } : {}),
    });
  }

  /** The address was typed first: what its domain says, and nothing about whether anybody has it. */
  async function chooseWay(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const email = addressIn(form);
    if (email === '') {
      return goBack(ctx, pending, { problem: 'Enter your e-mail address.', status: 400 });
    }
    if (belongsToMicrosoft(entra!.config, email)) return leave(ctx, pending, { email });
    return goBack(ctx, pending, { email, knownAddress: true });
  }

  async function leave(ctx: Context, pending: PendingSignIn, options?: RedirectOptions) {
    try {
      await entra!.begin(ctx, pending, options);
    } catch (error) {
      if (!(error instanceof EntraError)) throw error;
      await showFailure(ctx, error);
    }
  }

  async function endAtMicrosoft(ctx: Context, finished: FinishedSignIn): Promise<void> {
    try {
      await entra!.complete(ctx, finished);
    } catch (error) {
      if (!isAppError(error) || !refusals.has(error.code)) throw error;
      const { message: problem, status } = error;
      await sayAt(ctx, finished.uid, { problem, status, tryAnother: true });
    }
  }

  /** On the page where the sign-in began, where there are other ways; or on one of its own, where that page is gone. */
  async function showFailure(ctx: Context, error: EntraError): Promise<void> {
    const { uid } = error.facts;
    if (uid === undefined) return ownPage(ctx, error);
    try {
      await issuer.pendingSignIn(ctx, uid);
      await sayAt(ctx, uid, saidOf(error));
    } catch (gone) {
      // Whoever cancelled there is told no more than that the page they left has expired meanwhile.
      if (!isAppError(gone, 'sign_in_lost') || error.isChoice) throw gone;
      return ownPage(ctx, error);
    }
  }

  /** The sign-in's page says this, wherever the browser is now. */
  async function sayAt(ctx: Context, uid: string, shown: Shown): Promise<void> {
    await issuer.noteSignIn(ctx, { nextPage: nextPages.keep(uid, shown) });
    sendRedirect(ctx, `/sign-in/${uid}`);
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

  /** As it is now: of a wait, what is left. */
  function lasting(ctx: Context, shown: Shown): Shown {
    const { until, email } = shown;
    if ('change' in ctx.query) return { email };
    if (until === undefined) return shown;
    const waitSeconds = Math.ceil((until - Date.now()) / 1000);
    if (waitSeconds > 0) ctx.set('Retry-After', String(waitSeconds));
    const when = waitSeconds > 0 ? `Try again in ${inWords(waitSeconds)}.` : 'You can try again now.';
    return { problem: `Too many attempts. ${when}`, ...shown };
  }

  async function checkPassword(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const email = addressIn(form);
    const password = form.get('password') ?? '';
    const knownAddress = realmOf(ctx).step === 'identifier' && email !== '';
    if (email === '' || password === '') {
      return goBack(ctx, pending, { email, problem: noAddress, status: 400, knownAddress });
    }

    const account = await accounts.findByEmail(email);
    const from = addressPrefixes(requestOf(ctx).address);
    const device = devices.of(ctx, account?.id);
    const asker =
      device === undefined
        ? { isProved: false, from: [from.block, from.network ?? from.address, from.address] }
        : { isProved: true, from: [device] };
    const turn = await throttle
      .attempt({ emailKey: emailKey(email), ...from, device }, async () => {
        const { ok, rehashed } = await passwords.check(password, account?.passwordHash, asker);
        const barred = account?.disabledAt ? 'account_disabled' : undefined;
        const elsewhere = realmOf(ctx).administratorsOnly && !account?.assignedRoles.includes('admin');
        const reason = ok ? (barred ?? (elsewhere ? 'password_not_allowed' : undefined)) : 'wrong_password';
        return { isRight: account !== undefined && reason === undefined, reason: reason ?? 'wrong_password', rehashed };
      })
      .catch((error: unknown) => {
        if (!isAppError(error, 'busy')) throw error;
        return undefined;
      });
    if (!turn) {
      refuse(ctx, pending, undefined, 'busy');
      const problem = `Many people are signing in right now. Try again in ${inWords(busySeconds)}.`;
      const until = Date.now() + busySeconds * 1000;
      return goBack(ctx, pending, { email, problem, status: 503, until, knownAddress });
    }
    if (!turn.checked) {
      refuse(ctx, pending, undefined, 'too_many_attempts');
      return goBack(ctx, pending, { email, status: 429, until: Date.now() + turn.waitSeconds * 1000, knownAddress });
    }
    const { isRight, reason, rehashed } = turn.checked;
    if (!account || !isRight) {
      refuse(ctx, pending, account?.id, reason);
      return goBack(ctx, pending, { email, problem: wrongPassword, status: 400, knownAddress });
    }

    devices.remember(ctx, account.id);
    if (account.passwordMustChange) {
      const provedHash = fingerprint(account.passwordHash!);
      await issuer.noteSignIn(ctx, { mustChangePassword: { accountId: account.id, provedHash } });
      return sendRedirect(ctx, ctx.path);
    }
    if (rehashed) await accounts.rehash(account.id, account.passwordHash!, rehashed);
    if (wishOf(ctx) === 'connect') {
      const signedOutAt = account.signedOutAt?.getTime();
      // With this trip and no other: what stayed here, whoever signs in next in this browser would find.
      return leave(ctx, pending, { connectTo: { accountId: account.id, signedOutAt } });
    }
    return complete(ctx, pending, account, { method: 'password', amr: ['pwd'] });
  }

  async function chooseNewPassword(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const { accountId, provedHash } = pending.note!.mustChangePassword!;
    const account = await accounts.find(accountId);
    const current = account?.passwordHash;
    // One use is one: what another sign-in or an administrator replaced since it was proved here is good for nothing.
    if (!account || account.disabledAt || !current || fingerprint(current) !== provedHash) throw passwordGone();

    const chosen = form.get('new_password') ?? '';
    if (chosen !== form.get('new_password_again')) return goBack(ctx, pending, { problem: notTheSame, status: 400 });
    const { requestId, address } = requestOf(ctx);
    const replacement = await newPasswords
      .choose(chosen, account, { isProved: true, from: [accountId] })
      .catch((error: unknown) => {
        if (isAppError(error, 'password_unacceptable')) return error;
        throw error;
      });
    if (isAppError(replacement)) return goBack(ctx, pending, { problem: replacement.message, status: 400 });
    const renewed = await accounts.choosePassword(accountId, current, replacement, { requestId, address });
    if (!renewed) throw passwordGone();
    requestOf(ctx).passwordSaved = true; // which the person is told, should the sign-in end here
    return complete(ctx, pending, renewed, { method: 'password', amr: ['pwd'] });
  }

  async function decideConsent(ctx: Context, pending: PendingSignIn, form: Form): Promise<void> {
    const decision = form.get('decision');
    if (decision !== 'allow' && decision !== 'deny') return goBack(ctx, pending, { status: 400 });
    const returnTo = await issuer.finishSignIn(ctx, { consent: decision });
    const { requestId, address } = requestOf(ctx);
    audit.record({
      event: decision === 'allow' ? 'consent.given' : 'consent.declined',
      subject: pending.accountId,
      clientId: pending.application.clientId,
      requestId,
      address,
    });
    return sendRedirect(ctx, returnTo);
  }

  function refuse(ctx: Context, pending: PendingSignIn, subject: string | undefined, reason: string): void {
    const { requestId, address } = requestOf(ctx);
    audit.record({
      event: 'signin.refused',
      subject,
      clientId: pending.application.clientId,
      requestId,
      address,
      detail: { reason },
    });
  }

  return router;
}

const formOf = ({ uid }: PendingSignIn) => `/sign-in/${uid}`;

const addressIn = (form: Form) => form.get('email')?.trim().slice(0, 254) ?? '';

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
