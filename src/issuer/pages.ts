// The pages that oidc-provider asks for, and what a person reads when something cannot go on: its errors and our own,
// in sentences that say what to do, with the request id that leads an operator to the log line. Never a stack, never a
// parameter echoed unescaped.

import type { Context, Middleware } from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { displayNameOf } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import { AppError, isAppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { endpoints, isForPrograms } from '../web/endpoints.ts';
import { comeAgain, isComeAgain, logFailedRequest } from '../web/failed-request.ts';
import { sendPage } from '../web/headers.ts';
import type { Pages } from '../web/pages.ts';
import { requestOf } from '../web/request.ts';
import type { ReturnLink, ReturnLinks } from './return-links.ts';

/** Pages that oidc-provider asks for while it answers a request itself. */
export interface ProviderPages {
  error(ctx: KoaContextWithOIDC, out: { error: string; error_description?: string }, error: Error): Promise<void>;
  signOut(ctx: KoaContextWithOIDC, form: string): Promise<void>;
  /** Whether the person is asked where else to be signed out. */
  asksUpstream(ctx: KoaContextWithOIDC): boolean;
  signedOut(ctx: KoaContextWithOIDC): Promise<void>;
  goOn(ctx: KoaContextWithOIDC, form: HandedOn, leadsTo: string | undefined): void;
}

/** A form as HTML, escaped as it stands: where it leads, and its hidden fields. */
interface HandedOn {
  action: string;
  fields: string;
}

interface Wording {
  title: string;
  message: string;
  instead?: { href: string; label: string };
}

const broken: Wording = {
  title: 'Something went wrong on our side',
  message: 'Please try again in a moment. If it happens again, tell your administrator the number below.',
};

const wordings: Record<string, Wording> = {
  invalid_client: {
    title: 'This application is not known here',
    message: 'It asked to sign you in under a name that is not registered. Its owner has to register it first.',
  },
  invalid_redirect_uri: {
    title: 'This sign-in was stopped to protect you',
    message:
      'The application asked to send you to an address that is not registered for it. Do not sign in from where ' +
      'you came; tell the owner of the application.',
  },
  not_found: {
    title: 'There is nothing here',
    message: 'Check the address, or go back to the application and start again from there.',
  },
  temporarily_unavailable: {
    title: 'Signing in is not possible right now',
    message: 'We are working on it. Please try again in a few minutes.',
  },
};

// Whoever wants to sign out and cannot, perhaps at a computer that is not theirs, can do it without the application.
const signOutHere = { href: endpoints.end_session.path, label: 'Sign out here' };

/** By what oidc-provider says about the request (lib/actions/end_session.js, lib/shared/xsrf.js). */
const signOutWordings: Record<string, Wording> = {
  'post_logout_redirect_uri not registered': {
    title: 'This sign-out was stopped to protect you',
    message:
      'The application asked to send you to an address that is not registered for it. Nothing has changed: ' +
      'where you were signed in, you still are. Tell the owner of the application.',
    instead: signOutHere,
  },
  ...Object.fromEntries(
    ['could not find logout details', 'xsrf token invalid'].map((description) => [
      description,
      {
        title: 'This page has expired',
        message: 'It stayed open too long, or a sign-out was begun in another window as well. Nothing has changed.',
        instead: signOutHere,
      },
    ]),
  ),
};
const otherSignOut: Wording = {
  title: 'This sign-out did not work',
  message:
    'The application did not ask for it as it should, so nothing has changed: where you were signed in, you ' +
    'still are. Tell the owner of the application.',
  instead: signOutHere,
};

/** What of an error is for the owner of the application, and not for an operator or the person alone. */
const isForOwner = (code: string) => !['not_found', 'temporarily_unavailable', 'server_error'].includes(code);

interface ProviderPagesParts {
  log: Log;
  pages: Pages;
  returnLinks: ReturnLinks;
  accounts: Pick<Accounts, 'find'>;
  /** Where else people are signed in, and whether they may choose to be signed out there. */
  upstreamSignOut?: { label: string; logoutUrl: string; asks: boolean } | undefined;
}

/** The pages that oidc-provider asks for. */
export function createProviderPages({
  log,
  pages,
  returnLinks,
  accounts,
  upstreamSignOut,
}: ProviderPagesParts): ProviderPages {
  const upstreamBehind = ({ oidc: { session } }: KoaContextWithOIDC) =>
    session?.upstream === undefined ? undefined : upstreamSignOut;

  return {
    async error(ctx, out, error) {
      const away = isComeAgain(ctx, error);
      if (error.name === 'SessionNotFound') return showLost(ctx, returnLinks, pages);
      // As oidc-provider's other endpoints do it (lib/shared/error_handler.js).
      if (wantsJson(ctx)) {
        ctx.body = away ? comeAgain : out;
        return;
      }
      const { status } = ctx;
      // The database would be asked for it, and waited for once more.
      const home = away ? undefined : await returnLinks.from(ctx, ctx.oidc?.client?.clientId);
      const code = away ? comeAgain.error : out.error;
      if (status < 500) logRefusal(log, ctx, { status, code, clientId: ctx.oidc?.client?.clientId });
      showRefusal(ctx, pages, { status, code, description: out.error_description, home });
    },
    async signOut(ctx, form) {
      const { client, session } = ctx.oidc;
      const account = await accounts.find(session?.accountId ?? '');
      const alsoThere = upstreamBehind(ctx);
      const html = pages.signOut({
        form,
        application: client?.clientName,
        email: account && displayNameOf(account),
        elsewhere: alsoThere?.asks ? alsoThere.label : undefined,
      });
      const { postLogoutRedirectUri } = (session?.state ?? {}) as { postLogoutRedirectUri?: string };
      const leadsTo = [postLogoutRedirectUri, alsoThere?.logoutUrl].filter((uri) => uri !== undefined);
      sendPage(ctx, html, { formAction: leadsTo });
    },
    asksUpstream: (ctx) => upstreamBehind(ctx)?.asks ?? false,
    async signedOut(ctx) {
      // Whoever chose to stay signed in is sent here, too, where the application has no page of its own for it.
      const { accountId } = await ctx.oidc.provider.Session.get(ctx);
      const account = await accounts.find(accountId ?? '');
      const { client } = ctx.oidc;
      const home = await returnLinks.from(ctx, client?.clientId);
      sendPage(
        ctx,
        pages.signedOut({ application: client?.clientName, stillAs: account && displayNameOf(account), home }),
      );
    },
    goOn(ctx, form, leadsTo) {
      const html = pages.goOn({ ...form, application: ctx.oidc.client?.clientName });
      sendPage(ctx, html, { status: ctx.status, formAction: leadsTo === undefined ? [] : [leadsTo], script: true });
    },
  };
}

const wantsJson = (ctx: Pick<Context, 'path' | 'accepts'>) =>
  isForPrograms(ctx.path) || ctx.accepts('html', 'json') === 'json';

interface AnswerErrorsParts {
  pages: Pages;
  returnLinks: ReturnLinks;
  audit: Pick<Audit, 'record'>;
  log: Log;
}

/** Turns whatever is thrown inside into an answer, and logs once what is our own fault. */
export function answerErrors({ pages, returnLinks, audit, log }: AnswerErrorsParts): Middleware {
  return async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      const away = isComeAgain(ctx, error);
      const known = away
        ? new AppError(comeAgain.error, 503, comeAgain.error_description)
        : isAppError(error)
          ? error
          : new AppError('server_error', 500, 'unexpected', { cause: error });
      if (known.status >= 500) logFailedRequest(log, ctx, error);
      if (known.code === 'sign_in_lost') return showLost(ctx, returnLinks, pages);
      if (wantsJson(ctx)) {
        ctx.status = known.status;
        ctx.body = {
          error: known.code,
          error_description: known.status < 500 || away ? known.message : broken.message,
          request_id: requestOf(ctx).requestId,
        };
        return;
      }
      const { title, message } =
        known.status < 500
          ? { title: 'This cannot go on', message: known.message }
          : known.status === 503
            ? wordings.temporarily_unavailable!
            : broken;
      if (known.status < 500) {
        logRefusal(log, ctx, { status: known.status, code: known.code });
        const { requestId, address } = requestOf(ctx);
        const detail = { error: known.code, method: ctx.method, path: pathOf(ctx) };
        audit.record({ event: 'request.refused', requestId, address, detail });
      }
      const home = away ? undefined : await returnLinks.from(ctx);
      const page = pages.error({ title, message, requestId: requestOf(ctx).requestId, code: known.code, home });
      sendPage(ctx, page, { status: known.status });
    }
  };
}

const pathOf = ({ path }: Pick<Context, 'path'>) => path.slice(0, 200);

/** The reference on a page leads somebody here; what is our own fault has a line already. */
function logRefusal(
  log: Log,
  { path, method, state }: Pick<Context, 'path' | 'method' | 'state'>,
  facts: Pick<Refusal, 'status' | 'code'> & { clientId?: string | undefined },
) {
  log.info('request.refused', {
    path: pathOf({ path }),
    method,
    requestId: requestOf({ state }).requestId,
    ...facts,
  });
}

interface Refusal {
  status: number;
  code: string;
  description?: string | undefined;
  home: ReturnLink | undefined;
}

function showRefusal(ctx: Context | KoaContextWithOIDC, pages: Pages, { status, code, description, home }: Refusal) {
  const detail = isForOwner(code) ? description : undefined;
  const wording = wordingOf(ctx.path, code, description ?? '');
  sendPage(ctx, pages.error({ ...wording, detail, requestId: requestOf(ctx).requestId, code, home }), {
    status,
  });
}

function wordingOf(path: string, code: string, description: string): Wording {
  if (code === 'server_error') return broken;
  if (isForOwner(code) && path.startsWith(endpoints.end_session.path))
    return signOutWordings[description] ?? otherSignOut;
  return (
    wordings[code] ?? {
      title: 'The application asked for something we cannot do',
      message:
        'There is nothing wrong with your account, and nothing that you could do better. Tell the owner of the ' +
        'application what is written below.',
    }
  );
}

async function showLost(ctx: Context | KoaContextWithOIDC, returnLinks: ReturnLinks, pages: Pages): Promise<void> {
  const { reason, home } = await returnLinks.whyLost(ctx);
  const { passwordSaved } = requestOf(ctx);
  sendPage(ctx, pages.lost({ reason: passwordSaved ? 'saved' : reason, home }), { status: 400 });
}
