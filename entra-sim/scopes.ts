// Scopes as Entra's v2 endpoint reads them: OIDC's, and Graph permissions with or without Graph's URL before them.

import { Aadsts } from './aadsts.ts';

const oidcScopes = ['openid', 'profile', 'email', 'offline_access'];
/** Delegated permissions that a person may consent to alone. */
const userScopes = ['User.Read'];
/** Those that need an administrator; an application has them when its `graphScopes` say so. */
const adminScopes = ['GroupMember.Read.All', 'Group.Read.All', 'Directory.Read.All'];

/** The scopes in short form, or AADSTS90014 (none), 70011 (unknown), 90094 (an administrator must consent). */
export function checkedScopes(parameter: string | null, granted: readonly string[]): string[] {
  const scopes = splitScopes(parameter);
  if (scopes.length === 0) throw new Aadsts(90014, { text: "The request must contain the parameter 'scope'." });
  for (const scope of scopes) {
    if (oidcScopes.includes(scope) || userScopes.includes(scope) || granted.includes(scope)) continue;
    throw new Aadsts(adminScopes.includes(scope) ? 90094 : 70011);
  }
  return scopes;
}

export function splitScopes(parameter: string | null): string[] {
  const names = (parameter ?? '').split(' ').filter((scope) => scope !== '');
  return [...new Set(names.map((scope) => scope.replace(/^https:\/\/[^/]+\//, '')))];
}
