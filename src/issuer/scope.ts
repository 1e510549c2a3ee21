// `scope` (RFC 6749 §3.3): what an application asks for and cannot get. At sign-in it is left out and the answer's
// `scope` says so (RFC 6749 §3.3), unless nothing else is asked for. Many libraries repeat their configured scope at
// each refresh, so what was left out then is left out there as well: `invalid_scope` would be the end of the sign-in.
// It is for what exists and was never asked for (§6).

import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { Apis } from '../clients/apis.ts';
import { oidcScopes } from './claims.ts';

/** A parameter of ours among those of the authorization request: oidc-provider keeps it until the code is made. */
export const ungrantableScope = 'ungrantable_scope';

/** Of codes and refresh tokens: what was asked for at sign-in and cannot be had, with spaces in between. */
export interface UngrantedScope {
  ungrantedScope?: string | undefined;
}

const longestNamed = 200;

/**
 * Notes what of an authorization request cannot be granted. Called when its APIs are known, and before anybody signs
 * in. Whatever a request itself says by that name is written over.
 * @throws invalid_scope where that is all of it
 */
export function noteUngrantable({ query, oidc }: KoaContextWithOIDC, isKnown: (scope: string) => boolean): void {
  const { params, requestParamOIDCScopes, resourceServers } = oidc;
  const asked = scopesIn(query.scope);
  const grantable = new Set([
    ...requestParamOIDCScopes,
    ...Object.values(resourceServers ?? {}).flatMap(({ scopes }) => [...scopes]),
  ]);
  const rest = asked.filter((scope) => !grantable.has(scope));
  if (asked.length > 0 && rest.length === asked.length) {
    const named = rest.join(' ');
    const shown = named.length > longestNamed ? `${named.slice(0, longestNamed)}...` : named;
    const hint =
      params!.resource === undefined && rest.some(isKnown) ? '; name their API in the parameter resource' : '';
    throw new errors.InvalidScope(`none of the requested scopes can be granted: ${shown}${hint}`, named);
  }
  params![ungrantableScope] = rest.length > 0 ? rest.join(' ') : undefined;
}

/**
 * The scope of a refresh request without what was left out at sign-in, and what nobody knows. Where nothing else is left,
 * or where more is asked for than there was, it stays as it is, and is refused.
 */
export function withoutUngranted(
  asked: string | undefined,
  token: UngrantedScope & { scope?: string | undefined },
  isKnown: (scope: string) => boolean,
): string | undefined {
  if (asked === undefined) return undefined;
  const [granted, ungranted] = [scopesIn(token.scope), scopesIn(token.ungrantedScope)];
  const kept = scopesIn(asked).filter(
    (scope) => granted.includes(scope) || (isKnown(scope) && !ungranted.includes(scope)),
  );
  return kept.length > 0 ? kept.join(' ') : asked;
}

/** Whether a scope is one of ours, or of an API that is declared. */
export function knownScopes(apis: Apis): (scope: string) => boolean {
  const known = new Set([...oidcScopes, ...apis.list().flatMap(({ scopes }) => Object.keys(scopes))]);
  return (scope) => known.has(scope);
}

const scopesIn = (text: unknown) => (typeof text === 'string' ? text.split(' ').filter((scope) => scope !== '') : []);
