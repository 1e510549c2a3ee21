// A sign-in under way, as the steps of signing in see it: oidc-provider's interaction, what the application asked for
// (OIDC Core §3.1.2.1), what is noted between two steps, and how a step ends.

import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';
import { errors, type Interaction, type InteractionResults, type Provider } from 'oidc-provider';
import type { Apis } from '../clients/apis.ts';
import type { Clients, RegisteredClient } from '../clients/clients.ts';
import { AppError } from '../errors.ts';
import { issuedAt } from '../keys/dating.ts';
import { type RequestState, requestOf } from '../web/request.ts';
import type { Models } from './adapter.ts';
import { type ConsentRequest, type Consents, describeConsent, recordConsent, withdrawConsent } from './consent.ts';
import type { ProvedSignIn } from './models/interaction.ts';
import type { UpstreamBound } from './upstream-session.ts';

export interface PendingSignIns {
  /**
   * The sign-in that this browser is in the middle of.
   * @param uid which one, where the path does not say it. What follows on the same `ctx` then means that one, too.
   * @throws {AppError} sign_in_lost
   */
  pendingSignIn(ctx: Context, uid?: string): Promise<PendingSignIn>;
  /** Keeps a fact about the pending sign-in until its next step, with the sign-in and not with the browser. */
  noteSignIn(ctx: Context, note: SignInNote): Promise<void>;
  /** Ends the pending step; where to send the browser next. */
  finishSignIn(ctx: Context, answer: SignInAnswer): Promise<string>;
}

export interface PendingSignIn {
  uid: string;
  /** What is asked of the person now. */
  step: 'login' | 'consent';
  application: RegisteredClient;
  asked: Asked;
  /** Where the browser returns to: the page's form-action must allow it. */
  redirectUri: string;
  accountId?: string;
  /** The session elsewhere behind the browser's session here, where somebody who has one is to sign in anew. */
  upstream?: string;
  consent?: ConsentRequest;
  note?: SignInNote;
}

/** What the application says about the sign-in it wants (OIDC Core §3.1.2.1). */
interface Asked {
  loginHint?: string;
  /** Whose people it means, by a domain. Microsoft's parameter, and widely sent. */
  domainHint?: string;
  prompt?: string;
  /** Seconds. */
  maxAge?: number;
  acrValues: string[];
}

/** Facts kept between two steps of one sign-in. */
interface SignInNote {
  /** Who proved a one-time password, and has now to choose another one in place of just that one. */
  mustChangePassword?: { accountId: string; provedHash: string };
  /** The browser was sent to Microsoft without being shown our page. */
  sentToMicrosoft?: true;
  /** What the next page has to say: the business of signin/next-page.ts. */
  nextPage?: object;
}

type SignInAnswer =
  /**
   * `amr`: how the person was authenticated (RFC 8176). `authTime`: when, in epoch seconds, if not now. `upstream`: the
   * session elsewhere that it rests on.
   */
  | (ProvedSignIn & { amr?: string[]; acr?: string; authTime?: number })
  | { consent: 'allow' | 'deny' }
  | { cancelled: true };

interface PendingSignInsParts {
  /** Which one is in charge. */
  provider: () => Provider;
  /** What oidc-provider's context of a request gets to know (provider.ts). */
  states: WeakMap<IncomingMessage, RequestState>;
  models: Models;
  consents: Consents;
  clients: Pick<Clients, 'find'>;
  apis: Apis;
  now: () => number;
}

export function createPendingSignIns(parts: PendingSignInsParts): PendingSignIns {
  const { provider, states, models, consents, clients, apis, now } = parts;

  async function interactionOf(ctx: Context): Promise<Interaction> {
    states.set(ctx.req, requestOf(ctx));
    return orLost(() => provider().interactionDetails(ctx.req, ctx.res));
  }

  /** At any step the sign-in may be over: it is too old, was swept, or another tab has finished it. */
  async function resultOf(ctx: Context, result: InteractionResults, { merge }: { merge: boolean }): Promise<string> {
    return orLost(() => provider().interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: merge }));
  }

  async function upstreamOf(session: Interaction['session']): Promise<string | undefined> {
    if (session?.uid === undefined) return undefined;
    const found = (await models.adapter('Session').findByUid(session.uid)) as UpstreamBound | undefined;
    return found?.upstream;
  }

  async function applicationBehind({ params }: Interaction): Promise<RegisteredClient> {
    const application = await clients.find(String(params.client_id));
    if (!application) throw new AppError('sign_in_lost', 400, 'the application of this sign-in is gone');
    return application;
  }

  return {
    async pendingSignIn(ctx, named) {
      if (named !== undefined) requestOf(ctx).signIn = named;
      const interaction = await interactionOf(ctx);
      const application = await applicationBehind(interaction);
      const { uid, prompt, params, session, result } = interaction;
      return {
        uid,
        step: prompt.name === 'consent' ? 'consent' : 'login',
        application,
        asked: askedOf(params),
        redirectUri: String(params.redirect_uri),
        accountId: session?.accountId,
        upstream: prompt.name !== 'consent' ? await upstreamOf(session) : undefined,
        consent: prompt.name === 'consent' ? describeConsent(interaction, application, apis) : undefined,
        note: (result as { note?: SignInNote } | undefined)?.note,
      };
    },

    async noteSignIn(ctx, note) {
      await resultOf(ctx, { note: { ...note } }, { merge: false });
    },

    async finishSignIn(ctx, answer) {
      if ('accountId' in answer) {
        const { authTime, ...login } = answer;
        // Dated as the tokens are that say it: never after their `iat`, and the same in all of them.
        const ts = Math.min(authTime ?? Infinity, issuedAt(now()));
        // Whoever signed in has thereby chosen: a request with prompt=select_account goes on as well.
        return resultOf(ctx, { login: { ...login, ts }, select_account: {} }, { merge: false });
      }
      if ('consent' in answer) {
        const interaction = await interactionOf(ctx);
        const application = await applicationBehind(interaction);
        if (answer.consent === 'deny') await withdrawConsent(provider(), interaction, application, consents);
        else {
          const grantId = await recordConsent(provider(), interaction, application, consents);
          return resultOf(ctx, { consent: { grantId } }, { merge: true });
        }
      }
      const what = 'cancelled' in answer ? 'cancelled the sign-in' : 'declined the request';
      return resultOf(ctx, { error: 'access_denied', error_description: `the person ${what}` }, { merge: false });
    },
  };
}

async function orLost<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof errors.SessionNotFound)) throw cause;
    throw new AppError('sign_in_lost', 400, 'this sign-in cannot be continued', { cause });
  }
}

function askedOf(params: Interaction['params']): Asked {
  const text = (name: string) => params[name] as string | undefined;
  return {
    loginHint: text('login_hint'),
    domainHint: text('domain_hint'),
    prompt: text('prompt'),
    maxAge: params.max_age === undefined ? undefined : Number(params.max_age),
    acrValues: text('acr_values')?.split(' ') ?? [],
  };
}
