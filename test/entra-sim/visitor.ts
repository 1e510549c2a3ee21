// For the simulator's own tests: a relying party made of msal-node, configured as a product is in production, and a
// browser without pages. Neither knows that Microsoft is simulated; only the connector does.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { ConfidentialClientApplication } from '@azure/msal-node';
import type { Configuration, INetworkModule } from '@azure/msal-node';
import { Agent, fetch } from 'undici';
import type { Response } from 'undici';

import type { EntraSim } from './index.ts';

export const redirectUri = 'https://signet.example/callback/entra';

export interface Visitor {
  /** One request to a production host name; redirects are not followed, cookies are kept per host. */
  request(url: string, options?: { method?: string; headers?: Record<string, string>; form?: Record<string, string>; signal?: AbortSignal }): Promise<Response>;
  /** Goes to an authorization URL and returns what the application would receive at its redirect URI. */
  callback(url: string): Promise<URLSearchParams>;
  close(): Promise<void>;
}

export function createVisitor(sim: EntraSim): Visitor {
  const dispatcher = new Agent({ connect: sim.connector() });
  const jar = new Map<string, string>();

  const request: Visitor['request'] = async (url, { method, headers, form, signal } = {}) => {
    const { host } = new URL(url);
    const response = await fetch(url, {
      dispatcher,
      redirect: 'manual',
      method: method ?? (form ? 'POST' : 'GET'),
      headers: { ...headers, ...(jar.has(host) ? { Cookie: jar.get(host)! } : {}) },
      body: form && new URLSearchParams(form),
      signal,
    });
    for (const line of response.headers.getSetCookie()) jar.set(host, line.split(';')[0]!);
    return response;
  };

  return {
    request,
    async callback(url) {
      const response = await request(url);
      const location = response.headers.get('location');
      if (location !== null) return new URL(location).searchParams;
      const page = await response.text();
      if (!page.includes(`action="${redirectUri}"`)) throw new Error(`no callback but ${response.status}: ${page.slice(-400)}`);
      const fields = [...page.matchAll(/name="([^"]+)" value="([^"]*)"/g)].map(([, name, value]): [string, string] => [name!, value!]);
      return new URLSearchParams(fields);
    },
    close: () => dispatcher.close(),
  };
}

export interface RelyingParty {
  msal: ConfidentialClientApplication;
  /** The authorization URL, with PKCE, state and nonce of its own. */
  begin(options?: Partial<Parameters<ConfidentialClientApplication['getAuthCodeUrl']>[0]>): Promise<string>;
  /** The whole way: authorization URL, callback, redemption. */
  signIn(options?: Parameters<RelyingParty['begin']>[0]): ReturnType<RelyingParty['redeem']>;
  redeem(callback: URLSearchParams, options?: { verifier?: string; redirectUri?: string }): ReturnType<ConfidentialClientApplication['acquireTokenByCode']>;
}

type Credential = Pick<Configuration['auth'], 'clientSecret' | 'clientCertificate' | 'clientAssertion'>;

export function createRelyingParty(
  sim: EntraSim, visitor: Visitor, { authority = sim.app.home.id, credential = { clientSecret: sim.app.secret } as Credential } = {},
): RelyingParty {
  const login = sim.app.home.loginHost;
  const base = `https://${login}/${authority}`;
  const msal = new ConfidentialClientApplication({
    auth: {
      clientId: sim.app.clientId,
      authority: base,
      knownAuthorities: [login],
      authorityMetadata: JSON.stringify({
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
        end_session_endpoint: `${base}/oauth2/v2.0/logout`,
        jwks_uri: `${base}/discovery/v2.0/keys`,
      }),
      ...credential,
    },
    system: { networkClient: networkClient(visitor) },
  });
  const verifier = randomBytes(32).toString('base64url');
  const nonce = randomBytes(32).toString('base64url');
  const scopes = ['email', 'User.Read'];

  const party: RelyingParty = {
    msal,
    begin: (options = {}) => msal.getAuthCodeUrl({
      scopes, redirectUri, nonce, state: randomUUID(),
      codeChallenge: createHash('sha256').update(verifier).digest('base64url'), codeChallengeMethod: 'S256',
      responseMode: 'query',
      ...options,
    }),
    redeem: (callback, options = {}) => msal.acquireTokenByCode({
      code: callback.get('code') ?? '', scopes, nonce,
      redirectUri: options.redirectUri ?? redirectUri, codeVerifier: options.verifier ?? verifier,
    }),
    signIn: async (options) => party.redeem(await visitor.callback(await party.begin(options))),
  };
  return party;
}

function networkClient(visitor: Visitor): INetworkModule {
  const send = async (url: string, options: { headers?: Record<string, string>; body?: string } | undefined, method: string) => {
    const form = options?.body === undefined ? undefined : Object.fromEntries(new URLSearchParams(options.body));
    const response = await visitor.request(url, { method, headers: options?.headers, form });
    return { status: response.status, headers: Object.fromEntries(response.headers), body: (await response.json()) as never };
  };
  return {
    sendGetRequestAsync: (url, options) => send(url, options, 'GET'),
    sendPostRequestAsync: (url, options) => send(url, options, 'POST'),
  };
}

/** The claims of a JWT, unverified. */
export function claimsOf(jwt: string): Record<string, any> {
  return JSON.parse(Buffer.from(jwt.split('.')[1]!, 'base64url').toString()) as Record<string, any>;
}
