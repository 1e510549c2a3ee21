import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { deleteOldest } from '../../src/database/rows.ts';
import { startSweeper } from '../../src/database/sweep.ts';
import { createLog, silentLog } from '../../src/log.ts';

const migrations = join(import.meta.dirname, '../../src/database/migrations');

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

  test('deletes in small batches until nothing expired is left, again and again', async () => {
    const rows = expiredRows(120);
    const sweeper = startSweeper({ sweeps: [rows.sweep], everyMs: 1_000, log: silentLog });
    expect(rows.batches).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(rows.batches).toEqual([50, 50, 20]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(rows.batches).toEqual([50, 50, 20, 0]);
    await sweeper.stop();
  });

  /** When each batch began, where each takes `ms`; in milliseconds since the first. */
  async function beginnings(ms: number, count: number): Promise<number[]> {
    const begun: number[] = [];
    const sweep = async (_now: number, limit: number) => {
      begun.push(performance.now());
      await new Promise((resolve) => setTimeout(resolve, ms));
      return begun.length < count ? limit : 0;
    };
    const sweeper = startSweeper({ sweeps: [sweep], everyMs: 1_000, log: silentLog });
    await vi.advanceTimersByTimeAsync(10_000);
    await sweeper.stop();
    return begun.slice(0, count).map((at) => Math.round(at - (begun[0] ?? 0)));
  }

  test('leaves the server to the requests for four times as long as a batch took', async () => {
    expect(await beginnings(3, 4)).toEqual([0, 15, 30, 45]);
    expect(await beginnings(10, 4)).toEqual([0, 50, 100, 150]);
  });

  test('works off a backlog faster than a busy server makes rows, also where a batch takes 25 ms', async () => {
    const begun = await beginnings(25, 101);
    expect((100 * 50) / ((begun.at(-1) ?? 0) / 1000)).toBeGreaterThan(600);
  });

  test('a backlog in one table does not keep the others waiting', async () => {
    const order: string[] = [];
    const table = (name: string, count: number) => {
      const rows = expiredRows(count);
      return (now: number, limit: number) => {
        order.push(name);
        return rows.sweep(now, limit);
      };
    };
    const sweeps = [table('tokens', 149), table('audit', 60), table('attempts', 1)];
    const sweeper = startSweeper({ sweeps, everyMs: 1_000, log: silentLog });
    await vi.advanceTimersByTimeAsync(1_500);
    expect(order.join(' ')).toBe('tokens audit attempts tokens audit tokens');
    await sweeper.stop();
  });

  test('a stop ends the pause, and no batch follows', async () => {
    const rows = expiredRows(10_000);
    const sweep = async (now: number, limit: number) => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      return rows.sweep(now, limit);
    };
    const sweeper = startSweeper({ sweeps: [sweep], everyMs: 1_000, log: silentLog });
    await vi.advanceTimersByTimeAsync(1_020);
    await sweeper.stop(); // and not only once the clock is moved on
    await vi.advanceTimersByTimeAsync(5_000);
    expect(rows.batches).toEqual([50]);
  });

  test('says for how long expired rows have been left', async () => {
    const rows = expiredRows(50 * 60); // more than one round's worth of time: each batch and its pause take 50 ms
    let fails = false;
    const sweep = async (now: number, limit: number) => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      if (fails) throw new Error('no connection');
      return rows.sweep(now, limit);
    };
    const sweeper = startSweeper({ sweeps: [sweep], everyMs: 1_000, log: silentLog });
    await vi.advanceTimersByTimeAsync(3_900);
    expect(sweeper.lag()).toBeCloseTo(3_900, -1); // still at it
    await vi.advanceTimersByTimeAsync(200);
    expect(sweeper.lag()).toBeLessThan(200);
    fails = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(sweeper.lag()).toBeGreaterThan(5_000);
    await sweeper.stop();
  });

  test('a batch costs what the batch is, however large the backlog: found by index, deleted by key', async () => {
    const statements: string[] = [];
    const db = {
      query: async <Row>(sql: string) => {
        statements.push(sql);
        return { rows: [] as Row[], rowCount: 0 };
      },
    };
    await deleteOldest(db, { from: 'oidc_models', key: 'model, id' }, [1], 50);
    await deleteOldest(db, { from: 'upstream_sessions', key: 'id' }, [1], 50);
    const file = new DatabaseSync(':memory:');
    for (const name of readdirSync(migrations).sort()) file.exec(readFileSync(join(migrations, name), 'utf8'));
    for (const sql of statements) {
      const steps = file.prepare(`explain query plan ${sql.replace(/\$/g, '?')}`).all() as Array<{ detail: string }>;
      expect(steps.map(({ detail }) => detail).join('\n')).not.toMatch(/scan|temp b-tree/i);
    }
    file.close();
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
