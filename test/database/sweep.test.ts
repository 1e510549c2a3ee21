import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { startSweeper } from '../../src/database/sweep.ts';
import { createLog, silentLog } from '../../src/log.ts';

describe('the sweeper', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** Rows that expired before `now`, deleted as an owner module would. */
  function expiredRows(count: number) {
    const batches: number[] = [];
    return {
      batches,
      async sweep(_now: number, limit: number) {
        const deleted = Math.min(count, limit);
        count -= deleted;
        batches.push(deleted);
        return deleted;
      },
    };
  }

  test('deletes in batches until nothing expired is left, again and again', async () => {
    const rows = expiredRows(1_200);
    const sweeper = startSweeper({ sweeps: [rows.sweep], everyMs: 1_000, log: silentLog });
    expect(rows.batches).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(rows.batches).toEqual([500, 500, 200]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(rows.batches).toEqual([500, 500, 200, 0]);
    await sweeper.stop();
  });

  test('goes on with the other tables, and comes back, when one fails', async () => {
    const lines: string[] = [];
    const rows = expiredRows(1);
    const failing = () => Promise.reject(new Error('no connection'));
    const log = createLog('warn', (line) => lines.push(line));
    const sweeper = startSweeper({ sweeps: [failing, rows.sweep], everyMs: 1_000, log });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(rows.batches).toEqual([1, 0]);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain('no connection');
    await sweeper.stop();
  });

  test('is handed the time, and sweeps no more once stopped', async () => {
    const times: number[] = [];
    const sweep = async (now: number) => times.push(now) && 0;
    const sweeper = startSweeper({ sweeps: [sweep], everyMs: 1_000, log: silentLog, now: () => 42 });
    await vi.advanceTimersByTimeAsync(1_000);
    await sweeper.stop();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(times).toEqual([42]);
  });
});
