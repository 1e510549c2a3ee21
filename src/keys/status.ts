// Keys and JWKS clients as they are shown to an administrator: moments as dates, and for each key what becomes of it next.

import type { KeyFacts } from './dry-run.ts';
import { scheduledHandover } from './dry-run.ts';
import type { JwksClient } from './jwks-clients.ts';
import type { SigningKey } from './key-rows.ts';
import type { KeyState, Milliseconds, Step } from './lifecycle.ts';
import { currentKeys, patienceAt, spentAt } from './lifecycle.ts';
import type { Seconds } from './policy.ts';

/** A key as it is shown. Only its public half: nobody outside the keyring ever holds another. */
interface KeyStatus {
  kid: string;
  state: KeyState;
  alg: string;
  publicJwk: SigningKey['publicJwk'];
  /** When it came into this state, and for how long it has been in it. */
  since: Date;
  ageSeconds: number;
  /** What the schedule does with it next; null: nothing. */
  next: { becomes: 'active' | 'retired' | 'destroyed'; at: Date } | null;
  preparedAt: Date;
  activatedAt: Date | null;
  retiredAt: Date | null;
  destroyedAt: Date | null;
  revokedAt: Date | null;
  revokedReason: string | null;
  longestLifeSeconds: Seconds;
}

export interface KeysStatus {
  /** Newest first. */
  keys: KeyStatus[];
  /** What a running server does next, and when. */
  next: { step: 'bootstrap' | 'prepare' | 'activate' | 'destroy'; at: Date; waitingFor: readonly string[] };
  /** Who was given the newest key, and who comes regularly and was not; null where there is no key. */
  propagation: { kid: string; seenBy: string[]; unseenBy: string[] } | null;
}

type JwksClientStatus = Omit<JwksClient, 'firstSeenAt' | 'lastSeenAt' | 'newestPreparedAt'> & {
  firstSeenAt: Date;
  lastSeenAt: Date;
};

export interface JwksClientsStatus {
  /** The newest key, and since when it is published; null where there is none. */
  key: { kid: string; state: KeyState; publishedAt: Date } | null;
  seenBy: JwksClientStatus[];
  unseenBy: JwksClientStatus[];
  silent: JwksClientStatus[];
}

export function keyStatus(key: SigningKey, facts: KeyFacts, step: Step): KeyStatus {
  const { preparedAt, activatedAt, retiredAt, destroyedAt, revokedAt } = key;
  const since = revokedAt ?? destroyedAt ?? retiredAt ?? activatedAt ?? preparedAt;
  return {
    kid: key.kid,
    state: key.state,
    alg: key.alg,
    publicJwk: key.publicJwk,
    since: new Date(since),
    ageSeconds: Math.floor((facts.now - since) / 1000),
    next: nextOf(key, facts, step),
    preparedAt: new Date(preparedAt),
    activatedAt: date(activatedAt),
    retiredAt: date(retiredAt),
    destroyedAt: date(destroyedAt),
    revokedAt: date(revokedAt),
    revokedReason: key.revokedReason,
    longestLifeSeconds: key.longestLife,
  };
}

export function stepStatus(step: Step, now: Milliseconds): KeysStatus['next'] {
  if (step.do !== 'wait') return { step: step.do, at: new Date(now), waitingFor: [] };
  return { step: step.next, at: new Date(step.until), waitingFor: step.waitingFor ?? [] };
}

function nextOf(key: SigningKey, facts: KeyFacts, step: Step): KeyStatus['next'] {
  if (key.state === 'retired') {
    return { becomes: 'destroyed', at: new Date(spentAt({ ...key, retiredAt: key.retiredAt! }, facts.policy)) };
  }
  if (key.state !== 'prepared' && key.state !== 'active') return null;
  // Past its time and waited for, the limit is what is certain.
  const waits = step.do === 'wait' && step.waitingFor !== undefined;
  const { active } = currentKeys(facts.keys);
  const at = scheduledHandover(facts) + (waits && active ? patienceAt(active, facts.policy, facts.keys) : 0);
  return { becomes: key.state === 'prepared' ? 'active' : 'retired', at: new Date(Math.max(at, facts.now)) };
}

function date(at: Milliseconds | null): Date | null {
  return at === null ? null : new Date(at);
}

export function jwksClientStatus(seen: JwksClient): JwksClientStatus {
  const { firstSeenAt, lastSeenAt, newestPreparedAt: _served, ...client } = seen;
  return { ...client, firstSeenAt: new Date(firstSeenAt), lastSeenAt: new Date(lastSeenAt) };
}
