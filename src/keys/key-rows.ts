// Signing keys as rows (owns the table signing_keys): how one is stored and known, its states as conditions, and the
// statements that read and change it, each with its precondition. Who may change what, and why: keyring.ts.

import { createHash } from 'node:crypto';
import type { Queryable } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { KeyState, KeyTimes, Milliseconds } from './lifecycle.ts';
import { isPublished, stateOf } from './lifecycle.ts';
import type { Seconds } from './policy.ts';
import type { SealedKey } from './sealed-keys.ts';
import type { PublicJwk } from './signer.ts';

export interface SigningKey extends KeyTimes {
  alg: 'RS256';
  publicJwk: PublicJwk;
  state: KeyState;
  revokedReason: string | null;
}

interface Row {
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

const columns =
  'kid, alg, public_jwk, prepared_at, activated_at, retired_at, destroyed_at, ' +
  'revoked_at, revoked_reason, longest_life';

// The states of lifecycle.ts, as conditions.
const isPrepared = 'activated_at is null and destroyed_at is null and revoked_at is null';
const isActive = 'activated_at is not null and retired_at is null and revoked_at is null';
const isRetired = 'retired_at is not null and destroyed_at is null and revoked_at is null';

function fromRow(row: Row): SigningKey {
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
function inSigningOrder(a: SigningKey, b: SigningKey): number {
  const rank = { active: 0, retired: 1, prepared: 2, destroyed: 3, revoked: 3 };
  return rank[a.state] - rank[b.state] || (b.retiredAt ?? 0) - (a.retiredAt ?? 0);
}

export function versionOf(keys: SigningKey[]): string {
  return createHash('sha256')
    .update(JSON.stringify(keys.map(({ kid, state }) => [kid, state])))
    .digest('base64url');
}

/** Whether anything in the database is sealed: then the master key that opens it must already exist. */
export async function hasSigningKeys(db: Queryable): Promise<boolean> {
  const { rowCount } = await db.query('select kid from signing_keys where sealed_private is not null limit 1');
  return rowCount > 0;
}

/** Every key there ever was, newest first. */
export async function listKeys(db: Queryable): Promise<SigningKey[]> {
  const { rows } = await db.query<Row>(`select ${columns} from signing_keys order by prepared_at desc, kid`);
  return rows.map(fromRow);
}

/** @throws {AppError} key_unknown */
export async function findKey(db: Queryable, kid: string): Promise<SigningKey> {
  const { rows } = await db.query<Row>(`select ${columns} from signing_keys where kid = $1`, [kid]);
  const [row] = rows;
  if (!row) throw new AppError('key_unknown', 404, `there is no key ${kid}`, { hint: 'run: signet keys list' });
  return fromRow(row);
}

/** What belongs in the JWKS, in its order, and the active key as it is sealed. */
export async function readPublishedKeys(db: Queryable): Promise<{ keys: SigningKey[]; sealed: SealedKey | undefined }> {
  const { rows } = await db.query<Row & { sealed_private: string | null }>(
    `select ${columns}, sealed_private from signing_keys where destroyed_at is null and revoked_at is null`,
  );
  const keys = rows.map(fromRow).filter(isPublished).sort(inSigningOrder);
  const active = rows.find(({ kid }) => kid === keys[0]?.kid);
  return { keys, sealed: active?.sealed_private ? { ...active, sealed_private: active.sealed_private } : undefined };
}

export async function readSealedKeys(db: Queryable): Promise<SealedKey[]> {
  const { rows } = await db.query<SealedKey>(
    'select kid, sealed_private, activated_at from signing_keys where sealed_private is not null',
  );
  return rows;
}

interface NewRow {
  publicJwk: PublicJwk;
  sealedPrivate: string;
  preparedAt: Milliseconds;
  activatedAt: Milliseconds | null;
  longestLife: Seconds;
}

/** False where there is a prepared key, or an active one, already. */
export async function insertKey(tx: Queryable, key: NewRow): Promise<boolean> {
  const { publicJwk, sealedPrivate, preparedAt, activatedAt, longestLife } = key;
  const { rowCount } = await tx.query(
    `insert into signing_keys (kid, alg, public_jwk, sealed_private, prepared_at, activated_at, longest_life)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
    [publicJwk.kid, publicJwk.alg, JSON.stringify(publicJwk), sealedPrivate, preparedAt, activatedAt, longestLife],
  );
  return rowCount === 1;
}

interface Activation {
  at: Milliseconds;
  /** Whether it was prepared by then. */
  preparedBefore: Milliseconds;
  longestLife: Seconds;
}

/** False where it is not a prepared key, or one that was prepared too late. */
export async function activateKey(tx: Queryable, kid: string, activation: Activation): Promise<boolean> {
  const { at, preparedBefore, longestLife } = activation;
  const { rowCount } = await tx.query(
    `update signing_keys set activated_at = $2,
       longest_life = case when longest_life < $3 then $3 else longest_life end
     where kid = $1 and prepared_at <= $4 and ${isPrepared}`,
    [kid, at, longestLife, preparedBefore],
  );
  return rowCount === 1;
}

/** Retires the active key, unless it is `exceptKid`; answers its kid. */
export async function retireActiveKey(tx: Queryable, at: Milliseconds, exceptKid = ''): Promise<string | undefined> {
  const { rows } = await tx.query<{ kid: string }>(
    `update signing_keys set retired_at = $1, sealed_private = null where ${isActive} and kid <> $2 returning kid`,
    [at, exceptKid],
  );
  return rows[0]?.kid;
}

/** Answers the key as it was, if there was anything to revoke. */
export async function revokeKey(
  tx: Queryable,
  kid: string,
  at: Milliseconds,
  reason: string,
): Promise<SigningKey | undefined> {
  const { rows } = await tx.query<Row>(
    `update signing_keys set revoked_at = $2, revoked_reason = $3, sealed_private = null
     where kid = $1 and destroyed_at is null and revoked_at is null returning ${columns}`,
    [kid, at, reason],
  );
  return rows[0] && fromRow({ ...rows[0], revoked_at: null });
}

/** False where it is not a retired key, or one whose longest life and `afterlife` are not over. */
export async function destroyKey(
  tx: Queryable,
  kid: string,
  at: Milliseconds,
  afterlife: Seconds | 'whenever',
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update signing_keys set destroyed_at = $2
     where kid = $1 and ${isRetired} and ($3 = 1 or retired_at + (longest_life + $4) * 1000 <= $2)`,
    [kid, at, afterlife === 'whenever' ? 1 : 0, afterlife === 'whenever' ? 0 : afterlife],
  );
  return rowCount === 1;
}

/** Never lowered; answers the kid of the active key where that was news. */
export async function raiseActiveLife(tx: Queryable, seconds: Seconds): Promise<string | undefined> {
  const { rows } = await tx.query<{ kid: string }>(
    `update signing_keys set longest_life = $1 where longest_life < $1 and ${isActive} returning kid`,
    [seconds],
  );
  return rows[0]?.kid;
}

/** A key that was retired in the meantime has lost its private half, and does not get it back. */
export async function replaceSealedKey(tx: Queryable, { kid, sealed_private }: SealedKey, sealed: string) {
  await tx.query('update signing_keys set sealed_private = $3 where kid = $1 and sealed_private = $2', [
    kid,
    sealed_private,
    sealed,
  ]);
}
