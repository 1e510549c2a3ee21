// The Entra connector, the OpenID Connect client (relying party) of Microsoft: sends browsers there (redirect.ts),
// reads what they come back with (callback.ts), says who somebody is (identify.ts), asks again (recheck.ts). What that
// person may be here is decided elsewhere. Nothing is asked of Microsoft for a callback that no sign-in of ours belongs
// to.

import type { Context } from 'koa';
import type { Dispatcher } from 'undici';
import type { EntraConfig } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { RoomLimits } from '../database/row-limits.ts';
import type { PendingSignIn } from '../issuer/pending-sign-in.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { requestOf } from '../web/request.ts';
import type { BeginOptions, ConnectTo } from './authorization-request.ts';
import { createBreaker } from './breaker.ts';
import { createCallback, type EntraCallback, entraCallbackPath } from './callback.ts';
import { authorityOf, cloudOf } from './clouds.ts';
import { createBrowserCookie } from './cookie.ts';
import { createCredentials } from './credentials.ts';
import { EntraError, type EntraFailure } from './errors.ts';
import { blameFor, failureOf } from './failure.ts';
import { createGraph } from './graph.ts';
import { createIdentifyPerson, GraphChallenge } from './identify.ts';
import type { EntraIdentity } from './identity.ts';
import type { EntraApp } from './msal.ts';
import { createNetwork } from './network.ts';
import { classify, TokenRefusal } from './oauth-error.ts';
import { createRecheck, type Recheck } from './recheck.ts';
import { createRedirect } from './redirect.ts';
import { type BegunSignIn, createStates } from './state.ts';
import { createTenantKeys } from './tenant-keys.ts';
import { createTokenEndpoint } from './token-endpoint.ts';

export interface FinishedSignIn {
  identity: EntraIdentity;
  uid: string;
  connectTo?: ConnectTo | undefined;
}

export interface ConnectorHealth {
  /** down: no credential is usable. degraded: Microsoft does not answer, or the second credential had to step in. */
  state: 'ok' | 'degraded' | 'down';
  /** Whether requests to Microsoft are held back after repeated failures. */
  isHeldBack: boolean;
  /** When credentials expire, of those of which that is known. */
  expiries: ReadonlyArray<{ which: 'primary' | 'secondary'; at: Date }>;
}

export interface EntraConnector {
  /**
   * Where to send the browser. Needs no network. Stores the sealed state, and sets a cookie on `ctx` that binds it to
   * this browser.
   */
  begin(ctx: Context, pending: Pick<PendingSignIn, 'uid'>, options: BeginOptions): Promise<string>;
  /**
   * Ends what `begin` began.
   * @throws {EntraError} what went wrong, in words for the person
   */
  finish(ctx: Context): Promise<FinishedSignIn>;
  recheck: Recheck;
  logoutUrl(options: { postLogoutRedirectUri: string; loginHint?: string }): string;
  health(): ConnectorHealth;
  close(): void;
  /**
   * Keeps what Microsoft's page posted (response_mode form_post) and answers where the browser is to come next: a GET
   * within this site, with which it sends its cookie.
   */
  stash: EntraCallback['stash'];
  /** Forgets Microsoft's signing keys, so that the next token is checked with new ones. */
  invalidateKeys(): void;
  sweepExpired(now: number, limit: number): Promise<number>;
}

interface EntraConnectorParts {
  config: EntraConfig;
  /** Public URL of this server. */
  issuer: string;
  db: Database;
  seal: Seal;
  log: Log;
  /** Makes the connections to Microsoft, instead of this process's own network. */
  dispatcher?: Dispatcher | undefined;
  /** How many sign-ins may be at Microsoft. */
  room?: Partial<RoomLimits> | undefined;
  now?: () => number;
}

const networkTimeoutMs = 10_000;
const hourMs = 3_600_000;

export function createEntraConnector(parts: EntraConnectorParts): EntraConnector {
  const { config, issuer, db, seal, log, dispatcher, now = Date.now } = parts;
  const { tenant, clientId, responseMode } = config;
  const cloud = cloudOf(config);
  const authority = authorityOf(cloud, tenant);
  const redirectUri = `${issuer}${entraCallbackPath}`;
  const asksAgain = config.recheck.every > 0;
  // Entra sends no "iss" back (RFC 9207): whose answer it is, the state of a sign-in must tell.
  const appKey = `entra ${cloud.name} ${tenant} ${clientId}`;
  const app: EntraApp = {
    authority,
    clientId,
    scopes: config.graph ? ['User.Read'] : [],
    offlineAccess: asksAgain,
  };

  const network = createNetwork({
    hosts: [cloud.login, cloud.graph],
    proxy: config.proxy,
    dispatcher,
    timeoutMs: networkTimeoutMs,
    log,
    now,
  });
  const credentials = createCredentials(config, { log, now });
  const breaker = createBreaker(blameFor, now);
  const states = createStates(db, seal, now, parts.room);
  const cookie = createBrowserCookie(issuer);
  const graph = createGraph(network, { host: cloud.graph, log });
  const jwksUri = config.customSigningKeys ? `${authority.jwksUri}?appid=${clientId}` : authority.jwksUri;
  const keys = createTenantKeys({
    load: async () => (await network.request({ method: 'GET', url: jwksUri })).document,
    log,
    now,
  });
  const tokens = createTokenEndpoint({ app, network, credentials, breaker, log });
  const identify = createIdentifyPerson({ config, asksAgain, tokens, keys, graph, log, now });
  const authorizationUrl = createRedirect({ config, app, appKey, redirectUri, states, cookie });
  const callback = createCallback({ responseMode, redirectUri, appKey, states, cookie, checkReachable });

  // Whether anybody signs in or not: an expiry is told in time, and a file that cannot be read is told at the start.
  const readCredentials = () => void credentials.usable();
  const reading = setInterval(readCredentials, hourMs).unref();
  readCredentials();

  function checkReachable(uid?: string): void {
    if (breaker.admits()) return;
    throw new EntraError('transient', { uid, reason: 'held_back', retryAfterSeconds: breaker.retryAfterSeconds() });
  }

  /** What Microsoft wants before it answers, once: a second time the person is told. */
  function challengeIn(error: unknown, { isSecondTry, options }: BegunSignIn): string | undefined {
    if (error instanceof GraphChallenge) return error.claims;
    if (isSecondTry || options.prompt === 'none' || !(error instanceof TokenRefusal)) return undefined;
    return classify(error.response) === 'interaction' ? error.response.claims : undefined;
  }

  function adminConsentUrl(): string {
    const scope = ['openid profile email', ...app.scopes].join(' ');
    const parameters = new URLSearchParams({ client_id: clientId, redirect_uri: redirectUri, scope });
    return `https://${cloud.login}/${tenant}/v2.0/adminconsent?${parameters}`;
  }

  return {
    async begin(ctx, { uid }, options) {
      checkReachable(uid);
      // Better said now than after somebody has found their telephone and approved the sign-in.
      if ((await credentials.usable()).length === 0) throw new EntraError('credential', { uid, reason: 'none_usable' });
      return authorizationUrl(ctx, uid, options);
    },

    stash: callback.stash,

    async finish(ctx) {
      const { reply, begun } = await callback.take(ctx);
      const { uid, correlationId, options } = begun;
      const facts: EntraFailure = { uid, correlationId, wasSilent: options.prompt === 'none' };
      try {
        if (reply.kind === 'refused') throw new TokenRefusal(reply.refusal);
        const identity = await identify.byCode(requestOf(ctx).address, reply.code, begun);
        return { identity, uid, connectTo: options.connectTo };
      } catch (error) {
        const claims = challengeIn(error, begun);
        if (claims !== undefined) {
          const redirectTo = await authorizationUrl(ctx, uid, options, claims);
          throw new EntraError('interaction', { ...facts, redirectTo });
        }
        throw failureOf(error, { ...facts, adminConsentUrl: adminConsentUrl() });
      }
    },

    recheck: createRecheck({ identify, network, log }),

    logoutUrl({ postLogoutRedirectUri, loginHint }) {
      const parameters = new URLSearchParams({ post_logout_redirect_uri: postLogoutRedirectUri });
      if (loginHint !== undefined) parameters.set('logout_hint', loginHint);
      return `${authority.endSessionEndpoint}?${parameters}`;
    },

    health() {
      const { state, expiries } = credentials.health();
      const isHeldBack = !breaker.isClosed();
      return { state: state === 'ok' && isHeldBack ? 'degraded' : state, isHeldBack, expiries };
    },

    invalidateKeys: () => keys.invalidate(),
    sweepExpired: states.sweepExpired,
    close() {
      clearInterval(reading);
      void network.close();
    },
  };
}
