// msal-node, and nothing else of it anywhere: it builds the authorization URL, authenticates the client and posts. What
// it says of the person (account, uniqueId, idTokenClaims) is unverified and is not looked at; see
// entra/verification.ts. One instance per request: its cache holds everybody's tokens, and one person's failure makes
// it refuse all others.

import { ConfidentialClientApplication, type INetworkModule, type NetworkResponse } from '@azure/msal-node';
import type { Authority } from './clouds.ts';
import type { Credential } from './credentials.ts';

export interface EntraApp {
  authority: Authority;
  clientId: string;
  /** Beyond openid, profile and email. */
  scopes: readonly string[];
  /** Whether a refresh token is asked for. */
  offlineAccess: boolean;
}

export interface AuthorizationRequest {
  redirectUri: string;
  responseMode: 'query' | 'form_post';
  state: string;
  nonce: string;
  codeChallenge: string;
  correlationId: string;
  prompt?: 'login' | 'select_account' | 'none';
  loginHint?: string;
  domainHint?: string;
  maxAgeSeconds?: number;
  claims?: string;
}

/** What a token endpoint answered. Nothing in it is verified. */
export interface TokenSet {
  idToken: string;
  accessToken: string;
  refreshToken?: string;
}

/** Posts a form; answers with the document of a success, and throws for anything else. */
export type PostForm = (url: string, body: string) => Promise<Readonly<Record<string, unknown>>>;

/** MSAL found fault with an answer. Its code for that is kept; its sentence may hold the token. */
export class MsalRejected extends Error {
  override readonly name = 'MsalRejected';

  constructor(code: string) {
    super(`msal-node rejected the answer: ${code}`);
  }
}

/** Where to send the browser. Needs neither the network nor a credential. */
export async function authorizeUrl(app: EntraApp, request: AuthorizationRequest): Promise<string> {
  const { maxAgeSeconds, ...parameters } = request;
  const client = clientFor(app, { clientAssertion: async () => '' }, unreachable);
  const url = await client.getAuthCodeUrl({
    ...parameters,
    scopes: [...scopes, ...app.scopes],
    codeChallengeMethod: 'S256',
    // maxAge of MSAL's own is not sent.
    ...(maxAgeSeconds !== undefined && { extraQueryParameters: { max_age: String(maxAgeSeconds) } }),
  });
  return url.replace(/(?<=\?).*/s, (query) => edited(query, app));
}

/** @throws what `post` throws, and {MsalRejected} */
export function redeem(
  app: EntraApp,
  credential: Credential,
  post: PostForm,
  request: { code: string; codeVerifier: string; nonce: string; redirectUri: string; correlationId: string },
): Promise<TokenSet> {
  return tokens(app, credential, post, (client) =>
    client.acquireTokenByCode({ ...request, scopes: [...scopes, ...app.scopes] }),
  );
}

/** @throws what `post` throws, and {MsalRejected} */
export function refresh(
  app: EntraApp,
  credential: Credential,
  post: PostForm,
  request: { refreshToken: string; correlationId: string },
): Promise<TokenSet> {
  return tokens(app, credential, post, (client) =>
    client.acquireTokenByRefreshToken({ ...request, scopes: [...scopes, ...app.scopes] }),
  );
}

const scopes = ['email']; // MSAL adds openid, profile and offline_access

async function tokens(
  app: EntraApp,
  credential: Credential,
  post: PostForm,
  acquire: (client: ConfidentialClientApplication) => Promise<{ idToken: string; accessToken: string } | null>,
): Promise<TokenSet> {
  let failure: { error: unknown } | undefined;
  let refreshToken: string | undefined;
  // MSAL reads no HTTP status, replaces errors of others by a bare network_error, and has no refresh token in its
  // result. So its requests end in `post`, and what that throws goes past MSAL.
  const network = async <T>(url: string, { body = '' }: { body?: string } = {}): Promise<NetworkResponse<T>> => {
    try {
      const document = await post(url, edited(body, app));
      if (app.offlineAccess && typeof document['refresh_token'] === 'string') refreshToken = document['refresh_token'];
      const { refresh_token: _, ...rest } = document;
      return { status: 200, headers: {}, body: rest as T };
    } catch (error) {
      failure = { error };
      throw error;
    }
  };

  const client = clientFor(app, credentialFor(credential), { ...unreachable, sendPostRequestAsync: network });
  try {
    const result = await acquire(client);
    const { idToken = '', accessToken = '' } = result ?? {};
    return { idToken, accessToken, ...(refreshToken && { refreshToken }) };
  } catch (error) {
    if (failure) throw failure.error;
    throw new MsalRejected(String((error as { errorCode?: unknown }).errorCode ?? 'unknown'));
  } finally {
    client.clearCache();
  }
}

// With authorityMetadata MSAL has no reason to look anything up; where it tries, something is not as we believe.
const refuse = () => Promise.reject(new Error('msal-node made a request that it has no reason for'));
const unreachable: INetworkModule = { sendGetRequestAsync: refuse, sendPostRequestAsync: refuse };

type MsalCredential = Pick<
  ConstructorParameters<typeof ConfidentialClientApplication>[0]['auth'],
  'clientSecret' | 'clientCertificate' | 'clientAssertion'
>;

function credentialFor(credential: Credential): MsalCredential {
  if (credential.kind === 'secret') return { clientSecret: credential.secret };
  if (credential.kind === 'federated') return { clientAssertion: credential.token };
  return { clientCertificate: { thumbprintSha256: credential.thumbprint, privateKey: credential.privateKey } };
}

function clientFor({ authority, clientId }: EntraApp, credential: MsalCredential, networkClient: INetworkModule) {
  const { issuer, authorizationEndpoint, tokenEndpoint, endSessionEndpoint, jwksUri } = authority;
  const authorityMetadata = JSON.stringify({
    issuer,
    authorization_endpoint: authorizationEndpoint,
    token_endpoint: tokenEndpoint,
    end_session_endpoint: endSessionEndpoint,
    jwks_uri: jwksUri,
  });
  const knownAuthorities = [new URL(authority.url).host];
  return new ConfidentialClientApplication({
    auth: { clientId, ...credential, authority: authority.url, knownAuthorities, authorityMetadata },
    system: { networkClient, loggerOptions: { piiLoggingEnabled: false, loggerCallback: () => {} } },
  });
}

/** Takes out what MSAL always adds: offline_access, where nobody wants a refresh token; the person's name in clear. */
function edited(parameters: string, { offlineAccess }: EntraApp): string {
  return parameters
    .split('&')
    .filter((pair) => !pair.startsWith('X-AnchorMailbox='))
    .map((pair) => {
      if (offlineAccess || !pair.startsWith('scope=')) return pair;
      const asked = decodeURIComponent(pair.slice('scope='.length)).split(' ');
      return `scope=${encodeURIComponent(asked.filter((scope) => scope !== 'offline_access').join(' '))}`;
    })
    .join('&');
}
