// One mark file for several processes, as the workers of a server have it. What an older copy leads to: faults/older-copy.

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startContinuity } from '../../src/database/continuity.ts';
import { createLog } from '../../src/log.ts';
import { sqlite } from '../support/engines.ts';

async function place() {
  const directory = await mkdtemp(join(tmpdir(), 'signet-mark-'));
  const db = await sqlite.freshDatabase();
  onTestFinished(async () => {
    await db.close();
    await rm(directory, { recursive: true });
  });
  const file = join(directory, 'database.mark');
  const lines: string[] = [];
  const log = createLog('debug', (line) => lines.push(line));
  const none = async () => undefined;
  const start = () => startContinuity({ db, log, file, setBack: none, invalidate: none, everyMs: 1 });
  const mark = async () => JSON.parse(await readFile(file, 'utf8')) as { counter: number };
  return { directory, file, lines, start, mark };
}

test('processes that write one mark at the same moment leave it whole, with no drafts beside it', async () => {
  const { directory, lines, start, mark } = await place();
  for (let round = 0; round < 10; round += 1) {
    const all = await Promise.all(Array.from({ length: 4 }, start));
    await Promise.all(all.map((one) => one.stop()));
  }
  expect((await mark()).counter).toBeGreaterThan(40);
  expect(await readdir(directory)).toEqual(['database.mark']);
  expect(lines).toEqual([]);
});

test('a process that is behind another one does not take the mark back', async () => {
  const { file, start, mark } = await place();
  const one = await start();
  const ahead = { ...(await mark()), counter: 1_000 };
  await writeFile(file, JSON.stringify(ahead));
  await one.stop();
  expect(await mark()).toEqual(ahead);
});
