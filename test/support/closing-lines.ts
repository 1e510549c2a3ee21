// The last lines of a run, for people and for scripts alike: what needed a second try, what was skipped and why, and the
// counts. A file that does not load counts as one failure.
//
// A second try forgives one accident in a file, and names it. Two tests of one file that both needed it are no accident:
// then the file counts as one failure, and so does the run.

import type { Reporter, TestModule } from 'vitest/node';

export const closingLines: Reporter = {
  onTestRunEnd(modules, unhandledErrors) {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    for (const test of modules.flatMap(flakyTests)) {
      console.log(`at the second try only: ${test.module.relativeModuleId} > ${test.fullName}`);
    }
    const unreliable = modules.filter((module) => flakyTests(module).length > 1);
    for (const module of unreliable) {
      console.log(`failed: ${module.relativeModuleId} needed ${flakyTests(module).length} second tries`);
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
    const failed = count('failed') + unloaded + unreliable.length + unhandledErrors.length;
    const skipped = count('skipped') > 0 ? `, ${count('skipped')} skipped` : '';
    console.log(`tests: ${count('passed')} passed, ${failed} failed${skipped}`);
    if (failed > 0) process.exitCode = 1;
  },
};

const flakyTests = (module: TestModule) => [...module.children.allTests()].filter((test) => test.diagnostic()?.flaky);
