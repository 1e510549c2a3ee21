// What tokens and userinfo say about a person, and which scope opens which claim.

import type { AccountClaims, KoaContextWithOIDC } from 'oidc-provider';
import type { Account } from '../accounts-person.ts';
import type { Application } from '../clients.ts';

/** Scope → claims (OIDC Core §5.4); `roles` is ours. */
export const claimsOfScope = {
  openid: ['sub', 'sid'],
  profile: ['name', 'given_name', 'family_name', 'preferred_username'],
  email: ['email', 'email_verified'],
  roles: ['roles'],
};

/** The scopes that concern the person, not an API. */
export const oidcScopes = [...Object.keys(claimsOfScope), 'offline_access'];

/** Phrases for the consent page; `openid` alone reveals nothing that needs a phrase. */
export const profilePhrases: Record<string, string> = {
  profile: 'Your name',
  email: 'Your e-mail address',
  roles: 'Your roles',
};

/** For ID token and userinfo; oidc-provider picks what the granted scopes allow. */
export function claimsOf(account: Account): AccountClaims {
  return {
    sub: account.id,
    name: account.name,
    given_name: account.givenName,
    family_name: account.familyName,
    preferred_username: account.preferredUsername ?? account.email,
    email: account.email,
    email_verified: account.email === undefined ? undefined : account.emailVerified,
    roles: account.roles,
  };
}

/**
 * The claims of a person's access token beside those of RFC 9068 §2.2 that oidc-provider writes: `email` and `roles`,
 * for APIs to decide with; `auth_time` and `sid`, of the sign-in behind it. A third party's token says of the person
 * only what the person allowed. APIs do decide by an address, so one that its bearer may have chosen is in nobody's
 * token: the administrator of any tenant at Microsoft can write any address into it.
 */
export function accessTokenClaims(
  ctx: KoaContextWithOIDC, account: Account, application: Application, sid: string | undefined,
) {
  const { AuthorizationCode: code, RefreshToken: refreshToken } = ctx.oidc.entities;
  const allowed = new Set(ctx.oidc.grant?.getOIDCScope().split(' '));
  const may = (scope: string) => application.firstParty || allowed.has(scope);
  const isTrusted = account.signsInByEmail || account.emailVerified;
  return {
    ...(may('email') && isTrusted ? { email: account.email } : {}),
    ...(may('roles') ? { roles: account.roles } : {}),
    auth_time: (code ?? refreshToken)?.authTime,
    sid,
  };
}
