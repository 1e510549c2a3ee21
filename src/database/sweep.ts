// Deletes expired rows while serving, a small batch at a time, so that no request waits behind a long delete. Which rows
// are expired is known to the module that owns the table; this is only the clock.

import type { Log } from '../log.ts';

/** Deletes at most `limit` rows that expired before `now` (epoch milliseconds) and says how many there were. */
type Sweep = (now: number, limit: number) => Promise<number>;

interface SweeperOptions {
  sweeps: Sweep[];
  everyMs: number;
  log: Log;
  now?: () => number | Promise<number>;
  /** Whether what `now` says may be believed so far that rows go by it. Asked before each batch. Default: always. */
  mayDelete?: () => boolean;
}

interface Sweeper {
  /** Milliseconds since no expired row was left. It grows while rounds fail, are held back, or do not come to an end. */
  lag(): number;
  stop(): Promise<void>;
}

// node:sqlite is synchronous: while a batch is deleted, nobody is answered. A row with seven indexes takes 0.03 to 0.13 ms,
// so this many take about 5 ms: less than the signatures of one request.
const batchSize = 50;
// After a batch the requests have the server to themselves for this many times as long as it took. The longer a batch
// takes, the busier the disk and the processor are, and the longer we stay away.
const pauseTimes = 4;
// But a backlog has to become less. A busy server refreshes 500 times a second on a core, and each refresh leaves a row of
// the audit trail. A batch of 5 ms and its pause of 20 ms work off 2,000 rows a second. With this bound a batch of 25 ms (a
// slow disk, a full queue) still works off 50 / (0.025 + 0.05) = 667.
const longestPauseMs = 50;

/** Sweeps every `everyMs`, until `stop()`, which waits for a batch that is under way. */
export function startSweeper(options: SweeperOptions): Sweeper {
  const { sweeps, everyMs, log, now = Date.now, mayDelete = () => true } = options;
  let stopped = false;
  let endPause = () => {};
  let isHeldBack = false;
  let caughtUpAt = performance.now();
  let round = Promise.resolve();
  let timer = scheduled();

  function scheduled(): NodeJS.Timeout {
    return setTimeout(() => {
      round = sweepAll().then(() => {
        if (!stopped) timer = scheduled();
      });
    }, everyMs).unref();
  }

  /** Says so once: rows that stay are no harm for a while, and whoever runs the server should know. */
  function isAllowed(): boolean {
    const wasHeldBack = isHeldBack;
    isHeldBack = !mayDelete();
    if (isHeldBack && !wasHeldBack) {
      log.warn('sweep.stopped', { because: 'the clock of this server and that of the database do not agree' });
    }
    if (wasHeldBack && !isHeldBack) log.info('sweep.resumed');
    return !isHeldBack;
  }

  // The tables take turns: a large backlog in one of them does not keep the others waiting.
  async function sweepAll(): Promise<void> {
    let hasFailed = false;
    let behind = sweeps;
    while (behind.length > 0) {
      const stillBehind: Sweep[] = [];
      for (const sweep of behind) {
        if (stopped || !isAllowed()) return;
        const begun = performance.now();
        try {
          if ((await sweep(await now(), batchSize)) < batchSize) continue;
          stillBehind.push(sweep);
        } catch (error) {
          log.warn('sweep.failed', { error }); // the rows are still there at the next round
          hasFailed = true;
          continue;
        }
        await pause(performance.now() - begun);
      }
      behind = stillBehind;
    }
    if (!hasFailed) caughtUpAt = performance.now();
  }

  async function pause(tookMs: number): Promise<void> {
    const ms = Math.min(longestPauseMs, Math.ceil(pauseTimes * tookMs));
    await new Promise<void>((resolve) => {
      endPause = resolve;
      setTimeout(resolve, ms).unref();
    });
  }

  return {
    lag: () => performance.now() - caughtUpAt,
    async stop() {
      stopped = true;
      endPause();
      clearTimeout(timer);
      await round;
    },
  };
}
