// Resource servers: which audiences exist, which scopes each has, how long its tokens live. Declared in signet.yaml,
// but for the one that is built in: the administration of this server.

import { administrationApi, type ApiConfig } from './config.ts';

export interface Apis {
  /** The API behind an audience (RFC 8707 resource), or undefined: then no token is issued for it. */
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
