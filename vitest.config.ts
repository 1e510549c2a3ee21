// The tests: one list of files in two projects, which differ only in whether a test gets a second try on CI.

import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { closingLines } from './test/support/closing-lines.ts';
import { LongestFirst } from './test/support/longest-first.ts';

// A browser, servers against one another's clocks, a database that is taken away: they share a machine with whatever
// else runs there. Only these get a second try, and only on CI; closing-lines.ts says what it is worth.
const severalPrograms = [
  'test/browser/**/*.test.ts',
  'test/faults/**/*.test.ts',
  'test/rotation/**/*.test.ts',
  'test/database/{network,outages,pgbouncer,ready,switchover}.test.ts',
  'test/flows/{jwks-faults,strangers-floods,two-*}.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: 'test/support/global-setup.ts',
    setupFiles: ['test/support/each-file.ts'],
    // A worker goes on from file to file, with the modules that it has: nothing of ours keeps anything in them.
    isolate: false,
    // For what hangs, not for what is slow: a machine may be busy with other things.
    testTimeout: 120_000,
    hookTimeout: 240_000,
    // Tests wait for servers, databases and clocks about half of their time.
    maxWorkers: Math.min(8, 2 * availableParallelism()),
    sequence: { sequencer: LongestFirst },
    reporters: ['default', closingLines],
    projects: [
      {
        extends: true,
        test: { name: 'several programs', include: severalPrograms, retry: process.env.CI ? 1 : 0 },
      },
      {
        extends: true,
        test: { name: 'one program', include: ['test/**/*.test.ts'], exclude: severalPrograms, retry: 0 },
      },
    ],
  },
});
