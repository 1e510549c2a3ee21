// A browser without pages: keeps cookies, follows redirects inside the issuer, fills in forms. What a person does at
// the keyboard is test/browser; here the same requests are made quickly and looked at closely.

import { createHash, randomBytes } from 'node:crypto';
import type { Dispatcher } from 'undici';
import { cookiePrefix } from '../../src/web/cookies.ts';
import { checkAnswer, noteSecret } from './secrets.ts';
import { callback, secret as clientSecret, person } from './signet.ts';

export interface Answer {
  status: number;
  headers: Headers;
  url: string;
  body: string;
}

interface RequestOptions {
  /** Posted, as a browser posts a form of the same site. */
  form?: Record<string, string>;
  headers?: Record<string, string>;
}

export class UserAgent {
  readonly #issuer: string;
  readonly #cookies: Map<string, string>;
  /** Where requests to the issuer go, as through a proxy: the next one to another replica, perhaps. */
  listening: string;

  /** @param same the browser that this is, at another issuer on the same host: ports share their cookies */
  constructor(issuer: string, listening = issuer, same?: UserAgent) {
    this.#issuer = issuer;
    this.listening = listening;
    this.#cookies = same ? same.#cookies : new Map();
  }

  get cookies(): ReadonlyMap<string, string> {
    return this.#cookies;
  }

  /** One of our cookies, by what it is for: session, device. */
  cookie(kind: string): string | undefined {
    return this.#cookies.get(cookiePrefix(this.#issuer) + kind);
  }

  /** One request, no redirect followed. */
  async request(url: string, { form, headers = {} }: RequestOptions = {}): Promise<Answer> {
    const asked = new URL(url, this.#issuer).href;
    const response = await fetch(asked.replace(this.#issuer, this.listening), {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: {
        Accept: 'text/html',
        Cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(form ? { 'Sec-Fetch-Site': 'same-origin', 'Content-Type': 'application/x-www-form-urlencoded' } : {}),
        ...headers,
      },
      body: form && new URLSearchParams(form).toString(),
    });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    noteSecret('password', form?.password);
    noteSecret('code', URL.parse(response.headers.get('location') ?? '')?.searchParams.get('code'));
    const body = await response.text();
    checkAnswer(new URL(asked).pathname, response, body);
    return { status: response.status, headers: response.headers, url: asked, body };
  }

  /** Follows redirects until a page is shown or one leads away from the issuer: then that one's Location is `url`. */
  async visit(url: string, options: RequestOptions = {}): Promise<Answer> {
    let answer = await this.request(url, options);
    for (let hops = 0; hops < 10; hops += 1) {
      const location = answer.headers.get('location');
      if (!location) return answer;
      const next = new URL(location, answer.url);
      if (next.origin !== new URL(this.#issuer).origin) return { ...answer, url: next.href };
      answer = await this.request(next.href);
    }
    throw new Error(`too many redirects from ${url}`);
  }

  /** Submits the form of a page: its action, its hidden fields, and these. */
  async submit(page: Answer, fields: Record<string, string>): Promise<Answer> {
    const form = /<form[^>]*action="([^"]*)"[^>]*>(.*?)<\/form>/s.exec(page.body);
    if (!form) throw new Error(`no form on ${page.url}: ${page.status} ${page.body.slice(0, 300)}`);
    const hidden = [...form[2]!.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([input]) => [
      /name="([^"]*)"/.exec(input)![1]!,
      /value="([^"]*)"/.exec(input)?.[1] ?? '',
    ]);
    return this.visit(new URL(form[1]!, page.url).href, { form: { ...Object.fromEntries(hidden), ...fields } });
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split(';');
    const at = pair.indexOf('=');
    const gone = attributes.some((attribute) => /expires=thu, 01 jan 1970/i.test(attribute));
    if (gone) this.#cookies.delete(pair.slice(0, at));
    else this.#cookies.set(pair.slice(0, at), pair.slice(at + 1));
    noteSecret('cookie', pair.slice(at + 1));
  }
}

export interface AuthorizationRequest {
  url: string;
  verifier: string;
  state: string;
  nonce: string;
}

/** An authorization request with PKCE (RFC 7636); a parameter set to undefined is left out. */
export function authorizationRequest(
  issuer: string,
  parameters: Record<string, string | undefined> = {},
): AuthorizationRequest {
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(8).toString('base64url');
  const nonce = randomBytes(8).toString('base64url');
  const all = {
    client_id: 'spa',
    response_type: 'code',
    redirect_uri: callback,
    scope: 'openid email orders:read',
    state,
    // A nonce is for an ID token.
    nonce: parameters.scope?.split(' ').includes('openid') === false ? undefined : nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...parameters,
  };
  const given = Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const query = new URLSearchParams(given);
  return { url: `${issuer}/auth?${query}`, verifier, state, nonce };
}

/** How one of the declared applications authenticates. */
export function asClient(clientId: string): { clientId: string; secret?: string } {
  return clientId === 'spa' || clientId === 'device' ? { clientId } : { clientId, secret: clientSecret };
}

/** Signs `person` in and consents, where a page asks for it, and returns what the redirect URI was called with. */
export async function authorize(agent: UserAgent, url: string, who = person): Promise<URLSearchParams> {
  let answer = await agent.visit(url);
  if (answer.status === 200 && answer.body.includes('name="password"')) {
    answer = await agent.submit(answer, { email: who.email, password: who.password });
  }
  if (answer.status === 200 && answer.body.includes('name="decision"')) {
    answer = await agent.submit(answer, { decision: 'allow' });
  }
  if (!answer.headers.get('location')) {
    throw new Error(`no redirect: ${answer.status} ${answer.url} ${answer.body.slice(0, 500)}`);
  }
  return new URL(answer.url).searchParams;
}

export interface TokenAnswer {
  status: number;
  headers: Headers;
  body: Record<string, any>;
}

interface ClientOptions {
  clientId?: string;
  /** For client_secret_basic; a public application has none. */
  secret?: string;
  headers?: Record<string, string>;
  /** Through which connection. */
  dispatcher?: Dispatcher;
}

/** What redeems a code. */
export function redemption({ verifier }: AuthorizationRequest, code: string, redirectUri = callback) {
  return { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: redirectUri };
}

/** Asks userinfo with an access token. */
export async function askUserinfo(issuer: string, accessToken: string): Promise<Response> {
  const response = await fetch(`${issuer}/me`, { headers: { Authorization: `Bearer ${accessToken}` } });
  checkAnswer('/me', response, await response.clone().text());
  return response;
}

/** A token request; confidential applications authenticate with client_secret_basic. */
export async function tokenRequest(
  issuer: string,
  parameters: Record<string, string | string[]>,
  { clientId = 'spa', secret, headers = {}, dispatcher }: ClientOptions = {},
): Promise<TokenAnswer> {
  const body = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) for (const one of [value].flat()) body.append(name, one);
  if (secret === undefined) body.set('client_id', clientId);
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      ...(secret === undefined ? {} : { Authorization: `Basic ${btoa(`${clientId}:${secret}`)}` }),
      ...headers,
    },
    body: body.toString(),
    ...(dispatcher && ({ dispatcher } as RequestInit)),
  });
  const text = await response.text();
  checkAnswer('/token', response, text);
  const answer = text.startsWith('{') ? JSON.parse(text) : { text };
  noteSecret('client secret', secret ?? body.get('client_secret'));
  noteSecret('code verifier', body.get('code_verifier'));
  noteSecret('refresh token', body.get('refresh_token'));
  noteSecret('refresh token', answer.refresh_token);
  noteSecret('access token', answer.access_token);
  noteSecret('ID token', answer.id_token);
  return { status: response.status, headers: response.headers, body: answer };
}

/** The whole way: sign in, redeem the code. */
export async function signIn(
  issuer: string,
  {
    agent = new UserAgent(issuer),
    parameters = {},
    clientId = 'spa',
  }: {
    agent?: UserAgent;
    parameters?: Record<string, string | undefined>;
    clientId?: string;
  } = {},
): Promise<{ agent: UserAgent; tokens: Record<string, any>; code: string; request: AuthorizationRequest }> {
  const request = authorizationRequest(issuer, { client_id: clientId, ...parameters });
  const answer = await authorize(agent, request.url);
  const code = answer.get('code');
  if (!code) throw new Error(`no code: ${answer}`);
  const { status, body } = await tokenRequest(
    issuer,
    redemption(request, code, parameters.redirect_uri),
    asClient(clientId),
  );
  if (status !== 200) throw new Error(`token request: ${status} ${JSON.stringify(body)}`);
  return { agent, tokens: body, code, request };
}

export function decode(jwt: string): { header: Record<string, any>; payload: Record<string, any> } {
  const [header, payload] = jwt.split('.').map((part) => Buffer.from(part, 'base64url').toString());
  return { header: JSON.parse(header!), payload: JSON.parse(payload!) };
}
