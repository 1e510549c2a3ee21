// Grants: what a person lets an application do. First-party applications are granted what they ask for, within what
// they are allowed, unless anybody could ask in their name; others ask the person. A grant belongs to one session and
// ends with it; the person's yes is kept for the next session, in the table consents, which is owned here.

import type { Grant, Interaction, KoaContextWithOIDC, Provider } from 'oidc-provider';
import { type Apis, audienceOf } from '../clients/apis.ts';
import type { RegisteredClient } from '../clients/clients.ts';
import type { Database } from '../database/database.ts';
import { oidcScopes, profilePhrases } from './claims.ts';

/** What a third-party application asks for, in words. */
export interface ConsentRequest {
  apis: Array<{ name: string; scopes: Array<{ scope: string; description: string }> }>;
  profile: string[];
  offline: boolean;
}

interface Scopes {
  /** The person's own. */
  personal: string[];
  /** By audience. Every audience of the request is here, also one of which no scope is meant. */
  resources: Record<string, string[]>;
}

export interface Consents {
  /** Of these scopes, those that the person has allowed the application before. */
  among(asked: Scopes, accountId: string, clientId: string): Promise<Scopes>;
  remember(allowed: Scopes, accountId: string, clientId: string): Promise<void>;
  forget(withdrawn: Scopes, accountId: string, clientId: string): Promise<void>;
}

export function createConsents(db: Database, now: () => number = Date.now): Consents {
  return {
    async among(asked, accountId, clientId) {
      const { rows } = await db.query<{ audience: string; scope: string }>(
        'select audience, scope from consents where account_id = $1 and client_id = $2',
        [accountId, clientId],
      );
      const allowed = new Set(rows.map(({ audience, scope }) => `${scope} ${audience}`));
      return narrowed(asked, (scope, audience) => allowed.has(`${scope} ${audience}`));
    },

    async remember(allowed, accountId, clientId) {
      for (const [audience, scope] of pairsOf(allowed)) {
        await db.query(
          `insert into consents (account_id, client_id, audience, scope, given_at) values ($1, $2, $3, $4, $5)
           on conflict (account_id, client_id, audience, scope) do nothing`,
          [accountId, clientId, audience, scope, now()],
        );
      }
    },

    async forget(withdrawn, accountId, clientId) {
      for (const [audience, scope] of pairsOf(withdrawn)) {
        await db.query(
          'delete from consents where account_id = $1 and client_id = $2 and audience = $3 and scope = $4',
          [accountId, clientId, audience, scope],
        );
      }
    },
  };
}

/** The audience, in the table, of scopes that concern the person and no API. */
const ownData = '';

/** The grant behind an authorization request, widened by what the application may have without asking. */
export async function loadGrant(
  ctx: KoaContextWithOIDC,
  application: RegisteredClient,
  consents: Consents,
): Promise<Grant | undefined> {
  const { session, provider, resourceServers, requestParamOIDCScopes, requestParamScopes, result, params } = ctx.oidc;
  const { clientId, firstParty } = application;
  const accountId = session!.accountId!;
  const trusted = isIdentified(application, String(params!.redirect_uri));
  const silently = firstParty && trusted;
  if (!firstParty) forgetUnnamed(ctx);

  const grantId = result?.consent?.grantId ?? (trusted ? session!.grantIdFor(clientId) : undefined);
  const found = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const known = found?.accountId === accountId ? found : undefined;
  const asked: Scopes = {
    personal: [...requestParamOIDCScopes],
    resources: Object.fromEntries(
      Object.entries(resourceServers ?? {}).map(([audience, { scopes }]) => [
        audience,
        [...requestParamScopes].filter((scope) => scopes.has(scope)),
      ]),
    ),
  };
  const isRemembered = trusted && !(known && isGranted(known, asked));
  const remembered = isRemembered ? () => consents.among(asked, accountId, clientId) : async () => nothing;
  const allowed = silently ? asked : await remembered();
  const widens = silently || !isNothing(allowed);
  if (!known && !widens) return undefined;

  const grant = known ?? new provider.Grant({ accountId, clientId });
  const before = stateOf(grant);
  if (widens) grantScopes(grant, allowed, application);
  // It rests on what the session rests on that it was last used from.
  grant.upstream = session?.upstream;
  if (known && stateOf(grant) === before) return grant;
  grant.sessionUid ??= session!.uid;
  await grant.save();
  return grant;
}

// An API of which somebody else's application wants no scope is not on the page, and a yes is not about it: so the
// request goes on as if it had not named the API, and the token is for userinfo alone.
function forgetUnnamed({ oidc: { resourceServers, requestParamScopes, params } }: KoaContextWithOIDC): void {
  for (const [audience, { scopes }] of Object.entries(resourceServers ?? {})) {
    if ([...requestParamScopes].some((scope) => scopes.has(scope))) continue;
    delete resourceServers![audience];
    const left = ([params!.resource].flat() as string[]).filter((named) => named !== audience);
    params!.resource = left.length > 0 ? left : undefined;
  }
}

const nothing: Scopes = { personal: [], resources: {} };

/** Whether a grant has all of these scopes already: then what is remembered adds nothing. */
function isGranted(grant: Grant, { personal, resources }: Scopes): boolean {
  const has = (granted: string, scopes: string[]) => scopes.every((scope) => granted.split(' ').includes(scope));
  return (
    has(grant.getOIDCScope(), personal) &&
    Object.entries(resources).every(([audience, scopes]) =>
      has(grant.getResourceScope(audience), [...scopes, ...personal]),
    )
  );
}

const stateOf = ({ openid, resources, upstream }: Grant) => JSON.stringify([openid, resources, upstream]);

/** Puts a consent prompt into words. */
export function describeConsent(interaction: Interaction, application: RegisteredClient, apis: Apis): ConsentRequest {
  const { personal, resources } = askedFor(interaction, application);
  const isNamed = (scopes: string[]) => application.firstParty || scopes.length > 0;
  return {
    apis: Object.entries(resources)
      .filter(([, scopes]) => isNamed(scopes))
      .map(([resource, scopes]) => {
        const api = apis.find(audienceOf(resource));
        return {
          name: api?.name ?? audienceOf(resource),
          scopes: scopes.map((scope) => ({ scope, description: api?.scopes[scope] ?? scope })),
        };
      }),
    profile: personal.flatMap((scope) => profilePhrases[scope] ?? []),
    offline: personal.includes('offline_access'),
  };
}

/** Records the person's yes; the grant's id. */
export async function recordConsent(
  provider: Provider,
  interaction: Interaction,
  application: RegisteredClient,
  consents: Consents,
): Promise<string> {
  const { grantId, session, params } = interaction;
  const { clientId } = application;
  const accountId = session!.accountId!;
  const allowed = askedFor(interaction, application);

  const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const grant = existing ?? new provider.Grant({ accountId, clientId });
  grantScopes(grant, allowed, application);
  grant.sessionUid ??= session!.uid;
  if (isIdentified(application, String(params.redirect_uri))) await consents.remember(allowed, accountId, clientId);
  return grant.save();
}

/** A no to what was allowed before takes that back: it is asked for again next time, and what was built on it ends. */
export async function withdrawConsent(
  provider: Provider,
  interaction: Interaction,
  application: RegisteredClient,
  consents: Consents,
): Promise<void> {
  const { grantId, session, prompt } = interaction;
  if (!prompt.reasons.includes('consent_prompt')) return;
  await consents.forget(askedFor(interaction, application), session!.accountId!, application.clientId);
  const grant = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  await grant?.destroy();
}

/** What a consent prompt is about: what is new, or all of it where the application wants it asked (prompt=consent). */
function askedFor({ prompt, params }: Interaction, { access }: RegisteredClient): Scopes {
  const scopes = String(params.scope ?? '').split(' ');
  const audiences = [params.resource ?? []].flat() as string[];
  const all: Scopes = {
    personal: scopes.filter((scope) => oidcScopes.includes(scope)),
    resources: Object.fromEntries(
      audiences.map((audience) => [audience, scopes.filter((scope) => access[audienceOf(audience)]?.includes(scope))]),
    ),
  };
  if (prompt.reasons.includes('consent_prompt')) return all;
  const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details as {
    missingOIDCScope?: string[];
    missingResourceScopes?: Record<string, string[]>;
  };
  return narrowed(
    all,
    (scope, audience) =>
      (audience === ownData ? missingOIDCScope : missingResourceScopes[audience])?.includes(scope) ?? false,
  );
}

// Whatever is installed on a device may claim another's private-use scheme or listen on its loopback port. Such an
// application is asked about each time, as if nobody had ever said yes, and also where it is first-party: it may be
// something else that asks in its name (RFC 8252 §8.6).
function isIdentified({ type }: RegisteredClient, redirectUri: string): boolean {
  return type !== 'native' || redirectUri.startsWith('https:');
}

// The person's own scopes are granted on each API as well: a token request that names no resource gets one token, for
// the API and for userinfo (see `audiencesOf`), and oidc-provider looks a resource's scopes up under that resource.
// Yet they are no yes to an API of which nothing was allowed.
function grantScopes(grant: Grant, { personal, resources }: Scopes, { firstParty }: RegisteredClient): void {
  if (personal.length > 0) grant.addOIDCScope(personal.join(' '));
  for (const [audience, scopes] of Object.entries(resources)) {
    if (!firstParty && scopes.length === 0 && grant.getResourceScope(audience) === '') continue;
    grant.addResourceScope(audience, [...scopes, ...personal].join(' ') || 'openid');
  }
}

function narrowed({ personal, resources }: Scopes, keep: (scope: string, audience: string) => boolean): Scopes {
  return {
    personal: personal.filter((scope) => keep(scope, ownData)),
    resources: Object.fromEntries(
      Object.entries(resources).map(([audience, scopes]) => [
        audience,
        scopes.filter((scope) => keep(scope, audience)),
      ]),
    ),
  };
}

/** Audience and scope of each. */
function pairsOf({ personal, resources }: Scopes): Array<readonly [audience: string, scope: string]> {
  return Object.entries({ [ownData]: personal, ...resources }).flatMap(([audience, scopes]) =>
    scopes.map((scope) => [audience, scope] as const),
  );
}

function isNothing({ personal, resources }: Scopes): boolean {
  return personal.length === 0 && Object.values(resources).every((scopes) => scopes.length === 0);
}
