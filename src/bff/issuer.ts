// What is asked of the issuer, through openid-client: this is its only import. Errors leave here as ours, with codes
// and no more: the library's carry whole answers of the token endpoint in their causes.

import * as oidc from 'openid-client';
import { BffError } from './errors.ts';
import type { LoginTransaction } from './login-transactions.ts';

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken?: string;
  /** Claims of the ID token, where one came along. */
  readonly idClaims?: Readonly<Record<string, unknown>>;
}

export interface IssuerClient {
  /** Where a sign-in begins, and what to remember of it. */
  begin(): Promise<{ url: string; transaction: Pick<LoginTransaction, 'state' | 'nonce' | 'codeVerifier'> }>;
  /** Redeems the code in the query of the callback. @throws {BffError} `sign_in_cancelled`, `sign_in_failed` */
  finish(query: string, transaction: LoginTransaction): Promise<Tokens>;
  /** @throws {BffError} `signed_out` where the refresh token is no longer good, `issuer_unavailable` */
  refresh(refreshToken: string): Promise<Tokens>;
  revoke(refreshToken: string): Promise<void>;
  /** Where the person signs out at the issuer (OIDC RP-Initiated Logout §2). */
  signOutUrl(subject: unknown): Promise<string>;
}

interface IssuerClientOptions {
  issuer: string;
  clientId: string;
  clientSecret: string;
  scope: string;
  resource: string | undefined;
  /** Absolute. */
  redirectUri: string;
  postLogoutRedirectUri: string;
  timeoutSeconds: number;
}

const retryAfterSeconds = 5;

export function createIssuerClient(options: IssuerClientOptions): IssuerClient {
  const { issuer, clientId, clientSecret, redirectUri, postLogoutRedirectUri, timeoutSeconds } = options;
  // RFC 8707: the API that the access token is for. Said in every request, so that no default decides.
  const target: Record<string, string> = options.resource === undefined ? {} : { resource: options.resource };
  let discovered: Promise<oidc.Configuration> | undefined;

  function configuration(): Promise<oidc.Configuration> {
    discovered ??= oidc
      .discovery(new URL(issuer), clientId, undefined, oidc.ClientSecretBasic(clientSecret), {
        timeout: timeoutSeconds,
        // Whether http is allowed for this issuer was decided when the options were read.
        execute: issuer.startsWith('http:') ? [oidc.allowInsecureRequests] : [],
      })
      .catch((error: unknown) => {
        discovered = undefined; // asked again by the next request
        throw error;
      });
    return discovered;
  }

  return {
    async begin() {
      const transaction = {
        state: oidc.randomState(),
        nonce: oidc.randomNonce(),
        codeVerifier: oidc.randomPKCECodeVerifier(),
      };
      const config = await configuration().catch(unavailable);
      const url = oidc.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope: options.scope,
        ...target,
        state: transaction.state,
        nonce: transaction.nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(transaction.codeVerifier),
        code_challenge_method: 'S256',
      });
      return { url: url.href, transaction };
    },

    async finish(query, { state, nonce, codeVerifier }) {
      const config = await configuration().catch(unavailable);
      // Built from what is configured: Host and X-Forwarded-* are the client's to write.
      const url = new URL(redirectUri + query);
      const checks = {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: codeVerifier,
        idTokenExpected: true,
      };
      const answer = await oidc.authorizationCodeGrant(config, url, checks, target).catch((error: unknown) => {
        const code = error instanceof oidc.AuthorizationResponseError ? error.error : undefined;
        if (code === 'access_denied') throw new BffError('sign_in_cancelled', 'the sign-in was cancelled');
        if (isOutage(error)) return unavailable(error);
        throw new BffError('sign_in_failed', 'the sign-in could not be completed', { detail: describe(error) });
      });
      return tokensFrom(answer);
    },

    async refresh(refreshToken) {
      const config = await configuration().catch(unavailable);
      const answer = await oidc.refreshTokenGrant(config, refreshToken, target).catch((error: unknown) => {
        if (!(error instanceof oidc.ResponseBodyError) || error.error !== 'invalid_grant') return unavailable(error);
        throw new BffError('signed_out', 'your session has ended', { detail: describe(error) });
      });
      return tokensFrom(answer);
    },

    async revoke(refreshToken) {
      const config = await configuration().catch(unavailable);
      await oidc.tokenRevocation(config, refreshToken, { token_type_hint: 'refresh_token' }).catch(unavailable);
    },

    async signOutUrl(subject) {
      const config = await configuration().catch(unavailable);
      // Not id_token_hint: it would put a token into an address, which ends in histories and logs.
      const hint: Record<string, string> = typeof subject === 'string' ? { logout_hint: subject } : {};
      return oidc.buildEndSessionUrl(config, { post_logout_redirect_uri: postLogoutRedirectUri, ...hint }).href;
    },
  };
}

function tokensFrom(answer: oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers): Tokens {
  const idClaims = answer.claims();
  return {
    accessToken: answer.access_token,
    ...(answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token }),
    ...(idClaims === undefined ? {} : { idClaims: { ...idClaims } }),
  };
}

// Whatever is not a clear answer about this grant keeps the session: the secret may be about to be replaced, the issuer
// restarting, the network gone.
function unavailable(error: unknown): never {
  throw new BffError('issuer_unavailable', 'the sign-in service cannot be reached at the moment', {
    detail: describe(error),
    retryAfterSeconds,
  });
}

function isOutage(error: unknown): boolean {
  if (error instanceof oidc.ResponseBodyError) return error.status >= 500;
  const { code, cause } = error as { code?: unknown; cause?: { status?: unknown } };
  return error instanceof TypeError || code === 'OAUTH_TIMEOUT' || Number(cause?.status) >= 500;
}

/** Names and codes of an error and its causes; never their texts or what hangs on them. */
function describe(error: unknown): string {
  const words: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth += 1) {
    const { name, code, error: oauthCode, status } = at as Error & Record<'code' | 'error' | 'status', unknown>;
    const facts = [code, oauthCode, status].filter((fact) => /^\w{1,60}$/.test(String(fact ?? '')));
    words.push([name, ...facts].join(' '));
  }
  return words.join(' < ');
}
