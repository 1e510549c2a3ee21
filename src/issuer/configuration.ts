// Everything that oidc-provider is told, on one screen. What a line means is next door: tokens.ts, claims.ts,
// consent.ts, refresh.ts, adapter.ts.

import {
  type AdapterPayload,
  type Client,
  type Configuration,
  errors,
  interactionPolicy,
  type KoaContextWithOIDC,
} from 'oidc-provider';
import type { Account } from '../accounts/account.ts';
import type { Accounts } from '../accounts/accounts.ts';
import type { RegisteredClient } from '../clients/clients.ts';
import { needsSecret } from '../clients/clients.ts';
import { grantLifeSeconds } from '../grants/grants.ts';
import { issuedAt } from '../keys/dating.ts';
import type { SigningKeys } from '../keys/keyring.ts';
import { cookieAttributes } from '../web/cookies.ts';
import { endpoints, metadataOf } from '../web/endpoints.ts';
import type { Models } from './adapter.ts';
import { apiAccess, audiencesOf, defaultResource, serviceScope } from './audience.ts';
import { accessTokenClaims, claimsOf, claimsOfScope, oidcScopes } from './claims.ts';
import { type Consents, loadGrant } from './consent.ts';
import { cookieName } from './cookies.ts';
import type { IssuerDependencies } from './dependencies.ts';
import { PublishedKey } from './external-signing-key.ts';
import type { SignedInSession } from './models/session.ts';
import { noteUngrantable, ungrantableScope } from './scope.ts';
import { signOutOrAsk } from './sign-out.ts';
import { isUpstreamActive } from './upstream-session.ts';

interface ConfigurationParts
  extends Pick<IssuerDependencies, 'config' | 'apis' | 'pages' | 'statusLists' | 'upstream'> {
  /** A person as this request first saw them. */
  people: Accounts['find'];
  models: Models;
  consents: Consents;
  cookieKeys: string[];
  /** Epoch milliseconds. */
  now: () => number;
  isKnownScope: (scope: string) => boolean;
}

const hour = 3600;

export function configurationFor(parts: ConfigurationParts, keys: SigningKeys): Configuration {
  const { config, people, apis, models, consents, pages, cookieKeys, statusLists, upstream, now, isKnownScope } = parts;
  const { tokens, session } = config;
  const shortCookie = cookieAttributes(config.issuer);
  const longCookie = { ...shortCookie, signed: true };
  const acrValues = Object.keys(config.entra?.acrValues ?? {});

  return {
    adapter: (model: string) => models.adapter(model),
    // Order is meaning: oidc-provider signs with the first key that fits. Active, then retired, then prepared.
    jwks: {
      keys: keys.published.map(
        (jwk) => new PublishedKey(jwk, jwk.kid === keys.active.kid ? keys.active.sign : undefined),
      ),
    },
    enabledJWA: {
      idTokenSigningAlgValues: ['RS256'],
      clientAuthSigningAlgValues: ['RS256'],
      requestObjectSigningAlgValues: ['RS256'],
      introspectionSigningAlgValues: ['RS256'],
      userinfoSigningAlgValues: ['RS256'],
      authorizationSigningAlgValues: ['RS256'],
    },

    discovery: metadataOf(config.issuer),
    routes: {
      authorization: endpoints.authorization.path,
      end_session: endpoints.end_session.path,
      jwks: endpoints.jwks.path,
      token: endpoints.token.path,
      userinfo: endpoints.userinfo.path,
    },
    responseTypes: ['code'],
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post'],
    scopes: oidcScopes,
    acrValues,
    extraParams: {
      domain_hint: null,
      // Asked once for each authorization request, when its scopes and APIs are known.
      [ungrantableScope]: (ctx) => noteUngrantable(ctx, isKnownScope),
    },
    claims: claimsOfScope,
    // Most libraries expect e-mail and name in the ID token and never call userinfo.
    conformIdTokenClaims: false,
    pkce: { required: (_ctx, client) => client.application.pkce !== 'optional' },
    allowOmittingSingleRegisteredRedirectUri: false,
    acceptQueryParamAccessTokens: false,
    enableHttpPostMethods: false,
    clientBasedCORS: (_ctx, origin, client) => client.application.origins.includes(origin),
    extraClientMetadata: { properties: ['application'], validator: () => undefined },

    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      userinfo: { enabled: true },
      // The provider refuses JWTs at both endpoints: issuer/endpoints/ answers there.
      revocation: { enabled: false },
      introspection: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      dPoP: { enabled: false },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => signOutOrAsk(ctx, form, pages, longCookie),
        postLogoutSuccessSource: pages.signedOut,
      },
      resourceIndicators: {
        enabled: true,
        defaultResource(ctx, client, oneOf) {
          const resource = defaultResource(client.application, oneOf);
          // Without an API, oidc-provider would make a token that nothing accepts.
          if (resource !== undefined || !isForService(ctx)) return resource;
          throw new errors.InvalidTarget('resource must name one API');
        },
        // A refresh or code that was granted an API yields a token for it, also where the request does not repeat it.
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, audience, client) => resourceServer(ctx, audience, client),
      },
      // Experimental upstream: the version is pinned and test/issuer/canary.test.ts holds what we rely on.
      externalSigningSupport: { enabled: true, ack: 'experimental-01' },
    } as Configuration['features'],

    async findAccount(ctx, id, token) {
      if (!(await isUpstreamActive(ctx, token, upstream))) return undefined;
      const account = await people(id);
      if (!account || account.disabledAt) return undefined;
      return { accountId: account.id, account, claims: async () => claimsOf(account) };
    },
    loadExistingGrant: (ctx) => loadGrant(ctx, ctx.oidc.client!.application, consents),
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    // A browser application's tokens end at sign-out. offline_access, which a person consents to, is for after it; a
    // native application has no sign-out page to visit, and is signed out on its own device.
    expiresWithSession: async (ctx, token) =>
      ctx.oidc.client!.application.type === 'spa' ||
      (ctx.oidc.client!.application.type === 'web' && !token.scopes.has('offline_access')),
    rotateRefreshToken: true,
    interactions: { url: (_ctx, { uid }) => `/sign-in/${uid}`, policy: promptPolicy(acrValues) },
    renderError: pages.error,

    ttl: {
      AccessToken: (_ctx, token) => (token as LivedToken).resourceServer?.accessTokenTTL ?? tokens.accessTokenLife,
      ClientCredentials: (_ctx, token) =>
        (token as LivedToken).resourceServer?.accessTokenTTL ?? tokens.accessTokenLife,
      AuthorizationCode: tokens.authorizationCodeLife,
      IdToken: tokens.idTokenLife,
      RefreshToken: tokens.refreshTokenLife,
      Session: (_ctx, used) => lifeOf(used as SignedInSession, session.life, now()),
      Interaction: hour,
      Grant: grantLifeSeconds,
    },
    formats: {
      customizers: {
        jwt(ctx, token, jwt) {
          jwt.payload.iat = issuedAt(now());
          jwt.payload.aud = audiencesOf(config.issuer, token);
          const { list, idx } = token.status;
          jwt.payload.status = { status_list: { idx, uri: statusLists.uriOf(list) } };
          const { account } = (ctx.oidc.account ?? {}) as { account?: Account };
          if (!account) return;
          const { AuthorizationCode: code, RefreshToken: refreshToken } = ctx.oidc.entities;
          const { authTime, acr } = (code ?? refreshToken)!;
          const { application } = ctx.oidc.client!;
          const allowed = ctx.oidc.grant?.getOIDCScope() ?? '';
          const { sid } = token as { sid?: string };
          Object.assign(jwt.payload, accessTokenClaims(account, application, { allowed, authTime, acr, sid }));
        },
      },
    },
    cookies: {
      keys: cookieKeys,
      names: {
        session: cookieName('session', config.issuer),
        interaction: cookieName('interaction', config.issuer),
        resume: cookieName('resume', config.issuer),
      },
      long: longCookie,
      short: shortCookie,
    },
  };

  function resourceServer(ctx: KoaContextWithOIDC, resource: string, client: Client) {
    const access = apiAccess(resource, client.application, { apis, defaultLife: tokens.accessTokenLife });
    if (!access) throw new errors.InvalidTarget();
    const params = ctx.oidc.params!;
    if (isForService(ctx)) {
      if (Array.isArray(params.resource)) throw new errors.InvalidTarget('resource must name one API');
      const { scope, refused } = serviceScope(params.scope as string | undefined, access);
      if (refused !== undefined) {
        throw new errors.InvalidScope('requested scope is not granted to this client', refused);
      }
      params.scope = scope;
    }
    const withUserinfo = ctx.oidc.route === 'token' && params.resource === undefined;
    return {
      audience: access.audience,
      scope: [...access.scopes, ...(withUserinfo ? oidcScopes : [])].join(' '),
      accessTokenFormat: 'jwt' as const,
      accessTokenTTL: access.life,
    };
  }
}

// A session in which nobody is signed in carries a sign-out from one page to the next, and whoever asks is given one.
const strangersSessionLife = 600;

/** Seconds that a session has left: it ends so long after the sign-in, however it is used meanwhile. */
function lifeOf({ accountId, signedInAt }: SignedInSession, life: number, now: number): number {
  if (accountId === undefined) return strangersSessionLife;
  return Math.max(1, signedInAt! + life - Math.floor(now / 1000));
}

interface LivedToken {
  resourceServer?: { accessTokenTTL?: number };
}

/** Our application in the words of client metadata (RFC 7591 §2). */
export function toMetadata(application: RegisteredClient): AdapterPayload {
  const { clientId, name, type, redirectUris, postLogoutRedirectUris, refreshTokens, secretHash } = application;
  const people = type !== 'service';
  return {
    client_id: clientId,
    client_name: name,
    application_type: type === 'native' ? 'native' : 'web',
    token_endpoint_auth_method: needsSecret(type) ? 'client_secret_basic' : 'none',
    client_secret: needsSecret(type) ? secretHash : undefined,
    grant_types: people ? ['authorization_code', ...(refreshTokens ? ['refresh_token'] : [])] : ['client_credentials'],
    response_types: people ? ['code'] : [],
    redirect_uris: redirectUris,
    post_logout_redirect_uris: postLogoutRedirectUris,
    client_uri: application.clientUri,
    id_token_signed_response_alg: 'RS256',
    application,
  };
}

const isForService = ({ oidc }: KoaContextWithOIDC) => oidc.params?.grant_type === 'client_credentials';

function promptPolicy(acrValues: readonly string[]) {
  const policy = interactionPolicy.base();
  // Who wants to choose signs in, as whoever they choose: we keep one session of a browser, not a list (Microsoft
  // does).
  policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 0);
  // oidc-provider asks every native application for consent; first-party ones are ours, the others are in consent.ts.
  policy.get('consent')!.checks.remove('native_client_prompt');
  // A session outlives the account that it was for: whoever was disabled meanwhile is nobody here.
  policy
    .get('login')!
    .checks.add(
      new interactionPolicy.Check(
        'account_gone',
        'End-User authentication is required',
        'login_required',
        ({ oidc }) => oidc.session?.accountId !== undefined && oidc.account === undefined,
      ),
    );
  // What was asked for and can be had, but is not: whoever is signed in is sent for the further proof.
  policy.get('login')!.checks.add(
    new interactionPolicy.Check(
      'acr_not_met',
      'the requested authentication context is not met',
      'login_required',
      ({ oidc }) => {
        const wanted = String(oidc.params?.acr_values ?? '')
          .split(' ')
          .filter((acr) => acrValues.includes(acr));
        return wanted.length > 0 && !oidc.result?.login && !wanted.includes(oidc.session?.acr ?? '');
      },
    ),
  );
  return policy;
}
