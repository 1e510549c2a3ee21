// The life of a signing key, decided without a clock or a database: prepared (published, not signing) → active →
// retired (verifies only) → destroyed; or revoked, from any of the first three. Behind an active key there is always a
// prepared one, so that an emergency has a successor that verifiers already hold. States are read from timestamps, so
// no status can disagree with its history. keyring.ts does what is decided here; rotation.ts asks when.

import { afterlife, type KeyPolicy, type Seconds } from './policy.ts';

export type Milliseconds = number;

export interface KeyTimes {
  kid: string;
  preparedAt: Milliseconds;
  activatedAt: Milliseconds | null;
  retiredAt: Milliseconds | null;
  destroyedAt: Milliseconds | null;
  revokedAt: Milliseconds | null;
  /** The longest life of anything this key may have signed. */
  longestLife: Seconds;
}

export type KeyState = 'prepared' | 'active' | 'retired' | 'destroyed' | 'revoked';

export type Step =
  | { do: 'bootstrap' }
  | { do: 'prepare' }
  | { do: 'activate'; kid: string }
  | { do: 'destroy'; kid: string }
  | Wait;

export interface Wait {
  do: 'wait';
  until: Milliseconds;
  next: 'activate' | 'destroy';
  /** Where a key is past its time and waits: those that it waits for. It signs when they have it, or at its limit. */
  waitingFor?: readonly string[];
}

export function stateOf(key: KeyTimes): KeyState {
  if (key.revokedAt !== null) return 'revoked';
  if (key.destroyedAt !== null) return 'destroyed';
  if (key.retiredAt !== null) return 'retired';
  if (key.activatedAt !== null) return 'active';
  return 'prepared';
}

/** Whether the key belongs in the JWKS. */
export function isPublished(key: KeyTimes): boolean {
  const state = stateOf(key);
  return state === 'prepared' || state === 'active' || state === 'retired';
}

/** From when a prepared key may sign: by then every cache that obeys our max-age, and most that do not, have it. */
export function readyAt(key: KeyTimes, policy: KeyPolicy): Milliseconds {
  return key.preparedAt + policy.publishAhead * 1000;
}

/**
 * From when nothing that a retired key signed can still be valid. Beyond the longest life: a replica signs on until it
 * notices (pollEvery), by its own clock (clockSkew), and a cache in between may repeat an older answer (jwksMaxAge).
 */
export function spentAt(key: KeyTimes & { retiredAt: Milliseconds }, policy: KeyPolicy): Milliseconds {
  return key.retiredAt + (key.longestLife + afterlife(policy)) * 1000;
}

/**
 * When the active key's turn is over and the prepared one may sign, as far as time decides it. Where a key was given up
 * that some verifiers may still believe, its turn is over as soon as the next one is ready.
 */
export function handoverAt(
  active: KeyTimes,
  prepared: KeyTimes,
  policy: KeyPolicy,
  keys: readonly KeyTimes[],
): Milliseconds {
  const ready = readyAt(prepared, policy);
  return isRevocationUnnoticed(active, keys) ? ready : Math.max(ready, active.activatedAt! + policy.rotateEvery * 1000);
}

/**
 * Whether a revocation may be unnoticed by verifiers that keep a known key for ever and fetch for an unknown one alone.
 * They knew the active key before, since it was published ahead; so nothing makes them fetch, and they believe the
 * revoked key, whatever `exp` a thief writes. A key that was prepared after the revocation ends that with its first
 * token: whoever knows it, or fetches it then, has a JWKS without the revoked one.
 */
function isRevocationUnnoticed(active: KeyTimes, keys: readonly KeyTimes[]): boolean {
  return keys.some(({ revokedAt }) => revokedAt !== null && revokedAt > active.preparedAt);
}

/**
 * From when a key signs that was prepared after the last revocation, if the schedule goes its way; null: it does. The
 * prepared key may be older than that, and has its turn first.
 */
export function revocationNoticedAt(
  keys: readonly KeyTimes[],
  now: Milliseconds,
  policy: KeyPolicy,
): Milliseconds | null {
  const { active, prepared } = currentKeys(keys);
  if (!active || !isRevocationUnnoticed(active, keys)) return null;
  const made = (at: Milliseconds) => at + (policy.pollEvery + policy.publishAhead) * 1000;
  if (!prepared) return made(now);
  const next = Math.max(now, readyAt(prepared, policy));
  return isRevocationUnnoticed(prepared, keys) ? made(next) : next;
}

/** The key that signs, and the one that is next. */
export function currentKeys<Key extends KeyTimes>(keys: readonly Key[]) {
  return {
    active: keys.find((key) => stateOf(key) === 'active'),
    prepared: keys.find((key) => stateOf(key) === 'prepared'),
  };
}

/** Milliseconds past its time that a key waits for verifiers. None where that would let a thief go on. */
export function patienceAt(active: KeyTimes, policy: KeyPolicy, keys: readonly KeyTimes[]): Milliseconds {
  return isRevocationUnnoticed(active, keys) ? 0 : (policy.patience ?? 0) * 1000;
}

/**
 * The one thing to do now, or until when there is nothing to do. Call again after each step.
 *
 * Signing comes before tidying: a key is destroyed only when the active one needs nothing. And every key that signs
 * has the next one behind it from its first moment on: nobody can publish a successor in time for an emergency.
 *
 * @param unseenBy JWKS clients that come regularly and were not given the prepared key; matters only with `patience`,
 *   and only once the key is otherwise ready
 */
export function nextStep(
  keys: readonly KeyTimes[],
  now: Milliseconds,
  policy: KeyPolicy,
  unseenBy: readonly string[] = [],
): Step {
  const { active, prepared } = currentKeys(keys);
  if (!active) return prepared ? { do: 'activate', kid: prepared.kid } : { do: 'bootstrap' };
  if (!prepared) return { do: 'prepare' };

  const turn = handoverAt(active, prepared, policy, keys);
  const waits = unseenBy.length > 0 && now >= turn;
  const handover = turn + (waits ? patienceAt(active, policy, keys) : 0);
  if (now >= handover) return { do: 'activate', kid: prepared.kid };

  const [spent] = keys
    .filter(isRetired)
    .map((key) => ({ kid: key.kid, at: spentAt(key, policy) }))
    .sort((a, b) => a.at - b.at);
  if (spent && now >= spent.at) return { do: 'destroy', kid: spent.kid };
  const waitingFor = waits ? { waitingFor: unseenBy } : {};
  if (spent && spent.at < handover) return { do: 'wait', until: spent.at, next: 'destroy', ...waitingFor };
  return { do: 'wait', until: handover, next: 'activate', ...waitingFor };
}

function isRetired(key: KeyTimes): key is KeyTimes & { retiredAt: Milliseconds } {
  return stateOf(key) === 'retired';
}
