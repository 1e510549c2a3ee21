// Owns the current Provider: builds it, hands it requests, and replaces it when the keys change. All protocol state is
// in storage, so a sign-in or a code begun under one Provider finishes under the next.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, Middleware } from 'koa';
import { errors, type Interaction, type InteractionResults, Provider } from 'oidc-provider';
import type { Accounts } from '../accounts/accounts.ts';
import type { Audit } from '../audit/audit.ts';
import type { Apis } from '../clients/apis.ts';
import type { Clients, RegisteredClient } from '../clients/clients.ts';
import type { Config } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { RoomLimits } from '../database/row-limits.ts';
import type { Runs } from '../database/runs.ts';
import { AppError } from '../errors.ts';
import type { GrantEnding } from '../grants/ending.ts';
import { issuedAt } from '../keys/dating.ts';
import type { SigningKeys } from '../keys/keyring.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import type { StatusIndexes } from '../status-list/indexes.ts';
import type { StatusListPublisher } from '../status-list/lists.ts';
import { networkOf } from '../web/address.ts';
import { endpoints } from '../web/endpoints.ts';
import { type RequestState, requestOf } from '../web/request.ts';
import type { SecretThrottle } from '../web/secret-throttle.ts';
import { createModels } from './adapter.ts';
import { configurationFor, toMetadata } from './configuration.ts';
import { type ConsentRequest, createConsents, describeConsent, recordConsent, withdrawConsent } from './consent.ts';
import { cookieKeysOf } from './cookies.ts';
import { type FoundToken, lookUpToken as lookUp } from './endpoints/token-lookup.ts';
import { answerFailure, answerUnknownPath, explainLargeBody, noteLargeBody } from './error-responses.ts';
import { auditProvider } from './events.ts';
import { showFormPost } from './form-post.ts';
import { ignoreUnverifiedHint } from './id-token-hint.ts';
import { answerJwksFailure, cacheMetadata, type JwksFetch, reportFetches } from './metadata-responses.ts';
import type { ProvedSignIn } from './models/interaction.ts';
import type { ProviderPages } from './pages.ts';
import { createProvider } from './provider.ts';
import { createRefreshRotation } from './refresh.ts';
import { knownScopes } from './scope.ts';
import { redirectAfterSignOut } from './sign-out.ts';
import { createTokenFormats, type TokenFormats } from './tokens.ts';
import { signOutUpstream, type UpstreamBound, type UpstreamProvider } from './upstream-session.ts';

export interface Issuer {
  /** Answers a protocol request. Nobody else may write to `res` afterwards. */
  handle(req: IncomingMessage, res: ServerResponse, state: RequestState): Promise<void>;
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
  /** What a token is that somebody presents to us; undefined where it is none of ours, or expired. */
  lookUp(token: string): Promise<FoundToken | undefined>;
  /** Signs with, and publishes, other keys from now on. */
  useKeys(keys: SigningKeys): void;
  sweep(now: number, limit: number): Promise<number>;
  close(): void;
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

interface IssuerParts {
  config: Config;
  db: Database;
  accounts: Accounts;
  clients: Clients;
  apis: Apis;
  audit: Audit;
  seal: Seal;
  log: Log;
  pages: ProviderPages;
  /** Told of every JWKS that was served, at once and without waiting. */
  jwksServed?: (fetch: JwksFetch) => void;
  ending: GrantEnding;
  statusIndexes: Pick<StatusIndexes, 'allocate' | 'ofClient'>;
  statusLists: Pick<StatusListPublisher, 'uriOf'>;
  /** Shared with whatever else authenticates applications. */
  secretThrottle: SecretThrottle;
  /** Where people also sign in elsewhere. */
  upstream?: UpstreamProvider | undefined;
  /** How many sign-ins may be under way, and how many sessions there may be in which nobody is signed in. */
  room?: Partial<RoomLimits> | undefined;
  now?: () => number;
  /** The same, not from an estimate. */
  exactNow?: () => Promise<number>;
  /** Who died, and may have left a refresh without its answer. Default: nobody ever does. */
  runs?: Pick<Runs, 'mayBeUnanswered' | 'unansweredSince'> | undefined;
}

export function createIssuer(parts: IssuerParts, firstKeys: SigningKeys): Issuer {
  const { config, db, accounts, clients, apis, audit, seal, log, pages, jwksServed, upstream, now = Date.now } = parts;
  const { statusIndexes, statusLists, room, exactNow = async () => now(), runs } = parts;
  const models = createModels(db, findClientMetadata, parts, now, {
    limits: room,
    network: () => {
      const address = Provider.ctx && requestOf(Provider.ctx).address;
      return address === undefined ? undefined : networkOf(address);
    },
  });
  const consents = createConsents(db, now);
  // Sealed once per refresh, so under a key of its own: see createSeal on how often one key may be used.
  const answerSeal = seal.forPurpose('refresh answers');
  const rotation = createRefreshRotation(
    models,
    answerSeal,
    { grace: config.tokens.refreshGrace, spacing: config.tokens.refreshSpacing },
    now,
    exactNow,
    runs,
  );
  const states = new WeakMap<IncomingMessage, RequestState>();
  const cookieKeys = cookieKeysOf(seal);
  const people = onceInRequest((id: string) => accounts.find(id));
  const isKnownScope = knownScopes(apis);
  let current = build(firstKeys);

  interface Built {
    provider: Provider;
    formats: TokenFormats;
    callback: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  }

  function build(keys: SigningKeys): Built {
    const formats = createTokenFormats(config.issuer, keys, config.tokens.refreshTokenFormat, now);
    const configuration = configurationFor(
      {
        config,
        people,
        apis,
        models,
        consents,
        pages,
        cookieKeys,
        statusLists,
        upstream,
        now,
        isKnownScope,
      },
      keys,
    );
    const provider = createProvider(config.issuer, configuration, {
      formats,
      rotation,
      statusIndexes,
      now,
      isKnownScope,
      secretThrottle: parts.secretThrottle,
      findApplication: (clientId) => clients.find(clientId),
      stateOf: (req) => states.get(req),
      // Not which is later: the clocks of servers, and of whoever types the command, may be apart.
      isOver: async ({ accountId, signedOutAt }) => (await people(accountId))?.signedOutAt?.getTime() !== signedOutAt,
    });
    provider.silent = true;
    provider.use(answerJwksFailure);
    provider.use((ctx, next) => answerFailure(ctx as never, next, pages));
    auditProvider(provider, audit, log);
    provider.use((ctx, next) => explainLargeBody(ctx as never, next, pages));
    provider.on('grant.error', noteLargeBody);
    provider.use((ctx, next) => rotation.settle(ctx as never, next));
    // None of these has anything to do with the busy endpoint, and each costs it a turn.
    const useBesideTokens = (layer: Middleware) =>
      provider.use((ctx, next) =>
        ctx.path === endpoints.token.path && ctx.method === 'POST' ? next() : layer(ctx, next),
      );
    useBesideTokens((ctx, next) => signOutUpstream(ctx as never, next, config.issuer, upstream));
    useBesideTokens((ctx, next) => redirectAfterSignOut(ctx as never, next));
    useBesideTokens((ctx, next) => reportFetches(ctx, next, jwksServed, keys.newestPreparedAt));
    useBesideTokens((ctx, next) => cacheMetadata(ctx, next, config.keys.jwksMaxAge));
    useBesideTokens((ctx, next) => answerUnknownPath(ctx as never, next, pages));
    useBesideTokens((ctx, next) => showFormPost(ctx as never, next, pages));
    useBesideTokens((ctx, next) => ignoreUnverifiedHint(ctx, next, { provider, formats }));
    return { provider, formats, callback: provider.callback() as Built['callback'] };
  }

  async function findClientMetadata(clientId: string) {
    const application = await clients.find(clientId);
    return application && (toMetadata(application) as never);
  }

  async function interactionOf(ctx: Context): Promise<Interaction> {
    states.set(ctx.req, requestOf(ctx));
    return orLost(() => current.provider.interactionDetails(ctx.req, ctx.res));
  }

  /** At any step the sign-in may be over: it is too old, was swept, or another tab has finished it. */
  async function resultOf(ctx: Context, result: InteractionResults, { merge }: { merge: boolean }): Promise<string> {
    return orLost(() =>
      current.provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: merge }),
    );
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
    async handle(req, res, state) {
      states.set(req, state);
      await current.callback(req, res);
    },

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
        if (answer.consent === 'deny') await withdrawConsent(current.provider, interaction, application, consents);
        else {
          const grantId = await recordConsent(current.provider, interaction, application, consents);
          return resultOf(ctx, { consent: { grantId } }, { merge: true });
        }
      }
      const what = 'cancelled' in answer ? 'cancelled the sign-in' : 'declined the request';
      return resultOf(ctx, { error: 'access_denied', error_description: `the person ${what}` }, { merge: false });
    },

    useKeys(keys) {
      const previous = current;
      current = build(keys);
      previous.formats.close();
    },

    lookUp: (token) =>
      lookUp(token, {
        models,
        formats: current.formats,
        issuer: config.issuer,
        graceMs: config.tokens.refreshGrace * 1000,
        now,
      }),

    async sweep(at, limit) {
      const grace = config.tokens.refreshGrace * 1000;
      const unanswered = (await runs?.unansweredSince(at, grace)) ?? at;
      return models.sweep(at, Math.min(at - grace, unanswered), limit);
    },
    close: () => current.formats.close(),
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

// One request takes one look at a person: what it decides first (is this sign-in over?) and what it decides next go by
// the same row. Outside oidc-provider's requests nothing is kept.
function onceInRequest<T>(read: (id: string) => Promise<T>): (id: string) => Promise<T> {
  const seen = new WeakMap<object, Map<string, Promise<T>>>();
  return (id) => {
    const request = Provider.ctx;
    if (!request) return read(id);
    const known = seen.get(request) ?? new Map<string, Promise<T>>();
    seen.set(request, known);
    if (!known.has(id)) known.set(id, read(id));
    return known.get(id)!;
  };
}
