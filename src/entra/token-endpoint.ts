// Entra's token endpoint (RFC 6749 §3.2): redeems a code or a refresh token, with whichever credential Entra accepts.
// The answer is read by its status as well as by its text, which msal-node does not: to it `500 {}` is a success.
// Whether a token is true is verification.ts.

import type { Log } from '../log.ts';
import type { Breaker } from './breaker.ts';
import type { Credential, Credentials } from './credentials.ts';
import { EntraError, operatorHint } from './errors.ts';
import * as msal from './msal.ts';
import { type Network, UpstreamError } from './network.ts';
import { classify, readErrorResponse, TokenRefusal } from './oauth-error.ts';
import { TokenNotAccepted } from './verification.ts';

export interface TokenEndpoint {
  /** @param who see Breaker @throws {TokenRefusal} {UpstreamError} {TokenNotAccepted} {BreakerOpen} {EntraError} */
  redeem(who: string, request: Parameters<typeof msal.redeem>[3]): Promise<msal.TokenSet>;
  /** @throws as `redeem` */
  refresh(who: string, request: Parameters<typeof msal.refresh>[3]): Promise<msal.TokenSet>;
}

interface TokenEndpointParts {
  app: msal.EntraApp;
  network: Network;
  credentials: Credentials;
  breaker: Breaker;
  log: Log;
}

export function createTokenEndpoint({ app, network, credentials, breaker, log }: TokenEndpointParts): TokenEndpoint {
  /** Tries the second credential where Entra does not accept the first: no code is spent before the client is known. */
  async function withCredential<T>(who: string, work: (credential: Credential) => Promise<T>): Promise<T> {
    let refused: unknown = new EntraError('credential', { reason: 'none_usable' });
    for (const { which, credential } of await credentials.usable()) {
      try {
        const result = await breaker.run(who, () => work(credential));
        credentials.accepted(which);
        return result;
      } catch (error) {
        if (!(error instanceof TokenRefusal) || classify(error.response) !== 'credential') throw error;
        credentials.refused(which);
        const { numbers } = error.response;
        const hint = operatorHint('credential', { numbers });
        // A fast clock makes assertions that are not valid yet (AADSTS700024): the figure tells.
        log.error('entra.credential_refused', { which, numbers, hint, clockAheadSeconds: network.clockAheadSeconds() });
        refused = error;
      }
    }
    throw refused;
  }

  return {
    redeem: (who, request) =>
      withCredential(who, (credential) =>
        msal.redeem(app, credential, tokenPoster(network, request.correlationId), request),
      ),
    refresh: (who, request) =>
      withCredential(who, (credential) =>
        msal.refresh(app, credential, tokenPoster(network, request.correlationId), request),
      ),
  };
}

/** @throws (the function) {TokenRefusal} {UpstreamError} {TokenNotAccepted} there is no ID token */
export function tokenPoster(network: Network, correlationId: string): msal.PostForm {
  return async (url, body) => {
    const contentType = 'application/x-www-form-urlencoded;charset=utf-8';
    const headers = { 'content-type': contentType, 'client-request-id': correlationId };
    const { status, document, requestId } = await network.request({ method: 'POST', url, body, headers });
    const refusal = readErrorResponse(document);
    if (refusal) throw new TokenRefusal(refusal, requestId);
    if (status !== 200) throw new UpstreamError('not_json', new URL(url).host, { status, requestId });
    if (typeof document['id_token'] !== 'string') throw new TokenNotAccepted('malformed');
    return document;
  };
}
