// A signing key as it is stored and as it is known: its row, its states as conditions on a row, and the order of a
// JWKS. The statements are in keyring.ts, which owns the table.

import { createHash } from 'node:crypto';
import type { KeyState, KeyTimes } from './lifecycle.ts';
import { stateOf } from './lifecycle.ts';
import type { PublicJwk } from './signer.ts';

export interface SigningKey extends KeyTimes {
  alg: 'RS256';
  publicJwk: PublicJwk;
  state: KeyState;
  revokedReason: string | null;
}

export interface SigningKeyRow {
  kid: string;
  alg: 'RS256';
  public_jwk: string;
  prepared_at: number;
  activated_at: number | null;
  retired_at: number | null;
  destroyed_at: number | null;
  revoked_at: number | null;
  revoked_reason: string | null;
  longest_life: number;
}

export const signingKeyColumns =
  'kid, alg, public_jwk, prepared_at, activated_at, retired_at, destroyed_at, ' +
  'revoked_at, revoked_reason, longest_life';

// The states of lifecycle.ts, as conditions.
export const isPrepared = 'activated_at is null and destroyed_at is null and revoked_at is null';
export const isActive = 'activated_at is not null and retired_at is null and revoked_at is null';
export const isRetired = 'retired_at is not null and destroyed_at is null and revoked_at is null';

export function toSigningKey(row: SigningKeyRow): SigningKey {
  const times = {
    kid: row.kid,
    preparedAt: row.prepared_at,
    activatedAt: row.activated_at,
    retiredAt: row.retired_at,
    destroyedAt: row.destroyed_at,
    revokedAt: row.revoked_at,
    longestLife: row.longest_life,
  };
  return {
    ...times,
    state: stateOf(times),
    alg: row.alg,
    publicJwk: JSON.parse(row.public_jwk) as PublicJwk,
    revokedReason: row.revoked_reason,
  };
}

// oidc-provider signs with the first key that fits the alg: order is meaning.
export function inSigningOrder(a: SigningKey, b: SigningKey): number {
  const rank = { active: 0, retired: 1, prepared: 2, destroyed: 3, revoked: 3 };
  return rank[a.state] - rank[b.state] || (b.retiredAt ?? 0) - (a.retiredAt ?? 0);
}

export function versionOf(keys: SigningKey[]): string {
  return createHash('sha256')
    .update(JSON.stringify(keys.map(({ kid, state }) => [kid, state])))
    .digest('base64url');
}
