// The Entra connector: leaves for Microsoft, comes back, asks again. It says who somebody is; what that person may be
// here is decided elsewhere. Nothing is asked of Microsoft for a callback that no sign-in of ours belongs to.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import type { Dispatcher } from 'undici';
import type { EntraConfig } from '../config/config.ts';
import type { Database } from '../database/database.ts';
import type { RoomLimits } from '../database/row-limits.ts';
import type { Seal } from '../keys/seal.ts';
import type { Log } from '../log.ts';
import { networkOf } from '../web/address.ts';
import { requestOf } from '../web/request.ts';
import { authorizationParameters } from './authorization-request.ts';
import { createBreaker } from './breaker.ts';
import { entraCallbackPath, readCallback, resumePath, type SignInReply } from './callback.ts';
import { groupsClaim, guestStatus, identityFrom, onlyAllowed } from './claims.ts';
import { authorityOf, cloudOf } from './clouds.ts';
import { createBrowserCookie } from './cookie.ts';
import { type Credential, createCredentials } from './credentials.ts';
import { classify, EntraError, type EntraFailure, OAuthError, operatorHint } from './errors.ts';
import { blameFor, failureOf } from './failure.ts';
import { createGraph } from './graph.ts';
import type { BeginOptions, EntraConnector, EntraIdentity, Groups, RecheckResult } from './identity.ts';
import * as msal from './msal.ts';
import { createNetwork } from './network.ts';
import { recheckVerdict } from './recheck.ts';
import { type BegunSignIn, createStates } from './state.ts';
import { createTenantKeys } from './tenant-keys.ts';
import { tokenPoster } from './token-endpoint.ts';
import { clockToleranceSeconds, TokenNotAccepted, type VerifiedClaims, verifyIdToken } from './verification.ts';

export interface EntraConnectorParts {
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

/** What server.ts and the routes need beyond what a sign-in is. */
export interface MountedEntraConnector extends EntraConnector {
  /**
   * Keeps what Microsoft's page posted (response_mode form_post) and answers where the browser is to come next: a GET
   * within this site, with which it sends its cookie.
   */
  stash(form: ReadonlyMap<string, string>): Promise<string>;
  /** Forgets Microsoft's signing keys, so that the next token is checked with new ones. */
  invalidateKeys(): void;
  sweepExpired(now: number, limit: number): Promise<number>;
}

const networkTimeoutMs = 10_000;
const hourMs = 3_600_000;

export function createEntraConnector(parts: EntraConnectorParts): MountedEntraConnector {
  const { config, issuer, db, seal, log, dispatcher, now = Date.now } = parts;
  const { tenant, clientId, responseMode } = config;
  const cloud = cloudOf(config);
  const authority = authorityOf(cloud, tenant);
  const redirectUri = `${issuer}${entraCallbackPath}`;
  const asksAgain = config.recheck.every > 0;
  // Entra sends no "iss" back (RFC 9207): whose answer it is, the state of a sign-in must tell.
  const appKey = `entra ${cloud.name} ${tenant} ${clientId}`;
  const app: msal.EntraApp = {
    authority,
    clientId,
    scopes: config.graph ? ['User.Read'] : [],
    offlineAccess: asksAgain,
  };
  const allowedTenants = config.allowAnyTenant ? null : new Set(isAlias(tenant) ? config.allowedTenants : [tenant]);

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

  // Whether anybody signs in or not: an expiry is told in time, and a file that cannot be read is told at the start.
  const lookAtCredentials = () => void credentials.usable();
  const looking = setInterval(lookAtCredentials, hourMs).unref();
  lookAtCredentials();

  /** Sends the browser to Microsoft. */
  async function leave(ctx: Context, uid: string, options: BeginOptions, challenge?: string): Promise<string> {
    const { stepUp, oldestSeconds, ...question } = authorizationParameters(config, options, challenge);
    const [codeVerifier, nonce] = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')];
    const correlationId = randomUUID();
    const { state, browser } = await states.begin(
      {
        uid,
        app: appKey,
        redirectUri,
        codeVerifier,
        nonce,
        correlationId,
        ...(oldestSeconds !== undefined && { oldestSeconds }),
        ...(stepUp && { stepUp }),
        options,
        isSecondTry: challenge !== undefined,
      },
      networkOf(requestOf(ctx).address),
    );
    cookie.set(ctx, state, browser);
    const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url');
    return msal.authorizeUrl(app, {
      ...question,
      redirectUri,
      responseMode,
      state,
      nonce,
      codeChallenge,
      correlationId,
    });
  }

  function checkReachable(uid?: string): void {
    if (breaker.admits()) return;
    throw new EntraError('transient', { uid, reason: 'held_back', retryAfterSeconds: breaker.retryAfterSeconds() });
  }

  /** What a request brings back, and the sign-in that it belongs to: used once, and this browser's. */
  async function comeBack(ctx: Context): Promise<{ reply: SignInReply; begun: BegunSignIn }> {
    const isResume = ctx.path === resumePath;
    const parameters = new URLSearchParams(ctx.querystring);
    const direct = isResume ? undefined : readCallback(parameters);
    if (direct?.kind === 'approval') throw new EntraError(direct.outcome);
    if (direct && responseMode === 'form_post') throw new EntraError('lost', { reason: 'wrong_response_mode' });
    // Before the state is used up: whoever reloads the page in a moment can go on.
    if (direct?.kind !== 'refused') checkReachable();

    const state = direct?.state ?? parameters.get('state') ?? '';
    const taken = await states.take(state, cookie.get(ctx, state), { parked: isResume });
    if (!taken) throw new EntraError('lost', { reason: 'unknown_state' });
    cookie.clear(ctx, state);
    const { begun, parked } = taken;
    if (begun.app !== appKey || begun.redirectUri !== redirectUri) {
      throw new EntraError('lost', { reason: 'configuration_changed', uid: begun.uid });
    }
    return { reply: direct ?? parked!, begun };
  }

  async function identify(ctx: Context, code: string, begun: BegunSignIn): Promise<EntraIdentity> {
    const { nonce, codeVerifier, correlationId } = begun;
    const post = tokenPoster(network, correlationId);
    const tokens = await withCredential(requestOf(ctx).address, (credential) =>
      msal.redeem(app, credential, post, { code, codeVerifier, nonce, redirectUri, correlationId }),
    );
    if (asksAgain && tokens.refreshToken === undefined) {
      const hint = 'grant the app offline_access: until then people sign in anew whenever a check is due';
      log.warn('entra.no_refresh_token', { correlationId, hint });
    }
    const claims = await verify(tokens.idToken, nonce);
    checkAge(claims, begun.oldestSeconds);
    checkGuest(claims);
    const { stepUp } = begun;
    const groups = await groupsOf(claims, tokens.accessToken, begun);
    const identity = identityFrom(claims, config, groups);
    if (stepUp && !identity.acrs.includes(stepUp.context)) throw new EntraError('step_up', { reason: stepUp.context });
    return {
      ...identity,
      ...(stepUp && { acr: stepUp.acr }),
      ...(tokens.refreshToken !== undefined && { upstreamRefreshToken: tokens.refreshToken }),
    };
  }

  /** Tries the second credential where Entra does not accept the first: no code is spent before the client is known. */
  async function withCredential<T>(who: string, work: (credential: Credential) => Promise<T>): Promise<T> {
    let refused: unknown = new EntraError('credential', { reason: 'none_usable' });
    for (const { which, credential } of await credentials.usable()) {
      try {
        const result = await breaker.run(who, () => work(credential));
        credentials.accepted(which);
        return result;
      } catch (error) {
        if (!(error instanceof OAuthError) || classify(error.refusal) !== 'credential') throw error;
        credentials.refused(which);
        const { numbers } = error.refusal;
        const hint = operatorHint('credential', { numbers });
        // A fast clock makes assertions that are not valid yet (AADSTS700024): the figure tells.
        log.error('entra.credential_refused', { which, numbers, hint, clockAheadSeconds: network.clockAheadSeconds() });
        refused = error;
      }
    }
    throw refused;
  }

  const verify = (idToken: string, nonce: string | undefined) =>
    verifyIdToken(idToken, keys, { cloud, clientId, allowedTenants, nonce, now: now() });

  function checkAge(claims: VerifiedClaims, oldestSeconds: number | undefined): void {
    if (oldestSeconds === undefined) return;
    const { auth_time: authTime } = claims;
    const seconds = now() / 1000;
    if (typeof authTime !== 'number' || authTime > seconds + clockToleranceSeconds) {
      throw new TokenNotAccepted('wrong_times');
    }
    if (authTime + oldestSeconds + clockToleranceSeconds < seconds) throw new EntraError('too_old');
  }

  function checkGuest(claims: VerifiedClaims): void {
    if (config.guests === 'allow') return;
    const status = guestStatus(claims, config);
    if (status !== 'member') throw new EntraError('guest', { reason: status });
  }

  async function groupsOf(claims: VerifiedClaims, accessToken: string, begun?: BegunSignIn): Promise<Groups> {
    const claim = groupsClaim(claims, config);
    if (claim.kind !== 'ask_graph') return onlyAllowed(claim, config);
    if (!config.graph) return { kind: 'unavailable', reason: 'graph_is_off' };
    const answer = await graph.groupsOf(accessToken);
    if (answer.kind === 'complete') return onlyAllowed(answer, config);
    if (answer.claims !== undefined && asksAgain && begun && !begun.isSecondTry) throw new FurtherStep(answer.claims);
    return { kind: 'unavailable', reason: answer.reason };
  }

  /** What Microsoft wants before it answers, once: a second time the person is told. */
  function challengeIn(error: unknown, { isSecondTry, options }: BegunSignIn): string | undefined {
    if (error instanceof FurtherStep) return error.claims;
    if (isSecondTry || options.prompt === 'none' || !(error instanceof OAuthError)) return undefined;
    return classify(error.refusal) === 'interaction' ? error.refusal.claims : undefined;
  }

  return {
    id: 'entra',

    async begin(ctx, { uid }, options) {
      checkReachable(uid);
      // Better said now than after somebody has found their telephone and approved the sign-in.
      if ((await credentials.usable()).length === 0) throw new EntraError('credential', { uid, reason: 'none_usable' });
      return leave(ctx, uid, options);
    },

    async stash(form) {
      if (responseMode === 'query') throw new EntraError('lost', { reason: 'wrong_response_mode' });
      const reply = readCallback(form);
      if (reply.kind === 'approval') throw new EntraError(reply.outcome);
      if (!(await states.stash(reply))) throw new EntraError('lost', { reason: 'unknown_state' });
      return `${resumePath}?${new URLSearchParams({ state: reply.state })}`;
    },

    async finish(ctx) {
      const { reply, begun } = await comeBack(ctx);
      const { uid, correlationId } = begun;
      const facts: EntraFailure = { uid, correlationId, wasSilent: begun.options.prompt === 'none' };
      try {
        if (reply.kind === 'refused') throw new OAuthError(reply.refusal);
        return { identity: await identify(ctx, reply.code, begun), uid, connectTo: begun.options.connectTo };
      } catch (error) {
        const claims = challengeIn(error, begun);
        if (claims !== undefined) {
          throw new EntraError('interaction', { ...facts, redirectTo: await leave(ctx, uid, begun.options, claims) });
        }
        throw failureOf(error, { ...facts, adminConsentUrl: adminConsentUrl() });
      }
    },

    async recheck(upstreamRefreshToken, expected): Promise<RecheckResult> {
      const correlationId = randomUUID();
      try {
        const post = tokenPoster(network, correlationId);
        const tokens = await withCredential(expected.oid, (credential) =>
          msal.refresh(app, credential, post, { refreshToken: upstreamRefreshToken, correlationId }),
        );
        const claims = await verify(tokens.idToken, undefined);
        if (claims.tid !== expected.tid || claims.oid !== expected.oid) throw new TokenNotAccepted('wrong_object');
        checkGuest(claims);
        const groups = await groupsOf(claims, tokens.accessToken);
        const rotated = tokens.refreshToken ?? upstreamRefreshToken;
        return { outcome: 'ok', identity: { ...identityFrom(claims, config, groups), upstreamRefreshToken: rotated } };
      } catch (error) {
        const { failure, facts, alert, hint, cause } = failureOf(error, { correlationId });
        const { reason = failure, numbers } = facts;
        const verdict = recheckVerdict(error, failure);
        // What would be a forgery in a sign-in may be our clock here, or a proxy: somebody has to look, nobody to go.
        const isDoubtful = alert === 'security' && verdict !== 'ended';
        const write = isDoubtful ? log.warn : alert ? log.error : log.info;
        write('entra.recheck_failed', {
          failure,
          verdict,
          reason,
          numbers,
          correlationId,
          oid: expected.oid,
          clockAheadSeconds: network.clockAheadSeconds(),
          hint,
          cause,
        });
        return { outcome: verdict === 'ended' ? 'ended' : 'unreachable', reason };
      }
    },

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
      clearInterval(looking);
      void network.close();
    },
  };

  function adminConsentUrl(): string {
    const scope = ['openid profile email', ...app.scopes].join(' ');
    const parameters = new URLSearchParams({ client_id: clientId, redirect_uri: redirectUri, scope });
    return `https://${cloud.login}/${tenant}/v2.0/adminconsent?${parameters}`;
  }
}

/** Graph wants a new sign-in with these claims. */
class FurtherStep extends Error {
  readonly claims: string;

  constructor(claims: string) {
    super('Microsoft Graph asks for a further step');
    this.claims = claims;
  }
}

const isAlias = (tenant: string) => ['organizations', 'common', 'consumers'].includes(tenant);
