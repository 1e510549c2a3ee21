// Identifies a person by what Entra's token endpoint gives for a code or a refresh token: verifies the ID token, asks
// Graph for groups where the token has none, and refuses who is a guest, too long ago authenticated, or short of a
// step-up.

import type { EntraConfig } from '../config/config.ts';
import type { Log } from '../log.ts';
import { cloudOf } from './clouds.ts';
import { EntraError } from './errors.ts';
import type { Graph } from './graph.ts';
import { type EntraIdentity, type Groups, groupsClaim, guestStatus, identityFrom, onlyAllowed } from './identity.ts';
import type { BegunSignIn } from './state.ts';
import type { TenantKeys } from './tenant-keys.ts';
import type { TokenEndpoint } from './token-endpoint.ts';
import { clockToleranceSeconds, TokenNotAccepted, type VerifiedClaims, verifyIdToken } from './verification.ts';

export interface IdentifyPerson {
  /** @param address the browser's @throws {EntraError} {GraphChallenge}, and what the token endpoint throws */
  byCode(address: string, code: string, begun: BegunSignIn): Promise<EntraIdentity>;
  /** @throws as `byCode`; {TokenNotAccepted} wrong_object: it is somebody else */
  byRefreshToken(
    refreshToken: string,
    expected: Pick<EntraIdentity, 'tid' | 'oid'>,
    correlationId: string,
  ): Promise<EntraIdentity>;
}

interface IdentifyParts {
  config: EntraConfig;
  /** Whether people are checked again, and so a refresh token is asked for. */
  asksAgain: boolean;
  tokens: TokenEndpoint;
  keys: TenantKeys;
  graph: Graph;
  log: Log;
  now(): number;
}

/** Microsoft Graph wants a new sign-in with these claims. */
export class GraphChallenge extends Error {
  readonly claims: string;

  constructor(claims: string) {
    super('Microsoft Graph asks for a further step');
    this.claims = claims;
  }
}

export function createIdentifyPerson(parts: IdentifyParts): IdentifyPerson {
  const { config, asksAgain, tokens, keys, graph, log, now } = parts;
  const { clientId, tenant } = config;
  const cloud = cloudOf(config);
  const allowedTenants = config.allowAnyTenant ? null : new Set(isAlias(tenant) ? config.allowedTenants : [tenant]);

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
    if (answer.claims !== undefined && asksAgain && begun && !begun.isSecondTry)
      throw new GraphChallenge(answer.claims);
    return { kind: 'unavailable', reason: answer.reason };
  }

  return {
    async byCode(address, code, begun) {
      const { nonce, codeVerifier, redirectUri, correlationId, stepUp } = begun;
      const { idToken, accessToken, refreshToken } = await tokens.redeem(address, {
        code,
        codeVerifier,
        nonce,
        redirectUri,
        correlationId,
      });
      if (asksAgain && refreshToken === undefined) {
        const hint = 'grant the app offline_access: until then people sign in anew whenever a check is due';
        log.warn('entra.no_refresh_token', { correlationId, hint });
      }
      const claims = await verify(idToken, nonce);
      checkAge(claims, begun.oldestSeconds);
      checkGuest(claims);
      const identity = identityFrom(claims, config, await groupsOf(claims, accessToken, begun));
      if (stepUp && !identity.acrs.includes(stepUp.context))
        throw new EntraError('step_up', { reason: stepUp.context });
      return {
        ...identity,
        ...(stepUp && { acr: stepUp.acr }),
        ...(refreshToken !== undefined && { upstreamRefreshToken: refreshToken }),
      };
    },

    async byRefreshToken(refreshToken, { tid, oid }, correlationId) {
      const renewed = await tokens.refresh(oid, { refreshToken, correlationId });
      const claims = await verify(renewed.idToken, undefined);
      if (claims.tid !== tid || claims.oid !== oid) throw new TokenNotAccepted('wrong_object');
      checkGuest(claims);
      const identity = identityFrom(claims, config, await groupsOf(claims, renewed.accessToken));
      return { ...identity, upstreamRefreshToken: renewed.refreshToken ?? refreshToken };
    },
  };
}

const isAlias = (tenant: string) => ['organizations', 'common', 'consumers'].includes(tenant);
