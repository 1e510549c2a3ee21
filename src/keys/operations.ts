// What an administrator does with keys, the same for the command line and the admin API: look, prepare, rotate, revoke.
// The keyring refuses what would break a live token; here the refusal learns who would break and until when, and both
// sides get answers that are ready to be shown. Every action is audited by the keyring.

import type { Actor } from '../audit/actor.ts';
import type { Database, Queryable } from '../database/database.ts';
import { AppError, isAppError } from '../errors.ts';
import type { KeyFacts, Plan, VerifierImpact } from './dry-run.ts';
import { onlyBecauseOf, planRotation, planWithdrawal } from './dry-run.ts';
import type { JwksClients } from './jwks-clients.ts';
import { describeJwksClient } from './jwks-clients.ts';
import type { SigningKey } from './key-rows.ts';
import type { Keyring } from './keyring.ts';
import type { Milliseconds } from './lifecycle.ts';
import { currentKeys, nextStep, patienceAt, readyAt, revocationNoticedAt, spentAt } from './lifecycle.ts';
import type { KeyPolicy, Seconds } from './policy.ts';
import type { JwksClientsStatus, KeysStatus } from './status.ts';
import { jwksClientStatus, keyStatus, stepStatus } from './status.ts';

export interface KeyOperations {
  status(): Promise<KeysStatus>;
  /** Who was given the newest key, and who was not. */
  jwksClients(): Promise<JwksClientsStatus>;
  /** Forgets who was counted under that name; without one, all that strangers say. Answers how many. */
  forgetJwksClients(name: string | undefined, by: Actor): Promise<{ forgotten: number }>;
  /** @throws {AppError} key_already_prepared */
  prepare(by: Actor): Promise<{ kid: string; state: 'prepared'; signsFrom: Date }>;
  /** @throws {UnsafeStep} @throws {AppError} key_unknown | key_not_prepared */
  activate(kid: string, by: Actor): Promise<{ kid: string; state: 'active' }>;
  /**
   * Hands over to the prepared key. Where none is prepared, prepares one, which may sign later; at once by force, or
   * where nothing signs.
   * @throws {UnsafeStep}
   */
  rotate(by: Actor): Promise<RotatedKey>;
  /** What `rotate` would do now, or would do by force, and who would refuse a good token because of it. */
  planRotation(options?: { force?: boolean }): Promise<RotationPlan>;
  /** @throws {UnsafeStep} @throws {AppError} key_unknown | key_not_active | key_without_successor | master_key_wrong */
  retire(kid: string, by: Actor): Promise<RetiredKey>;
  /** @throws {UnsafeStep} @throws {AppError} key_unknown | key_not_retired */
  destroy(kid: string, by: Actor): Promise<{ kid: string; state: 'destroyed' }>;
  /**
   * The emergency. With `cutSessions`, every session and grant ends as well; otherwise refresh tokens go on, under the
   * key that takes over.
   * @throws {AppError} key_unknown | key_already_gone | reason_missing
   */
  revoke(kid: string, reason: string, by: Actor, options?: { cutSessions?: boolean }): Promise<RevokedKey>;
  rekey(by: Actor): Promise<{ rekeyed: number }>;
}

export type RotatedKey =
  | { kid: string; state: 'active'; previousKid: string | null }
  | { kid: string; state: 'prepared'; signsFrom: Date };

export interface RotationPlan extends Plan {
  /** Regular JWKS clients that were not given the key that would sign; hearsay among them. */
  unseenBy: string[];
}

export interface RetiredKey {
  kid: string;
  state: 'retired';
  /** What signs now. */
  activeKid: string;
  /** The prepared key, where it was revoked since the master key does not open it. */
  alsoRevokedKid: string | null;
}

export interface RevokedKey {
  kid: string;
  state: 'revoked';
  reason: string;
  /** What signs now; null: nothing. */
  activeKid: string | null;
  /** The prepared key, where it was revoked since the master key does not open it. */
  alsoRevokedKid: string | null;
  /** The active key, where the master key does not open it: it does not sign. */
  unopenedKid: string | null;
  sessionsCut: number | null;
  verifiersFollowBy: Date;
  /**
   * When those follow as well that keep a known key for ever and fetch for an unknown one alone: a key signs then that
   * they cannot know. Null: one does already, and they follow at its first token.
   */
  knownKeysDroppedBy: Date | null;
  signedValidUntil: Date;
}

/** Who would refuse good tokens if a step were taken now. */
export interface Breakage {
  /** Until then; afterwards the step is safe. */
  until: Date;
  /** Habits of caching, with what a verifier that has them would refuse. */
  verifiers: VerifierImpact[];
  /** Regular JWKS clients that were not given the key. */
  consumers: string[];
}

/** A step refused because verifiers would refuse good tokens. `force` goes past it. Code: key_step_unsafe. */
export class UnsafeStep extends AppError {
  readonly wouldBreak: Breakage;

  constructor(message: string, wouldBreak: Breakage) {
    const until = wouldBreak.until.toISOString();
    super('key_step_unsafe', 409, `${message}${listed(wouldBreak)}`, {
      hint: `wait until ${until}, or force it and say why`,
    });
    this.wouldBreak = wouldBreak;
  }
}

interface KeyOperationsOptions {
  db: Pick<Database, 'now'>;
  keyring: Keyring;
  jwksClients: Pick<JwksClients, 'list' | 'readiness' | 'forget'>;
  policy: KeyPolicy;
  /** The longest life of an access token. */
  accessTokenLife: Seconds;
  /** Ends every session and grant in the given transaction; answers how many rows went. */
  cutSessions: (tx: Queryable) => Promise<number>;
  /** Default: the database's clock. */
  now?: () => Milliseconds | Promise<Milliseconds>;
}

interface Gathered extends KeyFacts {
  keys: SigningKey[];
}

const longestReason = 500;

export function createKeyOperations(options: KeyOperationsOptions): KeyOperations {
  const { db, keyring, jwksClients, policy, accessTokenLife, cutSessions, now = () => db.now() } = options;

  async function gather(): Promise<Gathered> {
    return { keys: await keyring.list(), now: await now(), policy, accessTokenLife };
  }

  async function unseenBy(key: SigningKey | undefined): Promise<string[]> {
    return key ? (await jwksClients.readiness(key)).unseenBy.map(describeJwksClient) : [];
  }

  /** Takes a step that hands over to `kid`; the refusal says who would break. */
  async function handOver<T>(kid: string | undefined, by: Actor, step: () => Promise<T>): Promise<T> {
    const facts = await gather();
    const key = facts.keys.find((candidate) => candidate.kid === kid && candidate.state === 'prepared');
    if (key && by.force === undefined) await waitForJwksClients(key, facts);
    return step().catch(async (error: unknown) => {
      if (!key || !isAppError(error, 'key_step_unsafe')) throw error;
      throw new UnsafeStep(error.message, {
        until: new Date(readyAt(key, policy)),
        verifiers: onlyBecauseOf(planRotation(facts, facts.now).verifiers, planRotation(facts).verifiers),
        consumers: await unseenBy(key),
      });
    });
  }

  // By hand a key may sign before the schedule's turn, but not before those who are waited for have it.
  async function waitForJwksClients(key: SigningKey, { keys, now: at }: Gathered): Promise<void> {
    const { active } = currentKeys(keys);
    if (!active) return;
    const limit = readyAt(key, policy) + patienceAt(active, policy, keys);
    if (at < readyAt(key, policy) || at >= limit) return;
    // Hearsay holds nobody up: the key was published for publishAhead, which is what verifiers are promised.
    const missing = (await jwksClients.readiness(key)).waitedFor.map(describeJwksClient);
    if (missing.length === 0) return;
    throw new UnsafeStep(`key ${key.kid} was not yet fetched by everybody who fetches regularly`, {
      until: new Date(limit),
      verifiers: [],
      consumers: missing,
    });
  }

  return {
    async status() {
      const facts = await gather();
      const newest = newestPublished(facts.keys);
      const readiness = newest && (await jwksClients.readiness(newest));
      const missing = readiness?.unseenBy.map(describeJwksClient) ?? [];
      const waitedFor = readiness?.waitedFor.map(describeJwksClient) ?? [];
      const step = nextStep(facts.keys, facts.now, policy, newest?.state === 'prepared' ? waitedFor : []);
      return {
        keys: facts.keys.map((key) => keyStatus(key, facts, step)),
        next: stepStatus(step, facts.now),
        propagation:
          newest && readiness
            ? { kid: newest.kid, seenBy: readiness.seenBy.map(describeJwksClient), unseenBy: missing }
            : null,
      };
    },

    async jwksClients() {
      const newest = newestPublished(await keyring.list());
      const readiness = newest
        ? await jwksClients.readiness(newest)
        : { seenBy: [], unseenBy: [], silent: await jwksClients.list() };
      return {
        key: newest ? { kid: newest.kid, state: newest.state, publishedAt: new Date(newest.preparedAt) } : null,
        seenBy: readiness.seenBy.map(jwksClientStatus),
        unseenBy: readiness.unseenBy.map(jwksClientStatus),
        silent: readiness.silent.map(jwksClientStatus),
      };
    },

    forgetJwksClients: async (name, by) => ({ forgotten: await jwksClients.forget(name, by) }),

    async prepare(by) {
      const kid = await keyring.prepare(by);
      return { kid, state: 'prepared', signsFrom: await signsFrom(kid) };
    },

    async activate(kid, by) {
      await handOver(kid, by, () => keyring.activate(kid, by));
      return { kid, state: 'active' };
    },

    async rotate(by) {
      const all = await keyring.list();
      const prepared = all.find(({ state }) => state === 'prepared')?.kid;
      const previous = all.find(({ state }) => state === 'active')?.kid;
      const kid = prepared ?? (await keyring.prepare(by));
      if (previous !== undefined && prepared === undefined && by.force === undefined) {
        return { kid, state: 'prepared', signsFrom: await signsFrom(kid) };
      }
      await handOver(kid, by, () => keyring.activate(kid, by));
      return { kid, state: 'active', previousKid: previous ?? null };
    },

    async planRotation({ force = false } = {}) {
      const facts = await gather();
      const plan = planRotation(facts, force ? facts.now : undefined);
      return { ...plan, unseenBy: await unseenBy(facts.keys.find(({ state }) => state === 'prepared')) };
    },

    async retire(kid, by) {
      const successor = (await keyring.list()).find(({ state }) => state === 'prepared')?.kid;
      const succession = await handOver(successor, by, () => keyring.retire(kid, by));
      return {
        kid,
        state: 'retired',
        activeKid: succession.successor,
        alsoRevokedKid: succession.alsoRevoked ?? null,
      };
    },

    async destroy(kid, by) {
      const facts = await gather();
      await keyring.destroy(kid, by).catch((error: unknown) => {
        const key = facts.keys.find((candidate) => candidate.kid === kid);
        if (!key || key.retiredAt === null || !isAppError(error, 'key_step_unsafe')) throw error;
        throw new UnsafeStep(error.message, {
          until: new Date(spentAt({ ...key, retiredAt: key.retiredAt }, policy)),
          verifiers: planWithdrawal(facts, kid).filter(({ refuses }) => refuses.length > 0),
          consumers: [],
        });
      });
      return { kid, state: 'destroyed' };
    },

    async revoke(kid, reason, by, { cutSessions: cut = false } = {}) {
      const why = checkedReason(reason);
      const revocation = await keyring.revoke(kid, why, { ...by, cutSessions: cut ? cutSessions : undefined });
      const { alsoRevoked = null, unopened = [] } = revocation;
      const facts = await gather();
      const active = facts.keys.find(({ state }) => state === 'active')?.kid ?? null;
      const noticedAt = revocationNoticedAt(facts.keys, facts.now, policy);
      const signs = active !== null && !unopened.includes(active);
      return {
        kid,
        state: 'revoked',
        reason: why,
        activeKid: signs ? active : null,
        alsoRevokedKid: alsoRevoked,
        unopenedKid: signs ? null : active,
        sessionsCut: revocation.sessionsCut ?? null,
        verifiersFollowBy: new Date(revocation.verifiersFollowBy),
        knownKeysDroppedBy: noticedAt === null ? null : new Date(noticedAt),
        signedValidUntil: new Date(revocation.signedValidUntil),
      };
    },

    rekey: async (by) => ({ rekeyed: await keyring.rekey(by) }),
  };

  /** From when a prepared key may sign; where nothing signs, there is nothing to wait for. */
  async function signsFrom(kid: string): Promise<Date> {
    const all = await keyring.list();
    const key = all.find((candidate) => candidate.kid === kid)!;
    return new Date(all.some(({ state }) => state === 'active') ? readyAt(key, policy) : key.preparedAt);
  }
}

export interface Forced {
  force?: boolean | undefined;
  reason?: string | undefined;
}

/** `force` with a reason, or neither: for whoever turns words into a Actor. @throws {AppError} reason_missing */
export function forceOf({ force, reason }: Forced): string | undefined {
  if (!force && reason === undefined) return undefined;
  if (force && reason !== undefined) return checkedReason(reason);
  throw new AppError('reason_missing', 400, 'force and reason go together', {
    hint: 'say why it is forced; the reason is kept in the audit trail',
  });
}

function checkedReason(reason: string): string {
  const trimmed = reason.trim();
  if (trimmed !== '' && trimmed.length <= longestReason) return trimmed;
  throw new AppError('reason_missing', 400, `a reason has 1 to ${longestReason} characters`, {
    hint: 'say why; the reason is kept in the audit trail',
  });
}

/** The key whose spreading matters: the prepared one, or the active one where none is prepared. */
function newestPublished(keys: readonly SigningKey[]): SigningKey | undefined {
  return keys.find(({ state }) => state === 'prepared') ?? keys.find(({ state }) => state === 'active');
}

function listed({ verifiers, consumers }: Breakage): string {
  const refusing = verifiers.map(({ verifier, refuses }) => {
    const until = refuses.at(-1)?.until;
    return `${verifier} ${until ? `until ${until.toISOString()}` : 'until it is restarted'}`;
  });
  return (
    (refusing.length > 0 ? `; would refuse good tokens: ${refusing.join(', ')}` : '') +
    (consumers.length > 0 ? `; not seen to fetch the key: ${consumers.join(', ')}` : '')
  );
}
