// Resource servers: which audiences exist, which scopes each has, how long its tokens live. Declared in signet.yaml.

import type { ApiConfig } from './config.ts';

export interface Apis {
  /** The API behind an audience (RFC 8707 resource), or undefined: then no token is issued for it. */
  find(audience: string): ApiConfig | undefined;
  list(): readonly ApiConfig[];
}

export function createApis(declared: readonly ApiConfig[]): Apis {
  const byAudience = new Map(declared.map((api) => [api.audience, api]));
  return {
    find: (audience) => byAudience.get(audience),
    list: () => declared,
  };
}
