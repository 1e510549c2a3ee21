// What a process and all of its descendants use, as Linux counts it: proportional set size and CPU time. Read from
// outside, so that nothing of it is in what is measured.

import { readdirSync, readFileSync } from 'node:fs';

export interface TreeMemory {
  /** Proportional set size, MiB: a page that several processes share counts in each by its part. */
  pss: number;
  /** What of it belongs to no file: heaps, stacks, what libraries allocate. MiB. */
  anonymous: number;
}

export function memoryOf(pid: number): TreeMemory {
  const sum = { pss: 0, anonymous: 0 };
  for (const member of treeOf(pid)) {
    const rollup = readOr(`/proc/${member}/smaps_rollup`);
    const kiB = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);
    sum.pss += kiB('Pss') / 1024;
    sum.anonymous += kiB('Pss_Anon') / 1024;
  }
  return sum;
}

/** CPU time so far of every thread that still runs, milliseconds, to the nanosecond where the kernel counts so. */
export function cpuOf(pid: number): number {
  let nanoseconds = 0;
  for (const member of treeOf(pid)) {
    for (const thread of listOr(`/proc/${member}/task`)) {
      nanoseconds += Number(readOr(`/proc/${member}/task/${thread}/schedstat`).split(' ')[0]);
    }
  }
  return nanoseconds / 1e6;
}

function treeOf(pid: number): number[] {
  const children = listOr(`/proc/${pid}/task`).flatMap((thread) =>
    readOr(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(treeOf)];
}

// A process or thread may end between being listed and being read.
function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function listOr(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
