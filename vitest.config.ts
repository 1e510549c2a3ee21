import { defineConfig } from 'vitest/config';
import type { Reporter } from 'vitest/node';

// The last line of a run, for people and for scripts alike. A file that does not load counts as one failure.
const closingLine: Reporter = {
  onTestRunEnd(modules, unhandledErrors) {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    for (const test of tests) {
      if (!test.diagnostic()?.flaky) continue;
      console.log(`at the second try only: ${test.module.relativeModuleId} > ${test.fullName}`);
    }
    const notes = tests
      .map((test) => test.result())
      .map((result) => (result.state === 'skipped' ? result.note : undefined));
    for (const note of new Set(notes)) {
      if (note) console.log(`skipped ${notes.filter((each) => each === note).length}: ${note}`);
    }
    const states = tests.map((test) => test.result().state);
    const count = (state: string) => states.filter((each) => each === state).length;
    const unloaded = modules.filter((module) => module.errors().length > 0).length;
    const failed = count('failed') + unloaded + unhandledErrors.length;
    const skipped = count('skipped') > 0 ? `, ${count('skipped')} skipped` : '';
    console.log(`tests: ${count('passed')} passed, ${failed} failed${skipped}`);
  },
};

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/global-setup.ts',
    setupFiles: ['test/support/each-file.ts'],
    // A worker goes on from file to file, with the modules that it has: nothing of ours keeps anything in them.
    isolate: false,
    // For what hangs, not for what is slow: a machine may be busy with other things.
    testTimeout: 120_000,
    hookTimeout: 240_000,
    // On two cores: tests wait for servers and databases about half of their time.
    maxWorkers: 3,
    // Servers, databases and browsers share a machine with whatever else runs there. What needed its second try is
    // named at the end of the run, to be looked into; locally, nothing gets one.
    retry: process.env.CI ? 1 : 0,
    reporters: ['default', closingLine],
  },
});
