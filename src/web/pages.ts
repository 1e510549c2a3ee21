// Every page a person sees while signing in, as a typed function from a model to HTML. The templates (views/*.eta) are
// compiled once, escape what they print, and hold no inline script or style, so that the strictest CSP fits them.
// One loads a script, which presses its button for whoever has JavaScript: go-on.
// Which headers go with a page is headers.ts; what is in the style sheet and the logo is assets.ts.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Eta } from 'eta';
import { createAssets } from './assets.ts';
import type { Branding } from './brand.ts';
import { viewsFolder } from './views.ts';

export type { Branding } from './brand.ts';

/** Fields on submit: `email`, `password`; or, from a form of its own, `cancel=yes`. */
interface SignInPage {
  /** Where the forms are posted to. */
  action: string;
  /** The application that asked, by the name its owner gave it. */
  application: string;
  /** What was typed before, to be kept. */
  email?: string;
  /** One sentence on why the last attempt did not work. */
  problem?: string;
  /** Or on what happened because the person wanted it. */
  notice?: string;
  microsoft?: LinkTo;
  /** Where to type another address. With it, the one there is only shown. */
  back?: string;
  /** Where a person connects an account of theirs elsewhere. */
  connect?: LinkTo;
  /** Whose account is being connected: what was asked for here is not the sign-in alone. */
  connecting?: string;
}

/** As `home`: the application, where a page leads nowhere else. */
export interface LinkTo {
  href: string;
  label: string;
}

/** Before it is known how somebody signs in. Fields on submit: `email`; or, from a form of its own, `cancel=yes`. */
interface SignInStartPage {
  action: string;
  application: string;
  email?: string;
  problem?: string;
  notice?: string;
  /** Whether there is anything to be told by an address. */
  asksAddress: boolean;
  microsoft: LinkTo;
  /** Where the password form is. */
  local: string;
}

/** Fields on submit: `new_password`, `new_password_again`. Shown when a one-time password has to be replaced. */
interface NewPasswordPage {
  action: string;
  application: string;
  email: string;
  /** Characters. */
  minLength: number;
  problem?: string;
}

/** Field on submit: `decision`, `allow` or `deny`. */
interface ConsentPage {
  action: string;
  application: string;
  email: string;
  /** Where the person will be sent: "https://orders.example.com". */
  origin?: string;
  apis: Array<{ name: string; scopes: Array<{ scope: string; description: string }> }>;
  /** Phrases such as "Your e-mail address". */
  profile: string[];
  /** Whether access goes on while the person is away (offline_access). */
  offline: boolean;
}

interface SignOutPage {
  /** Trusted HTML of oidc-provider: a form with the id "op.logoutForm" and its xsrf field. */
  form: string;
  application?: string;
  email?: string;
  /** Name of who else the person is signed in at, where they may choose to be signed out there, too. */
  elsewhere?: string;
}

interface SignedOutPage {
  application?: string;
  /** Who is signed in here all the same. */
  stillAs?: string | undefined;
  home?: LinkTo | undefined;
}

/** Nothing is asked of the person here but to go on. */
interface GoOnPage {
  /** Where the form leads: trusted HTML of oidc-provider, as are its hidden fields. */
  action: string;
  fields: string;
  /** Where the person is taken, by name. */
  application?: string | undefined;
}

interface ErrorPage {
  title: string;
  message: string;
  /** Printed, so that the person can quote it and an operator can find the line in the log. */
  requestId: string;
  code?: string;
  /** What it says to the owner of the application. */
  detail?: string | undefined;
  /** Where a person can do what did not work. */
  instead?: LinkTo | undefined;
  home?: LinkTo | undefined;
}

/** Nothing failed, and nothing is asked. */
interface MessagePage {
  title: string;
  message: string;
  home?: LinkTo | undefined;
}

/**
 * Why a sign-in cannot go on: too old, already done (the back button), or the browser kept no cookie; `saved`: it is too
 * old, but the password that was chosen on its page is the person's from now on.
 */
interface LostPage {
  reason: 'expired' | 'saved' | 'finished' | 'cookies';
  home?: LinkTo | undefined;
}

interface HomePage {
  issuer: string;
  discovery: string;
  jwks: string;
  home?: LinkTo | undefined;
}

export interface Pages {
  signIn(model: SignInPage): string;
  signInStart(model: SignInStartPage): string;
  newPassword(model: NewPasswordPage): string;
  consent(model: ConsentPage): string;
  signOut(model: SignOutPage): string;
  signedOut(model: SignedOutPage): string;
  goOn(model: GoOnPage): string;
  error(model: ErrorPage): string;
  message(model: MessagePage): string;
  lost(model: LostPage): string;
  home(model: HomePage): string;
}

const templates = [
  'layout',
  'problem',
  'microsoft',
  'cancel',
  'home-link',
  'sign-in',
  'sign-in-start',
  'new-password',
  'consent',
  'sign-out',
  'signed-out',
  'go-on',
  'error',
  'message',
  'lost',
  'home',
] as const;

/** @param issuer its path goes before every asset, its host into the foot of every page. */
export function createPages({ branding, issuer }: { branding: Branding; issuer: string }): Pages {
  const eta = new Eta({ autoEscape: true });
  for (const name of templates) {
    eta.loadTemplate(`@${name}`, readFileSync(join(viewsFolder(), `${name}.eta`), 'utf8'));
  }

  const site = describeSite(branding, issuer);
  const page =
    <Model extends object>(name: (typeof templates)[number]) =>
    (model: Model): string =>
      eta.render(`@${name}`, { ...model, site });

  return {
    signIn: page('sign-in'),
    signInStart: page('sign-in-start'),
    newPassword: page('new-password'),
    consent: page('consent'),
    signOut: page('sign-out'),
    signedOut: page('signed-out'),
    goOn: page('go-on'),
    error: page('error'),
    message: page('message'),
    lost: page('lost'),
    home: page('home'),
  };
}

// What every template may print besides its own model, as `it.site`.
function describeSite(branding: Branding, issuer: string) {
  const { host, pathname } = new URL(issuer);
  const root = pathname.replace(/\/$/, '');
  const { stylesheet, brand, icon, goOn, logo } = createAssets(branding).urls;
  return {
    name: branding.name,
    host,
    seal: readFileSync(join(viewsFolder(), 'assets/seal.svg'), 'utf8'),
    stylesheet: root + stylesheet,
    brand: root + brand,
    icon: root + icon,
    goOn: root + goOn,
    logo: logo === undefined ? undefined : root + logo,
  };
}
