// The shared clock: what one replica writes and another compares (when a code ends, whether a refresh is repeated within
// its grace, what has expired) goes by the database's clock, and not by that of either machine. How far ours is off is
// measured every few seconds, so that asking for the time costs nothing. On SQLite both are the same clock.

import type { Log } from '../log.ts';
import type { Database } from './database.ts';

interface ClockHealth {
  /** Our clock minus the database's, milliseconds. */
  offset: number;
  /** Half of what the measurement took: the offset is true within this. */
  uncertainty: number;
  /** Whether the two agree so well, and have for so long, that rows may be deleted by what they say. */
  isSteady: boolean;
}

export interface SharedClock {
  /** The database's time, epoch milliseconds, as far as this process knows. */
  now(): number;
  /** The same, asked of the database: for the rare decision that a stale offset must not make. */
  exact(): Promise<number>;
  health(): ClockHealth;
  /** Measures now; never rejects: while the database is away, the last offset holds. */
  measure(): Promise<void>;
  stop(): void;
}

interface ClockOptions {
  log: Log;
  /** Milliseconds that our clock may be off before nothing is deleted any more. */
  allowedMs: number;
  everyMs?: number;
}

const measureEveryMs = 10_000;
// A slow answer says little of when it was true: a few are asked for, and the quickest is believed.
const quickEnoughMs = 50;
const samplesAtMost = 3;
const tooSlowMs = 4_000;
/** Two measurements that differ by more than this, and what they cannot know: one of the clocks was set. */
const jumpMs = 2_000;
/** How long after one of the clocks was set nothing is deleted. */
const settleMs = 60_000;

/** Resolves once the clocks were compared. @throws {AppError} `database_unavailable` */
export async function startSharedClock(db: Database, options: ClockOptions): Promise<SharedClock> {
  const { log, allowedMs, everyMs = measureEveryMs } = options;
  let offset = 0;
  let uncertainty = 0;
  let isOff = false;
  /** On the clock that nobody sets. */
  let jumpedAt = -Infinity;

  async function compare(): Promise<void> {
    const before = { offset, uncertainty };
    const sample = await quickestSample(db);
    if (!sample) return;
    ({ offset, uncertainty } = sample);
    return note(before);
  }

  function note(before: { offset: number; uncertainty: number }): void {
    const wasOff = isOff;
    isOff = Math.abs(offset) > allowedMs;
    if (isOff !== wasOff) {
      log[isOff ? 'warn' : 'info'](isOff ? 'clock.off' : 'clock.right', { offsetMs: Math.round(offset), allowedMs });
    }
    const change = offset - before.offset;
    if (!isMeasured || Math.abs(change) <= jumpMs + uncertainty + before.uncertainty) return;
    jumpedAt = performance.now();
    log.warn('clock.jumped', { byMs: Math.round(change) });
  }

  let isMeasured = false;
  let timer: NodeJS.Timeout | undefined;
  if (db.engine !== 'sqlite') {
    await compare();
    isMeasured = true;
    timer = setInterval(() => void measure(), everyMs).unref();
  }

  async function measure(): Promise<void> {
    if (db.engine === 'sqlite') return;
    await compare().catch(() => undefined); // away: whoever needs it says so
  }

  return {
    now: () => Date.now() - Math.round(offset),
    exact: () => db.now(),
    health: () => ({
      offset: Math.round(offset),
      uncertainty: Math.ceil(uncertainty),
      isSteady: !isOff && performance.now() - jumpedAt >= settleMs,
    }),
    measure,
    stop: () => clearInterval(timer),
  };
}

async function quickestSample(db: Database): Promise<{ offset: number; uncertainty: number } | undefined> {
  let best: { offset: number; uncertainty: number } | undefined;
  for (let taken = 0; taken < samplesAtMost && !(best && best.uncertainty * 2 <= quickEnoughMs); taken += 1) {
    const asked = performance.now();
    const theirs = await db.now();
    const uncertainty = (performance.now() - asked) / 2;
    // The answer was true somewhere between asking and hearing: in the middle, give or take half.
    const offset = Date.now() - uncertainty - theirs;
    if (uncertainty * 2 <= tooSlowMs && !(best && best.uncertainty <= uncertainty)) best = { offset, uncertainty };
  }
  return best;
}
