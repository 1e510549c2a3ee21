// For which API a token is (`resource`, RFC 8707; `aud`, RFC 9068 §3), and what an application may have there: the rules
// alone, for whatever answers a request.

import { type Apis, audienceOf, resourceOf } from '../clients/apis.ts';
import type { RegisteredClient } from '../clients/clients.ts';

/** What an application may have of an API. */
export interface ApiAccess {
  audience: string;
  scopes: readonly string[];
  /** Seconds that its access tokens live there. */
  life: number;
}

/** @returns undefined: there is no such API, or the application was given no access to it */
export function apiAccess(
  resource: string,
  application: RegisteredClient,
  { apis, defaultLife }: { apis: Apis; defaultLife: number },
): ApiAccess | undefined {
  const audience = audienceOf(resource);
  const api = apis.find(audience);
  const scopes = Object.hasOwn(application.access, audience) && application.access[audience];
  if (!api || !scopes) return undefined;
  return { audience, scopes, life: application.accessTokenLife ?? api.accessTokenLife ?? defaultLife };
}

/**
 * The API of a request that names none: named by the application, or its only one. Of several that a grant is for, the
 * same where it is among them, or else all of them.
 */
export function defaultResource(
  { access, defaultAudience: named }: RegisteredClient,
  oneOf?: readonly string[],
): string | string[] | undefined {
  const audiences = Object.keys(access);
  const audience = named ?? (audiences.length === 1 ? audiences[0] : undefined);
  const preferred = audience === undefined ? undefined : resourceOf(audience);
  if (!oneOf) return preferred;
  return preferred && oneOf.includes(preferred) ? preferred : [...oneOf];
}

/**
 * What a service gets of what it asks for. One that names no scope gets all it is allowed (RFC 6749 §3.3); one that asks
 * for more gets nothing, and `refused` is the first scope of that.
 */
export function serviceScope(asked: string | undefined, { scopes }: ApiAccess): { scope: string; refused?: string } {
  if (asked === undefined) return { scope: scopes.join(' ') };
  const refused = asked.split(' ').find((scope) => !scopes.includes(scope));
  return refused === undefined ? { scope: [...new Set(asked.split(' '))].join(' ') } : { scope: '', refused };
}

/** The API, and the issuer itself where the token also opens userinfo (RFC 9068 §3, OIDC Core §5.3). */
export function audiencesOf(
  issuer: string,
  { aud, scope }: { aud?: string | string[] | undefined; scope?: string | undefined },
): string | string[] {
  if (aud === undefined) return issuer;
  return scope?.split(' ').includes('openid') ? [aud, issuer].flat() : aud;
}
