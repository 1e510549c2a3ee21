// Expired rows are deleted while serving, a batch at a time, so that no request waits behind a long delete. Which rows
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

const batchSize = 500;
const batchesAtMost = 200;

/** Sweeps every `everyMs`, until `stop()`, which waits for a batch that is under way. */
export function startSweeper(options: SweeperOptions): { stop(): Promise<void> } {
  const { sweeps, everyMs, log, now = Date.now, mayDelete = () => true } = options;
  let stopped = false;
  let isHeldBack = false;
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

  async function sweepAll(): Promise<void> {
    for (const sweep of sweeps) {
      try {
        await sweepOne(sweep);
      } catch (error) {
        log.warn('sweep.failed', { error }); // the rows are still there at the next round
      }
    }
  }

  async function sweepOne(sweep: Sweep): Promise<void> {
    for (let batch = 0; batch < batchesAtMost && !stopped && isAllowed(); batch += 1) {
      if ((await sweep(await now(), batchSize)) < batchSize) return;
    }
  }

  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await round;
    },
  };
}
