// The clock of key rotation: at each tick it takes the steps that are due, and hands the keys on when they changed,
// whoever changed them: this process, another replica, or the command line. What is due is lifecycle.ts; doing it is
// keyring.ts. A tick that fails leaves the server signing with the keys it has.

import type { Database } from '../database/database.ts';
import { type Subscription, subscribe } from '../database/subscribe.ts';
import { AppError, isAppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Keyring, SigningKeys } from './keyring.ts';
import { keysChannel } from './keyring.ts';
import type { KeyTimes, Milliseconds, Step, Wait } from './lifecycle.ts';
import { nextStep, stateOf } from './lifecycle.ts';
import type { KeyPolicy } from './policy.ts';
import { checkPolicy } from './policy.ts';

interface Rotation {
  /** What this process signs with from its start on. */
  firstKeys: SigningKeys;
  /** Looks at once, regularly and when told of a change; hands keys to `apply` whenever they changed. To be called once. */
  run(apply: (keys: SigningKeys) => void | Promise<void>): Promise<void>;
  /** Looks now; resolves when it has, and never rejects: see `health`. Asked for during a tick, another one follows. */
  tick(): Promise<void>;
  health(): RotationHealth;
  /** Resolves when the tick under way has ended. */
  stop(): Promise<void>;
}

export interface RotationHealth {
  ok: boolean;
  /** When a tick last succeeded. */
  lastTickAt: Milliseconds;
  failingSince: Milliseconds | null;
  /** Code of the last failure; the message is in the log. */
  failure: string | null;
  /** Our clock minus the database's; more than `clockSkew` either way is not ok. */
  clockOffset: Milliseconds;
  /** What this process signs with. */
  activeKid: string;
  /** What is due next, and when; null where it is due now. */
  next: { step: Wait['next']; at: Milliseconds; waitingFor?: readonly string[] | undefined } | null;
}

export interface RotationOptions {
  keyring: Keyring;
  db: Database;
  policy: KeyPolicy;
  log: Log;
  /** The time that decides what is due. Default: the database's clock. */
  now?: () => Milliseconds | Promise<Milliseconds>;
  /** Default: the policy's pollEvery. */
  everyMs?: number;
  /**
   * Names those who still need a key and were not given it. Asked only when the key is otherwise ready, and only where
   * the policy has patience. Default: nobody.
   */
  unseenBy?: (key: KeyTimes) => Promise<readonly string[]>;
}

// A tick takes one step after the other, and no run of the life cycle has more than these in a row.
const stepsAtMost = 20;

/**
 * Brings the keys up to date; `run` keeps them so. What is wrong (a policy that would break verifiers, a master key that
 * does not open the keys, no database) is thrown, and nothing has been touched. Making the key that is next is no part
 * of the start: the first tick, under way when `run` resolves, does it.
 */
export async function startRotation(options: RotationOptions): Promise<Rotation> {
  const { keyring, db, policy, log, now = () => db.now(), everyMs = policy.pollEvery * 1000 } = options;
  const { unseenBy = async () => [] } = options;
  let applied = '';
  let activeKid = '';
  let next: RotationHealth['next'] = null;
  let lastTickAt = 0;
  let failing: { since: Milliseconds; code: string } | undefined;
  let clockOffset = 0;
  let apply: (keys: SigningKeys) => void | Promise<void> = () => {};
  let subscription: Subscription | undefined;

  async function poll(): Promise<void> {
    if ((await followKeys()).step === 'prepare') {
      await take({ do: 'prepare' });
      await followKeys();
    }
    await compareClocks();
  }

  /**
   * Takes the steps that are due and hands on what changed. Answers where it stopped: before preparing a key, since
   * making one may take seconds, for which a revoked key must not stay in the JWKS and a start must not wait.
   */
  async function followKeys(): Promise<{ keys: SigningKeys; step: 'prepare' | 'wait' }> {
    // A step that cannot be taken must not hide what others changed, a revocation say: it fails the tick at its end.
    const [steps] = await Promise.allSettled([takeDueSteps()]);
    const keys = await keyring.signingKeys();
    if (keys.version !== applied) {
      await apply(keys);
      applied = keys.version;
      activeKid = keys.active.kid;
      log.info('keys.applied', { active: activeKid, published: keys.published.map(({ kid }) => kid) });
    }
    if (steps.status === 'rejected') throw steps.reason;
    return { keys, step: steps.value };
  }

  async function takeDueSteps(): Promise<'prepare' | 'wait'> {
    for (let taken = 0; taken < stepsAtMost; taken += 1) {
      const keys = await keyring.list();
      const step = await decide(keys);
      if (step.do === 'wait' || step.do === 'prepare') {
        next = step.do === 'wait' ? { step: step.next, at: step.until, waitingFor: step.waitingFor } : null;
        // Recorded before this process signs anything that lives so long.
        const active = keys.find((key) => stateOf(key) === 'active');
        if (active && active.longestLife < policy.longestLife) await keyring.recordLife(policy.longestLife);
        return step.do;
      }
      await take(step);
    }
    return 'wait';
  }

  async function decide(keys: readonly KeyTimes[]): Promise<Step> {
    const at = await now();
    const step = nextStep(keys, at, policy);
    if (step.do !== 'activate' || !policy.patience) return step;
    const ready = keys.find(({ kid }) => kid === step.kid)!;
    return nextStep(keys, at, policy, await unseenBy(ready));
  }

  /** A step that another replica took first is done: what it did is in the rows that are read next. */
  async function take(step: Exclude<Step, Wait>): Promise<void> {
    await carryOut(step).catch((error: unknown) => {
      if (!isAppError(error) || error.status !== 409) throw error;
      log.debug('rotation.step_taken_elsewhere', { step: step.do, code: error.code });
    });
  }

  async function carryOut(step: Exclude<Step, Wait>): Promise<void> {
    switch (step.do) {
      case 'bootstrap':
        log.info('key.activated', { kid: await keyring.bootstrap(), by: 'schedule' });
        return;
      case 'prepare':
        log.info('key.prepared', { kid: await keyring.prepare(), by: 'schedule' });
        return;
      case 'activate':
        await keyring.activate(step.kid);
        log.info('key.activated', { kid: step.kid, previous: activeKid, by: 'schedule' });
        return;
      case 'destroy':
        await keyring.destroy(step.kid);
        log.info('key.destroyed', { kid: step.kid, by: 'schedule' });
        return;
    }
  }

  async function compareClocks(): Promise<void> {
    const asked = Date.now();
    const theirs = await db.now();
    // The answer was true somewhere between asking and hearing: the middle is off by half the round trip at most.
    const offset = Math.round((asked + Date.now()) / 2 - theirs);
    const wasOff = isOff(clockOffset);
    clockOffset = offset;
    if (isOff(offset) === wasOff) return;
    if (wasOff) log.info('rotation.clock_right', { offsetMs: offset });
    else log.warn('rotation.clock_off', { offsetMs: offset, allowedMs: policy.clockSkew * 1000 });
  }

  function isOff(offset: Milliseconds): boolean {
    return Math.abs(offset) > policy.clockSkew * 1000;
  }

  async function pollAndRemember(): Promise<void> {
    try {
      await poll();
    } catch (error) {
      if (!failing) log.error('rotation.failed', { error, signingWith: activeKid });
      failing ??= { since: Date.now(), code: codeOf(error) };
      return;
    }
    lastTickAt = Date.now();
    if (!failing) return;
    log.info('rotation.recovered', { failedForMs: lastTickAt - failing.since });
    failing = undefined;
  }

  const [problem] = checkPolicy(policy);
  if (problem !== undefined) throw new AppError('key_policy_unsafe', 500, problem);
  await keyring.checkMasterKey();
  const { keys: firstKeys } = await followKeys();
  await compareClocks();
  lastTickAt = Date.now();

  return {
    firstKeys,

    async run(takeOver) {
      apply = takeOver;
      subscription = await subscribe(db, keysChannel, everyMs, pollAndRemember);
      void subscription.poll();
    },

    tick: async () => subscription?.poll(),

    health: () => ({
      ok: failing === undefined && !isOff(clockOffset),
      lastTickAt,
      failingSince: failing?.since ?? null,
      failure: failing?.code ?? null,
      clockOffset,
      activeKid,
      next,
    }),

    stop: async () => subscription?.stop(),
  };
}

function codeOf(error: unknown): string {
  if (isAppError(error)) return error.code;
  return error instanceof Error ? error.name : 'unknown';
}
