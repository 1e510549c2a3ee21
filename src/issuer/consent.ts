// Grants: what a person lets an application do. First-party applications are granted what they ask for, within what
// they are allowed; others ask the person. A grant belongs to one session and ends with it.

import type { Grant, Interaction, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Apis } from '../apis.ts';
import { profilePhrases } from './claims.ts';

/** What a third-party application asks for, in words. */
export interface ConsentRequest {
  apis: Array<{ name: string; scopes: Array<{ scope: string; description: string }> }>;
  profile: string[];
  offline: boolean;
}

interface Missing {
  missingOIDCScope?: string[];
  missingResourceScopes?: Record<string, string[]>;
}

/** The grant behind an authorization request; made, or widened, at once for a first-party application. */
export async function loadGrant(ctx: KoaContextWithOIDC, firstParty: boolean): Promise<Grant | undefined> {
  const { session, provider, client, resourceServers, requestParamOIDCScopes, requestParamScopes, result } = ctx.oidc;
  const clientId = client!.clientId;
  const accountId = session!.accountId!;

  const grantId = result?.consent?.grantId ?? session!.grantIdFor(clientId);
  const found = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const known = found?.accountId === accountId ? found : undefined;
  if (!firstParty) return known;

  const grant = known ?? new provider.Grant({ accountId, clientId });
  const before = JSON.stringify([grant.openid, grant.resources]);
  grantScopes(grant, [...requestParamOIDCScopes], Object.fromEntries(
    Object.entries(resourceServers ?? {}).map(([audience, { scopes }]) =>
      [audience, [...requestParamScopes].filter((scope) => scopes.has(scope))])));
  if (!known || JSON.stringify([grant.openid, grant.resources]) !== before) await grant.save();
  return grant;
}

/** Puts a consent prompt into words. */
export function describeConsent({ prompt, params }: Interaction, apis: Apis): ConsentRequest {
  const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details as Missing;
  const asked = missingOIDCScope.length > 0 ? missingOIDCScope : String(params.scope ?? '').split(' ');
  return {
    apis: Object.entries(missingResourceScopes).map(([audience, scopes]) => {
      const api = apis.find(audience);
      return {
        name: api?.name ?? audience,
        scopes: scopes.map((scope) => ({ scope, description: api?.scopes[scope] ?? scope })),
      };
    }),
    profile: asked.flatMap((scope) => profilePhrases[scope] ?? []),
    offline: asked.includes('offline_access'),
  };
}

/** Records the person's yes; the grant's id. */
export async function recordConsent(provider: Provider, interaction: Interaction): Promise<string> {
  const { grantId, session, params, prompt } = interaction;
  const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details as Missing;
  const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const grant = existing ?? new provider.Grant({ accountId: session!.accountId!, clientId: String(params.client_id) });
  grantScopes(grant, missingOIDCScope, missingResourceScopes);
  return grant.save();
}

// The person's own scopes are granted on each API as well: a token request that names no resource gets one token, for
// the API and for userinfo (see `audiencesOf`), and oidc-provider looks a resource's scopes up under that resource.
function grantScopes(grant: Grant, oidcScopes: string[], resources: Record<string, string[]>): void {
  if (oidcScopes.length > 0) grant.addOIDCScope(oidcScopes.join(' '));
  for (const [audience, scopes] of Object.entries(resources)) {
    grant.addResourceScope(audience, [...scopes, ...oidcScopes].join(' ') || 'openid');
  }
}
