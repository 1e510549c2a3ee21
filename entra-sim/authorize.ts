// /authorize: checks the request, decides who signs in (the test, the browser's session, or the picker), and sends the
// code back. Errors before the redirect URI is trusted, and those about the person, are pages and never return.

import { randomBytes, randomUUID } from 'node:crypto';
import { Aadsts } from './aadsts.ts';
import { accountAt, assertMaySignIn, findApp } from './accounts.ts';
import { deliver, deliverError } from './callback.ts';
import type { Exchange, Reply } from './exchange.ts';
import { html } from './exchange.ts';
import { opaqueLoginHint } from './id-token.ts';
import { mfaPage, pickerPage } from './pages.ts';
import { checkedScopes } from './scopes.ts';
import type { AuthorizeRequest, ClaimsParameter, Session, Simulation } from './simulation.ts';
import type { User } from './users.ts';

export const sessionCookie = 'ESTSAUTH';

export function authorize(sim: Simulation, exchange: Exchange): Reply {
  const parameters = exchange.method === 'POST' ? exchange.form : exchange.query;
  const app = findApp(sim, exchange, parameters.get('client_id'));
  const redirectUri = parameters.get('redirect_uri') ?? app.redirectUris[0];
  if (redirectUri === undefined || !app.redirectUris.includes(redirectUri)) throw new Aadsts(50011);

  const target = { redirectUri, responseMode: responseMode(parameters), state: parameters.get('state') ?? undefined };
  try {
    const request: AuthorizeRequest = { app, ...target, ...checked(exchange, parameters, app.graphScopes) };
    return signIn(sim, exchange, request);
  } catch (error) {
    if (!(error instanceof Aadsts) || !returnsToApp(error, parameters.get('prompt'))) throw error;
    return deliverError(sim, target, error, exchange.trace, { tenant: exchange.authority });
  }
}

/** What the account picker posts. */
export function login(sim: Simulation, exchange: Exchange): Reply {
  const waiting = exchange.form.get('waiting') ?? '';
  const request = sim.waiting.get(waiting);
  if (request === undefined) throw new Aadsts(50089);
  if (exchange.form.has('cancel')) {
    sim.waiting.delete(waiting);
    return deliverError(sim, request, new Aadsts(65004), exchange.trace, { tenant: exchange.authority });
  }
  const name = exchange.form.get('user') ?? '';
  const user = sim.directory.user(name);
  if (exchange.form.get('mfa') === 'long') {
    return html(mfaPage({ action: exchange.path, waiting }, name, sim.clock.seconds(), sim.longMfaSeconds));
  }
  sim.waiting.delete(waiting);
  const startedSeconds = Number(exchange.form.get('started') ?? sim.clock.seconds());
  return complete(sim, exchange, request, newSession(sim, user, startedSeconds));
}

function signIn(sim: Simulation, exchange: Exchange, request: AuthorizeRequest): Reply {
  const session = sim.sessions.get(exchange.cookies.get(sessionCookie) ?? '');
  if (request.prompt === 'none') return silently(sim, exchange, request, session);

  const reusable = session !== undefined && isFresh(sim, request, session) ? session : undefined;
  const picked = sim.pick(request);
  if (picked !== undefined) {
    const again = reusable?.user === picked ? reusable : newSession(sim, picked, sim.clock.seconds());
    return complete(sim, exchange, request, again);
  }
  if (reusable !== undefined && fitsHint(request, reusable.user)) return complete(sim, exchange, request, reusable);
  return showPicker(sim, exchange, request);
}

/** Who will sign in at this request, as far as it can be told beforehand: what fault rules match on. */
export function comingUser(sim: Simulation, { method, form, query, cookies }: Exchange): User | undefined {
  const parameters = method === 'POST' ? form : query;
  const hint = (name: string) => parameters.get(name) ?? undefined;
  const picked = sim.pick({ loginHint: hint('login_hint'), domainHint: hint('domain_hint'), state: hint('state') });
  return picked ?? sim.sessions.get(cookies.get(sessionCookie) ?? '')?.user;
}

function silently(sim: Simulation, exchange: Exchange, request: AuthorizeRequest, session: Session | undefined): Reply {
  if (session === undefined) throw new Aadsts(50058);
  if (!fitsHint(request, session.user)) throw new Aadsts(160021, { error: 'login_required' });
  if (!isFresh(sim, { ...request, prompt: undefined }, session)) throw new Aadsts(50058);
  return complete(sim, exchange, request, session);
}

function complete(sim: Simulation, exchange: Exchange, request: AuthorizeRequest, session: Session): Reply {
  const { app } = request;
  const user = accountAt(sim, exchange, app, session.user);
  assertMaySignIn(app, user);
  if (user.tenant.lacksConsentFor(app)) throw new Aadsts(request.prompt === 'none' ? 65001 : 90094);

  const doctoring = sim.callbacks.take({ user: user.key, tenant: user.tenant.key });
  const authTimeSeconds = session.authTimeSeconds - (doctoring?.mfaSeconds ?? 0);
  // Real codes are this long: with them a callback URL nears 2 kB, and a test with a short one proves little.
  const code = `1.A${randomBytes(660).toString('base64url')}`;
  sim.codes.set(code, {
    app,
    user,
    authTimeSeconds,
    sid: session.sid,
    scopes: request.scopes,
    nonce: request.nonce,
    claims: request.claims,
    maxAgeSeconds: request.maxAgeSeconds,
    issuedAtMs: sim.clock.now(),
    redirectUri: request.redirectUri,
    challenge: request.challenge,
    challengeMethod: request.challengeMethod,
    redeemed: false,
  });
  const reply = deliver(
    request,
    {
      code,
      ...(request.wantsClientInfo ? { client_info: clientInfo(user) } : {}),
      session_state: randomUUID(),
      ...(doctoring?.adminConsent ? { tenant: user.tenant.id } : {}),
    },
    doctoring,
  );
  const cookie = `${sessionCookie}=${session.cookie}; Path=/; Secure; HttpOnly; SameSite=None`;
  return { ...reply, headers: { ...reply.headers, 'Set-Cookie': cookie } };
}

/** MSAL's home account: base64url JSON of the person's object and tenant at home. */
export function clientInfo(user: User): string {
  const { oid, tenant } = user.home ?? user;
  return Buffer.from(JSON.stringify({ uid: oid, utid: tenant.id })).toString('base64url');
}

function newSession(sim: Simulation, user: User, authTimeSeconds: number): Session {
  const session = { cookie: randomBytes(32).toString('base64url'), sid: randomUUID(), user, authTimeSeconds };
  sim.sessions.set(session.cookie, session);
  return session;
}

function isFresh(sim: Simulation, { prompt, maxAgeSeconds }: AuthorizeRequest, session: Session): boolean {
  if (prompt === 'login' || prompt === 'select_account') return false;
  return maxAgeSeconds === undefined || sim.clock.seconds() - session.authTimeSeconds <= maxAgeSeconds;
}

function fitsHint({ loginHint }: AuthorizeRequest, user: User): boolean {
  if (loginHint === undefined) return true;
  if (loginHint.startsWith('O.')) return loginHint === opaqueLoginHint(user.upn, user.tenant.id);
  return [user.upn, user.mail].some((name) => name?.toLowerCase() === loginHint.toLowerCase());
}

function showPicker(sim: Simulation, { loginHost }: Exchange, request: AuthorizeRequest): Reply {
  const waiting = randomUUID();
  sim.waiting.set(waiting, request);
  // People sign in with the account they have at home; whether that is a guest somewhere is seen afterwards.
  const cloud = [...sim.directory.tenants.values()].filter((tenant) => tenant.loginHost === loginHost);
  const everybody = cloud.flatMap(({ users }) => [...users.values()]).filter(({ isGuest }) => !isGuest);
  const hinted = everybody.filter((user) => request.loginHint !== undefined && fitsHint(request, user));
  const others = everybody.filter((user) => !hinted.includes(user));
  const choices = [...hinted, ...others].map((user) => ({
    key: `${user.tenant.key}/${user.key}`,
    name: user.name,
    detail: `${user.upn} · ${user.tenant.key}`,
  }));
  const question = { action: `/${encodeURIComponent(request.authority)}/login`, waiting };
  return html(pickerPage(request.app.displayName, question, choices));
}

function responseMode(parameters: URLSearchParams): AuthorizeRequest['responseMode'] {
  const mode = parameters.get('response_mode') ?? 'query';
  if (mode !== 'query' && mode !== 'form_post' && mode !== 'fragment') throw new Aadsts(90023);
  return mode;
}

const prompts = ['none', 'login', 'consent', 'select_account'];

type Checked = Omit<AuthorizeRequest, 'app' | 'redirectUri' | 'responseMode' | 'state'>;

function checked({ authority }: Exchange, parameters: URLSearchParams, graphScopes: readonly string[]): Checked {
  const prompt = parameters.get('prompt') ?? undefined;
  const loginHint = parameters.get('login_hint') ?? undefined;
  const challenge = parameters.get('code_challenge') ?? undefined;
  const maxAge = parameters.get('max_age');
  const challengeMethod = parameters.get('code_challenge_method') ?? 'plain';
  if (parameters.get('response_type') !== 'code') throw new Aadsts(700054);
  if (prompt !== undefined && !prompts.includes(prompt)) throw new Aadsts(90023);
  if (prompt === 'select_account' && loginHint !== undefined) throw new Aadsts(90023);
  if (maxAge !== null && !/^\d{1,9}$/.test(maxAge)) throw new Aadsts(90023);
  const knownMethod = challengeMethod === 'plain' || challengeMethod === 'S256';
  if (challenge !== undefined && !(knownMethod && /^[\w.~-]{43,128}$/.test(challenge))) throw new Aadsts(90023);
  return {
    authority,
    prompt,
    loginHint,
    challenge,
    challengeMethod,
    scopes: checkedScopes(parameters.get('scope'), graphScopes),
    nonce: parameters.get('nonce') ?? undefined,
    domainHint: parameters.get('domain_hint') ?? undefined,
    maxAgeSeconds: maxAge === null ? undefined : Number(maxAge),
    wantsClientInfo: parameters.get('client_info') === '1',
    claims: parseClaims(parameters.get('claims')),
  };
}

function parseClaims(text: string | null): ClaimsParameter {
  try {
    return Object(text === null ? {} : JSON.parse(text)) as ClaimsParameter;
  } catch {
    throw new Aadsts(90023, { text: "The 'claims' parameter is not valid JSON." });
  }
}

// Protocol errors go back to the application. What concerns the person stays on Microsoft's page, unless no page may
// be shown (prompt=none).
function returnsToApp({ number }: Aadsts, prompt: string | null): boolean {
  return prompt === 'none' || [65004, 70011, 700054, 90014, 90023].includes(number);
}
