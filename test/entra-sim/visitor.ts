// For the simulator's own tests: a relying party made of msal-node, configured as a product is in production, and a
// browser without pages. Neither knows that Microsoft is simulated; only the connector does.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { AuthenticationResult, Configuration, INetworkModule, NetworkRequestOptions } from '@azure/msal-node';
import { ConfidentialClientApplication } from '@azure/msal-node';
import type { Response } from 'undici';
import { Agent, fetch } from 'undici';

import type { App, EntraSim } from '../../entra-sim/index.ts';

export const redirectUri = 'https://signet.example/callback/entra';

interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  form?: Record<string, string>;
  signal?: AbortSignal;
}

export interface Visitor {
  /** One request to a production host name; redirects are not followed, cookies are kept per host. */
  request(url: string, options?: RequestOptions): Promise<Response>;
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
      if (!page.includes(`action="${redirectUri}"`)) throw new Error(`no callback: ${page.slice(-400)}`);
      const fields = page.matchAll(/name="([^"]+)" value="([^"]*)"/g);
      return new URLSearchParams(Array.from(fields, ([, name, value]): [string, string] => [name!, value!]));
    },
    close: () => dispatcher.close(),
  };
}

interface RedeemOptions {
  verifier?: string;
  redirectUri?: string;
  /** Undefined, where it is named: none is passed. */
  nonce?: string | undefined;
}

interface RelyingParty {
  msal: ConfidentialClientApplication;
  /** The authorization URL, with PKCE, state and nonce of its own. */
  begin(options?: Partial<Parameters<ConfidentialClientApplication['getAuthCodeUrl']>[0]>): Promise<string>;
  /** The whole way: authorization URL, callback, redemption. */
  signIn(options?: Parameters<RelyingParty['begin']>[0]): Promise<AuthenticationResult>;
  redeem(callback: URLSearchParams, options?: RedeemOptions): Promise<AuthenticationResult>;
}

interface RelyingPartyOptions {
  app?: App;
  authority?: string;
  credential?: Pick<Configuration['auth'], 'clientSecret' | 'clientCertificate' | 'clientAssertion'>;
}

export function createRelyingParty(
  sim: EntraSim,
  visitor: Visitor,
  { app = sim.app, authority = app.home.id, credential }: RelyingPartyOptions = {},
): RelyingParty {
  const login = app.home.loginHost;
  const base = `https://${login}/${authority}`;
  const msal = new ConfidentialClientApplication({
    auth: {
      clientId: app.clientId,
      authority: base,
      knownAuthorities: [login],
      authorityMetadata: JSON.stringify({
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
        end_session_endpoint: `${base}/oauth2/v2.0/logout`,
        jwks_uri: `${base}/discovery/v2.0/keys`,
      }),
      ...(credential ?? { clientSecret: app.secret }),
    },
    system: { networkClient: networkClient(visitor) },
  });
  const verifier = randomBytes(32).toString('base64url');
  const nonce = randomBytes(32).toString('base64url');
  const scopes = ['email', 'User.Read'];

  const party: RelyingParty = {
    msal,
    begin: (options = {}) =>
      msal.getAuthCodeUrl({
        scopes,
        redirectUri,
        nonce,
        state: randomUUID(),
        codeChallenge: createHash('sha256').update(verifier).digest('base64url'),
        codeChallengeMethod: 'S256',
        responseMode: 'query',
        ...options,
      }),
    redeem: (callback, options = {}) =>
      msal.acquireTokenByCode({
        code: callback.get('code') ?? '',
        scopes,
        nonce: 'nonce' in options ? options.nonce : nonce,
        redirectUri: options.redirectUri ?? redirectUri,
        codeVerifier: options.verifier ?? verifier,
      }),
    signIn: async (options) => party.redeem(await visitor.callback(await party.begin(options))),
  };
  return party;
}

function networkClient(visitor: Visitor): INetworkModule {
  const send = async (url: string, options: NetworkRequestOptions | undefined, method: string) => {
    const form = options?.body === undefined ? undefined : Object.fromEntries(new URLSearchParams(options.body));
    const response = await visitor.request(url, { method, headers: options?.headers, form });
    const headers = Object.fromEntries(response.headers);
    return { status: response.status, headers, body: (await response.json()) as never };
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
