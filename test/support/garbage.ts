// What outlives the scavenges of V8: it stays until a mark-compact, however short its use was.

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options: { type: 'minor' }) => void;

/** How many bytes each of `count` runs left in the old generation. */
export async function survivingBytes(count: number, run: () => Promise<unknown>): Promise<number> {
  const before = await oldBytes();
  for (let done = 0; done < count; done += 1) await run();
  return ((await oldBytes()) - before) / count;
}

/**
 * What the old generation of this process holds, after two scavenges: what is alive in both is old. They come in turns of
 * their own, where nothing waits that is in use yet.
 */
export async function oldBytes(): Promise<number> {
  for (const _ of [1, 2]) {
    await new Promise((resolve) => setImmediate(resolve));
    gc({ type: 'minor' });
  }
  const old = getHeapSpaceStatistics().filter(({ space_name: name }) => /^(old|large_object)_space$/.test(name));
  return old.reduce((sum, { space_used_size: used }) => sum + used, 0);
}
