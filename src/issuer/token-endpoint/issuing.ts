// The tokens of an answer (RFC 6749 §5.1): the access token (RFC 9068), of a service or of a person, the person's ID token (OIDC
// Core §2) and refresh token. What is in each follows from what was granted and from when; nothing here reads or writes.
// oidc-provider makes the same of the same request: test/issuer/token-endpoint holds the two equal.

import type { ClaimsParameter } from 'oidc-provider';
import type { Account } from '../../accounts/account.ts';
import type { Apis } from '../../clients/apis.ts';
import type { RegisteredClient } from '../../clients/clients.ts';
import type { GrantPayload } from '../../grants/backing.ts';
import { compactSigner } from '../../keys/compact-jws.ts';
import { issuedAt } from '../../keys/dating.ts';
import type { Signer } from '../../keys/signer.ts';
import type { StatusIndex } from '../../status-list/indexes.ts';
import { type ApiAccess, apiAccess, audiencesOf, defaultResource } from '../audience.ts';
import { accessTokenClaims, claimsOf, claimsOfScope, oidcScopes } from '../claims.ts';
import type { TokenFormats } from '../tokens.ts';

/** RFC 6749 §5.1, OIDC Core §3.1.3.3. */
export interface TokenAnswer {
  access_token: string;
  expires_in: number;
  id_token?: string;
  refresh_token?: string;
  scope?: string;
  token_type: 'Bearer';
}

/** What of a code or of a refresh token says what it is exchanged for. */
export interface PersonalSource {
  clientId?: string;
  accountId?: string;
  acr?: string;
  authTime?: number;
  claims?: ClaimsParameter;
  nonce?: string;
  resource?: string | string[];
  scope?: string;
  sid?: string;
}

/** What a request asks for. */
export interface Asked {
  scope?: string | undefined;
  resource?: string | undefined;
}

/** What a person's application gets. */
interface PersonalAccess {
  /** Of the access token; undefined: it is for userinfo alone. */
  audience: string | undefined;
  scope: string;
  /** Seconds that the access token lives. */
  life: number;
  /** Of the ID token; undefined: there is none. */
  idTokenScope: string | undefined;
}

interface PersonalGrant {
  application: RegisteredClient;
  account: Account;
  grant: GrantPayload & { status: StatusIndex };
  grantId: string;
  source: PersonalSource;
  access: PersonalAccess;
}

interface Issue {
  /** As of when, epoch milliseconds. */
  at: number;
  /** The random part of the access token's `jti`. */
  id: string;
}

/** A refresh token that comes with the answer. @param exp epoch seconds */
type RefreshTokenOut = { handle: string; exp: number };

export interface Issuing {
  /** @returns undefined: the request is none that is answered so */
  personalAccess(
    application: RegisteredClient,
    source: PersonalSource,
    grant: GrantPayload,
    asked: Asked,
  ): PersonalAccess | undefined;
  toPerson(
    granted: PersonalGrant,
    issue: Issue & { nonce: string | undefined; refreshToken?: RefreshTokenOut | undefined },
  ): Promise<TokenAnswer>;
  /** @param holder what issued it: see StatusHolder */
  toService(
    application: RegisteredClient,
    access: ApiAccess,
    scope: string,
    holder: { grantId: string; index: StatusIndex },
    issue: Issue,
  ): Promise<TokenAnswer>;
}

interface IssuingParts {
  issuer: string;
  signer: Signer;
  formats: Pick<TokenFormats, 'wrapRefreshToken'>;
  apis: Apis;
  /** Seconds. */
  lives: { accessToken: number; idToken: number };
  statusListUri(list: number): string;
}

export function createIssuing({ issuer, signer, formats, apis, lives, statusListUri }: IssuingParts): Issuing {
  const signAccessToken = compactSigner(signer, 'at+jwt');
  const signIdToken = compactSigner(signer, undefined);
  const seconds = (at: number) => Math.floor(at / 1000);

  // Members stand in the order in which oidc-provider writes them: an answer that it gave is made again to the letter.
  function accessToken(issue: Issue, token: AccessTokenOut): Promise<string> {
    const { grantId, sub, scope, clientId, audience, life, status, claims } = token;
    return signAccessToken({
      jti: `${grantId}.${issue.id}`,
      sub,
      iat: issuedAt(issue.at),
      exp: seconds(issue.at) + life,
      scope: scope || undefined,
      client_id: clientId,
      iss: issuer,
      aud: audiencesOf(issuer, { aud: audience, scope }),
      status: { status_list: { idx: status.idx, uri: statusListUri(status.list) } },
      ...claims,
    });
  }

  function idToken({ application, account, source, access }: PersonalGrant, at: number, nonce: string | undefined) {
    const available: Record<string, unknown> = { ...claimsOf(account), acr: source.acr, auth_time: source.authTime };
    const named = Object.keys(source.claims?.id_token ?? {});
    const wanted = new Set([...claimsOfScopes(access.idTokenScope!), ...named]);
    const claims = Object.fromEntries([...wanted].map((name) => [name, available[name]]));
    return signIdToken({
      ...claims,
      sid: source.sid,
      nonce,
      iat: issuedAt(at),
      aud: application.clientId,
      exp: seconds(at) + lives.idToken,
      iss: issuer,
    });
  }

  return {
    personalAccess(application, source, grant, asked) {
      if (Object.keys(grant.rejected ?? {}).length > 0 || !isPlain(source)) return undefined;
      const granted = wordsOf(source.scope);
      const scopes = asked.scope === undefined ? granted : wordsOf(asked.scope);
      if (scopes.some((scope) => !granted.includes(scope))) return undefined;
      const personal = wordsOf(grant.openid?.scope);
      const idTokenScope = scopes.includes('openid')
        ? personal.filter((scope) => scopes.includes(scope)).join(' ')
        : undefined;

      const named = asked.resource ?? source.resource;
      const resource = Array.isArray(named) && named.length > 0 ? defaultResource(application, named) : named;
      if (resource === undefined || resource.length === 0) {
        const scope = personal.filter((one) => scopes.includes(one)).join(' ');
        return { audience: undefined, scope, life: lives.accessToken, idTokenScope };
      }
      if (Array.isArray(resource) || ![source.resource].flat().includes(resource)) return undefined;
      const api = apiAccess(resource, application, { apis, defaultLife: lives.accessToken });
      if (!api) return undefined;
      const offered = new Set([...api.scopes, ...(asked.resource === undefined ? oidcScopes : [])]);
      const inGrant = wordsOf(grant.resources?.[resource]);
      const scope = inGrant.filter((one) => scopes.includes(one) && offered.has(one)).join(' ');
      return { audience: api.audience, scope, life: api.life, idTokenScope };
    },

    async toPerson(granted, { nonce, refreshToken, ...issue }) {
      const { application, account, grant, grantId, source, access } = granted;
      const { audience, scope } = access;
      const { authTime, acr, sid } = source;
      const allowed = grant.openid?.scope ?? '';
      // All at once: each takes a thread of its own.
      const [access_token, refresh_token, id_token] = await Promise.all([
        accessToken(issue, {
          grantId,
          sub: account.id,
          scope,
          clientId: application.clientId,
          audience,
          life: access.life,
          status: grant.status,
          claims: accessTokenClaims(account, application, { allowed, authTime, acr, sid }),
        }),
        refreshToken && formats.wrapRefreshToken(refreshToken.handle, refreshToken.exp, issue.at),
        access.idTokenScope === undefined ? undefined : idToken(granted, issue.at, nonce),
      ]);
      return {
        access_token,
        expires_in: access.life,
        ...(id_token !== undefined && { id_token }),
        ...(refresh_token !== undefined && { refresh_token }),
        ...((source.scope || scope) && { scope }),
        token_type: 'Bearer',
      };
    },

    async toService({ clientId }, { audience, life }, scope, { grantId, index: status }, issue) {
      const token = { grantId, sub: clientId, scope, clientId, audience, life, status, claims: {} };
      const access_token = await accessToken(issue, token);
      return { access_token, expires_in: life, ...(scope && { scope }), token_type: 'Bearer' };
    },
  };
}

interface AccessTokenOut {
  /** What issued it: see StatusHolder. */
  grantId: string;
  sub: string;
  scope: string;
  clientId: string;
  /** Undefined: the issuer alone. */
  audience: string | undefined;
  /** Seconds. */
  life: number;
  status: StatusIndex;
  /** Of the person. */
  claims: object;
}

const wordsOf = (scope: string | undefined) => (scope ? [...new Set(scope.split(' '))] : []);

const claimsOfScopes = (scope: string) =>
  scope.split(' ').flatMap((one) => (Object.hasOwn(claimsOfScope, one) ? claimsOfScope[one as 'openid'] : []));

/** What may be asked for one by one: claims of the sign-in, which nobody consents to (lib/consts/non_rejectable_claims.js). */
const ofTheSignIn = new Set(['sub', 'sid', 'auth_time', 'acr']);

function isPlain({ claims }: PersonalSource): boolean {
  return Object.keys(claims?.id_token ?? {}).every((name) => ofTheSignIn.has(name));
}
