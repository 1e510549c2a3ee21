// /token: redeems codes and refresh tokens. Order matters and is Entra's: the client first, then the grant, then the
// person, so that an expired secret is reported even for a code that would fail as well.

import { createHash, randomBytes } from 'node:crypto';
import { Aadsts } from './aadsts.ts';
import { assertMaySignIn, findApp } from './accounts.ts';
import type { App } from './applications.ts';
import { clientInfo } from './authorize.ts';
import { authenticateClient } from './client-auth.ts';
import type { Exchange, Reply } from './exchange.ts';
import { json } from './exchange.ts';
import { issueIdToken } from './id-token.ts';
import type { Facts, Rule } from './rules.ts';
import { splitScopes } from './scopes.ts';
import type { CodeGrant, Grant, RefreshGrant, Simulation } from './simulation.ts';
import type { User } from './users.ts';

/** What the next token response looks like instead. Applies once unless `times` says otherwise. */
export interface TokenResponseDoctoring extends Rule {
  /** Adds or replaces members, of any type. */
  set?: Record<string, unknown>;
  /** For example ['refresh_token'] or ['id_token']. */
  drop?: readonly string[];
  /** `client_info` of this user in place of the real one. */
  clientInfoOf?: User;
}

export async function token(sim: Simulation, exchange: Exchange): Promise<Reply> {
  const { form } = exchange;
  if (exchange.method !== 'POST') throw new Aadsts(900561, { error: 'invalid_request', text: 'POST requests only.' });
  const grantType = form.get('grant_type');
  const app = await authenticateClient(sim, exchange).catch((error: unknown) => {
    const code = sim.codes.get(form.get('code') ?? '');
    if (code !== undefined && sim.habits.failedClientAuthBurnsCode) code.redeemed = true;
    throw error;
  });
  findApp(sim, exchange, app.clientId);
  if (grantType === 'authorization_code') return respond(sim, exchange, redeemCode(sim, app, form));
  if (grantType === 'refresh_token') return respond(sim, exchange, redeemRefreshToken(sim, app, form));
  throw grantType === null ? new Aadsts(90014) : new Aadsts(70003);
}

/** Whom the request is about, found without spending anything: what fault rules match on. */
export function tokenFacts(sim: Simulation, { form }: Exchange): Facts {
  const grant = form.get('grant_type') ?? undefined;
  const stored = sim.codes.get(form.get('code') ?? '') ?? sim.refreshTokens.get(form.get('refresh_token') ?? '');
  return { grant, user: stored?.user.key, tenant: stored?.user.tenant.key };
}

function redeemCode(sim: Simulation, app: App, form: URLSearchParams): Grant {
  const code = sim.codes.get(form.get('code') ?? '');
  if (code === undefined) throw new Aadsts(9002313);
  if (code.app !== app) throw new Aadsts(70000);
  if (code.redeemed) throw new Aadsts(54005);
  if (code.issuedAtMs + sim.lifetimes.codeSeconds * 1000 < sim.clock.now()) throw new Aadsts(70008);
  if (form.get('redirect_uri') !== code.redirectUri) throw new Aadsts(500112);
  checkPkce(code, form.get('code_verifier'));
  code.redeemed = true;
  assertMaySignIn(app, code.user);
  return { ...code, scopes: narrowed(code.scopes, form.get('scope')) };
}

// RFC 7636 §4.6
function checkPkce({ challenge, challengeMethod }: CodeGrant, verifier: string | null): void {
  if (challenge === undefined) {
    if (verifier !== null) throw new Aadsts(501481);
    return;
  }
  const hashed = createHash('sha256')
    .update(verifier ?? '')
    .digest('base64url');
  const computed = challengeMethod === 'S256' ? hashed : verifier;
  if (computed !== challenge) throw new Aadsts(501481);
}

function redeemRefreshToken(sim: Simulation, app: App, form: URLSearchParams): Grant {
  const stored = sim.refreshTokens.get(form.get('refresh_token') ?? '');
  if (stored === undefined) throw new Aadsts(9002313);
  if (stored.app !== app) throw new Aadsts(70000);
  if (stored.revoked || stored.issuedAtMs < stored.user.sessionsValidFromMs) throw new Aadsts(50173);
  if (stored.issuedAtMs + sim.lifetimes.refreshTokenSeconds * 1000 < sim.clock.now()) throw new Aadsts(700082);
  assertMaySignIn(app, stored.user);
  if (!sim.habits.usedRefreshTokensStayValid) stored.revoked = true;
  // A refreshed ID token repeats no nonce (OIDC Core §12.2), and max_age was a promise about the first sign-in.
  return { ...stored, nonce: undefined, maxAgeSeconds: undefined, scopes: narrowed(stored.scopes, form.get('scope')) };
}

function narrowed(granted: readonly string[], parameter: string | null): readonly string[] {
  const asked = splitScopes(parameter);
  if (asked.length === 0) return granted;
  const beyond = asked.filter((scope) => !granted.includes(scope) && scope !== 'offline_access');
  if (beyond.length > 0) throw new Aadsts(65001, { text: `The sign-in did not ask for ${beyond.join(' ')}.` });
  return granted.filter((scope) => asked.includes(scope));
}

async function respond(sim: Simulation, exchange: Exchange, grant: Grant): Promise<Reply> {
  const { user, scopes } = grant;
  const facts = tokenFacts(sim, exchange);
  const idToken = scopes.includes('openid')
    ? await issueIdToken(sim, grant, tokenOrigin(exchange, user), sim.idTokens.take(facts))
    : undefined;
  const lifetime = sim.lifetimes.accessTokenSeconds;
  const doctoring = sim.tokenResponses.take(facts);
  const wantsClientInfo = exchange.form.get('client_info') === '1';
  const response: Record<string, unknown> = {
    token_type: 'Bearer',
    scope: scopes.filter((scope) => scope !== 'offline_access').join(' '),
    expires_in: lifetime,
    ext_expires_in: lifetime,
    access_token: issueAccessToken(sim, grant, lifetime),
    ...(scopes.includes('offline_access') ? { refresh_token: issueRefreshToken(sim, grant) } : {}),
    ...(idToken === undefined ? {} : { id_token: idToken }),
    ...(wantsClientInfo ? { client_info: clientInfo(doctoring?.clientInfoOf ?? user) } : {}),
    ...doctoring?.set,
  };
  const sent = Object.entries(response).filter(([name]) => !doctoring?.drop?.includes(name));
  return json(Object.fromEntries(sent));
}

/** Tokens name their tenant's cloud, also when an alias host was asked; localhost mode names itself. */
function tokenOrigin({ origin, host }: Exchange, user: User): string {
  return host === 'localhost' || host === '127.0.0.1' ? origin : `https://${user.tenant.loginHost}`;
}

/** Opaque on purpose: Microsoft forbids to read the access tokens of its own APIs. */
function issueAccessToken(sim: Simulation, { user, app, scopes }: Grant, lifetimeSeconds: number): string {
  const value = `EwB${randomBytes(600).toString('base64url')}`;
  sim.accessTokens.set(value, { user, app, scopes, expiresAtMs: sim.clock.now() + lifetimeSeconds * 1000 });
  return value;
}

function issueRefreshToken(sim: Simulation, grant: Grant): string {
  const value = `1.AX${randomBytes(400).toString('base64url')}`;
  const stored: RefreshGrant = { ...grant, issuedAtMs: sim.clock.now(), revoked: false };
  sim.refreshTokens.set(value, stored);
  return value;
}
