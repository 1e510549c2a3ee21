// The sign-in page: what it offers a person, what it says of the last attempt, and how a form leads back to it. What
// comes of a form is a step's own (check-password.ts, microsoft.ts, replace-password.ts, consent.ts).

import type { Context } from 'koa';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import type { EntraSignIn } from '../entra/sign-in.ts';
import type { CompleteSignIn } from '../issuer/complete-sign-in.ts';
import type { Issuer } from '../issuer/issuer.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import type { ReturnLinks } from '../issuer/return-links.ts';
import type { Seal } from '../keys/seal.ts';
import { sendPage } from '../web/headers.ts';
import type { Pages } from '../web/pages.ts';
import { sendRedirect } from '../web/redirect.ts';
import type { Devices } from './device.ts';
import { type Realm, realmFor } from './home-realm.ts';
import type { LoginThrottle } from './login-throttle.ts';
import type { NewPasswords } from './new-password.ts';
import { createNextPages, type Shown } from './next-page.ts';
import type { Passwords } from './password.ts';

/** What the steps of a sign-in work with. */
export interface SignInParts {
  issuerUrl: string;
  issuer: Issuer;
  accounts: Accounts;
  passwords: Passwords;
  newPasswords: NewPasswords;
  throttle: LoginThrottle;
  devices: Devices;
  complete: CompleteSignIn;
  pages: Pages;
  returnLinks: Pick<ReturnLinks, 'from'>;
  audit: Audit;
  seal: Seal;
  minPasswordLength: number;
  /** Absent where nobody signs in with Microsoft. */
  entra?: EntraSignIn | undefined;
}

export type SignInForm = ReadonlyMap<string, string>;

/** What a person asked for by following a link: the password form all the same, or to connect an account. */
type Wish = 'local' | 'connect' | undefined;

export interface SignInPage {
  show(ctx: Context, pending: PendingSignIn, shown: Shown): void;
  /** What the last form left for the page that is asked for now. */
  leftFor(pending: PendingSignIn): Shown;
  /** Answers a form: the next page, which is asked for by GET, says this. */
  goBack(ctx: Context, pending: PendingSignIn, shown: Shown): Promise<void>;
  /** The sign-in's page says this, wherever the browser is now. */
  sayAt(ctx: Context, uid: string, shown: Shown): Promise<void>;
  wishOf(ctx: Context): Wish;
  realmOf(ctx: Context): Realm;
}

// Of https only the scheme counts in a form-action, and so whichever cloud it is.
const microsoft = 'https://login.microsoftonline.com';

export function createSignInPage({ issuer, pages, seal, entra: wing }: SignInParts): SignInPage {
  const entra = wing?.config;
  const nextPages = createNextPages(seal);

  const wishOf = ({ query }: Context): Wish => {
    if ('connect' in query && entra) return 'connect';
    return 'local' in query ? 'local' : undefined;
  };

  const realmOf = (ctx: Context): Realm => realmFor(entra, { local: wishOf(ctx) !== undefined });

  function pageFor(ctx: Context, pending: PendingSignIn, shown: Shown): string {
    const { email, problem, notice, tryAnother } = shown;
    const wish = wishOf(ctx);
    const realm = realmOf(ctx);
    const form = formOf(pending);
    const knownAddress = shown.knownAddress && realm.step === 'identifier';
    const common = { application: pending.application.name, email: email ?? pending.asked.loginHint, problem, notice };
    const href = `${form}/microsoft${tryAnother ? '?another' : ''}`;
    const button = { href, label: `Sign in with ${entra?.label}` };
    if (!knownAddress && (realm.step === 'identifier' || realm.step === 'microsoft')) {
      const asksAddress = realm.step === 'identifier';
      return pages.signInStart({ ...common, action: form, asksAddress, microsoft: button, local: `${form}?local` });
    }
    const mayConnect = !wish && !realm.administratorsOnly && entra?.mode === 'mixed';
    return pages.signIn({
      ...common,
      action: wish ? `${form}?${wish}` : form,
      ...(realm.microsoft && !knownAddress ? { microsoft: button } : {}),
      ...(knownAddress ? { back: `${form}?change` } : {}),
      ...(mayConnect ? { connect: { href: `${form}?connect`, label: entra.label } } : {}),
      ...(wish === 'connect' ? { connecting: entra?.label } : {}),
    });
  }

  return {
    wishOf,
    realmOf,

    show(ctx, pending, shown) {
      const says = lasting(ctx, shown);
      const { redirectUri } = pending;
      const formAction = entra ? [redirectUri, microsoft] : [redirectUri];
      sendPage(ctx, pageFor(ctx, pending, says), { status: says.status, formAction });
    },

    leftFor: ({ uid, note }) => nextPages.read(uid, note?.nextPage),

    async goBack(ctx, pending, shown) {
      const { uid, note } = pending;
      await issuer.noteSignIn(ctx, { ...note, nextPage: nextPages.keep(uid, shown) });
      const wish = wishOf(ctx);
      sendRedirect(ctx, wish ? `${formOf(pending)}?${wish}` : formOf(pending));
    },

    async sayAt(ctx, uid, shown) {
      await issuer.noteSignIn(ctx, { nextPage: nextPages.keep(uid, shown) });
      sendRedirect(ctx, formOf({ uid }));
    },
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

export const formOf = ({ uid }: Pick<PendingSignIn, 'uid'>) => `/sign-in/${uid}`;

export const addressIn = (form: SignInForm) => form.get('email')?.trim().slice(0, 254) ?? '';

export function inWords(seconds: number): string {
  if (seconds < 90) return `${seconds} second${seconds === 1 ? '' : 's'}`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
