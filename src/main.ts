#!/usr/bin/env node
// argv → one command. The only file that knows the process: its words, streams, signals and exit code. In a checkout,
// signet.js stands before it.

import { enableCompileCache } from 'node:module';
import { userInfo } from 'node:os';
import { fileURLToPath } from 'node:url';
import { threadPoolSize } from './cli/thread-pool.ts';
import { traceToSources } from './stack-traces.ts';

// Halves a warm start. Beside the packages, where only whoever installed them may write: in a directory that everybody
// shares, others could leave code for us. Where it cannot be written, the start is merely slower.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/signet', import.meta.url)));
// Built, it runs from few files, whose lines nobody knows. In a checkout the lines are those that were written.
if (import.meta.url.endsWith('.js')) traceToSources();
// Before anything uses the pool. Workers have it from here as well.
process.env['UV_THREADPOOL_SIZE'] ??= threadPoolSize();
const { run } = await import('./cli/run.ts');
const { readInput } = await import('./cli/input.ts');

// Whoever reads us may stop reading (signet audit list | head): nothing is wrong then, and there is nobody to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await run(process.argv.slice(2), {
  out: (words) => void process.stdout.write(words),
  err: (words) => void process.stderr.write(words),
  readInput: () => readInput(process.stdin),
  userName: userName(),
  untilStopped,
  columns: process.stdout.columns,
});

/** Resolves at the first SIGINT or SIGTERM; a second one does not wait for what is under way. */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const stop = (_signal: NodeJS.Signals, number: number) => {
      if (asked) process.exit(128 + number);
      asked = true;
      resolve();
    };
    process.on('SIGINT', stop).on('SIGTERM', stop);
  });
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that no name belongs to.
    return `uid ${process.getuid?.()}`;
  }
}
