// What tokens and userinfo say about a person, and which scope opens which claim.

import type { AccountClaims } from 'oidc-provider';
import type { Account } from '../accounts/account.ts';
import type { RegisteredClient } from '../clients/clients.ts';

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

/**
 * An address that somebody vouches for: the administrator who typed it, or Microsoft by a claim of its own. The others
 * are in no token and no answer, since applications decide by an address whatever stands beside it, and the administrator
 * of any tenant at Microsoft can write any address into it.
 */
function vouchedEmail({ email, emailVerified }: Account): string | undefined {
  return emailVerified ? email : undefined;
}

/** For ID token and userinfo; oidc-provider picks what the granted scopes allow. */
export function claimsOf(account: Account): AccountClaims {
  const email = vouchedEmail(account);
  // Of who signs in by an address here it is the user name, too; what another side says of somebody's address is none.
  const userName = account.signsInByEmail ? account.email : email;
  return {
    sub: account.id,
    name: account.name,
    given_name: account.givenName,
    family_name: account.familyName,
    preferred_username: account.preferredUsername ?? userName,
    email,
    email_verified: email === undefined ? undefined : true,
    roles: account.roles,
  };
}

/**
 * The claims of a person's access token beside those of RFC 9068 §2.2 that oidc-provider writes: `email` and `roles`,
 * for APIs to decide with; `auth_time`, `acr` and `sid`, of the sign-in behind it. A third party's token says of the person
 * only what the person allowed.
 */
export function accessTokenClaims(account: Account, application: RegisteredClient, signIn: SignInBehind) {
  const { authTime, acr, sid } = signIn;
  const allowed = signIn.allowed.split(' ');
  const may = (scope: string) => application.firstParty || allowed.includes(scope);
  return {
    ...(may('email') ? { email: vouchedEmail(account) } : {}),
    ...(may('roles') ? { roles: account.roles } : {}),
    auth_time: authTime,
    acr,
    sid,
  };
}

/** The sign-in behind a token. */
interface SignInBehind {
  /** The scopes that concern the person and were granted, with spaces in between. */
  allowed: string;
  authTime: number | undefined;
  acr: string | undefined;
  sid: string | undefined;
}
