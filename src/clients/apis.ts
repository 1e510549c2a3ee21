// Resource servers: which audiences exist, which scopes each has, how long its tokens live. Declared in signet.yaml,
// but for the one that is built in: the administration of this server.

import { audienceNames } from '../config/application-rules.ts';
import { type ApiConfig, administrationApi } from '../config/config.ts';

export interface Apis {
  /** The API behind an audience, or undefined: then no token is issued for it. */
  find(audience: string): ApiConfig | undefined;
  /** Those that are declared, and then our own. */
  list(): readonly ApiConfig[];
}

export function createApis(declared: readonly ApiConfig[], issuer: string): Apis {
  const all: readonly ApiConfig[] = [...declared, administrationApi(issuer)];
  const byAudience = new Map(all.map((api) => [api.audience, api]));
  return {
    find: (audience) => byAudience.get(audience),
    list: () => all,
  };
}

/**
 * What stands for an audience in the parameter `resource`, which takes nothing but an absolute URI without a fragment
 * (RFC 8707 §2), while an audience may be any text (RFC 7519 §2). Grants and consents know it under this name, too.
 */
export function resourceOf(audience: string): string {
  const isUri = audience.includes(':') && !audience.includes('#') && URL.canParse(audience);
  return isUri ? audience : audienceNames + encodeURIComponent(audience);
}

/** The audience that a `resource` stands for. One that cannot be read stands for nothing that there is. */
export function audienceOf(resource: string): string {
  if (!resource.startsWith(audienceNames)) return resource;
  try {
    const audience = decodeURIComponent(resource.slice(audienceNames.length));
    // One spelling for each: what is granted under one name must not be asked for under another.
    return resourceOf(audience) === resource ? audience : resource;
  } catch {
    return resource;
  }
}
