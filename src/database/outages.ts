// A database that is away fails every request. It is said once, when it begins, and once, when it is over, with how
// long it was and how much it cost; the requests in between have no line of their own.

import type { Log } from '../log.ts';
import type { Database } from './database.ts';
import { databaseFailureIn } from './failures.ts';

const lookEveryMs = 1_000;
/** So long nothing may have failed before it is over: what comes and goes is one outage. */
const calmForMs = 5_000;
const rememberedMs = 1_000;
const answerWithinMs = 3_000;

export interface WatchedDatabase extends Database {
  /** Whether a write works: tried at most once a second, whoever asks and however often. Never rejects. */
  takesWrites(): Promise<boolean>;
}

/** The same database, whose outages are logged. */
export function watchOutages(db: Database, log: Log, now: () => number = Date.now): WatchedDatabase {
  let outage: { since: number; last: number; failures: number } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let tried: { at: number; answer: Promise<boolean> } | undefined;
  let closed = false;

  async function watched<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      note(error);
      throw error;
    }
  }

  function note(error: unknown): void {
    const failure = databaseFailureIn(error);
    if (!failure || closed) return;
    const at = now();
    if (!outage) {
      const { code, message, hint } = failure;
      log.error('database.unavailable', { code, message, hint });
      outage = { since: at, last: at, failures: 0 };
      lookLater();
    }
    outage.failures += 1;
    outage.last = at;
  }

  function lookLater(): void {
    timer = setTimeout(() => void look(), lookEveryMs).unref();
  }

  async function look(): Promise<void> {
    const writes = await takesWrites();
    if (closed || !outage) return;
    if (!writes || now() - outage.last < calmForMs) return lookLater();
    const { since, last, failures } = outage;
    log.info('database.available', { failures, forMs: last - since });
    outage = undefined;
  }

  function takesWrites(): Promise<boolean> {
    const at = now();
    if (!tried || at - tried.at >= rememberedMs) tried = { at, answer: tryToWrite() };
    return tried.answer;
  }

  async function tryToWrite(): Promise<boolean> {
    let late: NodeJS.Timeout | undefined;
    const tooLate = new Promise<false>((resolve) => {
      late = setTimeout(resolve, answerWithinMs, false);
    });
    const works = db.checkWrite().then(
      () => true,
      (error: unknown) => {
        note(error);
        return false;
      },
    );
    return Promise.race([works, tooLate]).finally(() => clearTimeout(late));
  }

  return {
    ...db,
    query: (sql, values) => watched(db.query(sql, values)),
    transaction: (work, options) => watched(db.transaction(work, options)),
    now: () => watched(db.now()),
    takesWrites,
    async close() {
      closed = true;
      clearTimeout(timer);
      await db.close();
    },
  };
}
