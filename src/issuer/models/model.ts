// What we rely on of oidc-provider's token models (lib/models/) and its types leave out; test/issuer/canary.test.ts
// holds it. What its models have of ours is declared in oidc-provider.d.ts.

import type { Adapter } from 'oidc-provider';
import type { StatusIndex } from '../../status-list/indexes.ts';
import type { UngrantedScope } from '../scope.ts';

export interface Model extends UngrantedScope {
  jti: string;
  clientId: string;
  grantId?: string;
  accountId?: string;
  sessionUid?: string;
  expiresWithSession?: boolean;
  scopes: Set<string>;
  remainingTTL: number;
  resourceServer?: unknown;
  /** Ours: the status index that the token bears. */
  status?: StatusIndex;
  generateTokenId(): string;
  getValueAndPayload(): Promise<{ payload: Record<string, never> }>;
  consume(): Promise<void>;
  save(): Promise<string>;
}

export interface ModelClass {
  new (input: object): Model;
  find(value: string, options?: object): Promise<Model | undefined>;
  adapter: Adapter;
  IN_PAYLOAD: string[];
}
