import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { unitTests } from '../../scripts/unit-tests.ts';
import { longest } from '../support/longest-first.ts';

test('the unit tests are those whose imports lead to no other process, no browser and no whole server', () => {
  const chosen = unitTests();
  expect(chosen.length).toBeGreaterThan(40);
  expect(chosen).toEqual(expect.arrayContaining(['test/verifier/bearer.test.ts', 'test/keys/lifecycle.test.ts']));
  const others = ['database/postgres', 'status-list/redis-denylist', 'browser/bff', 'flows/sign-in', 'image/image'];
  for (const name of others) expect(chosen).not.toContain(`test/${name}.test.ts`);
});

test('the files that come first because they take longest are there', () => {
  const tests = new URL('../', import.meta.url);
  expect(longest.filter((name) => !existsSync(new URL(`${name}.test.ts`, tests)))).toEqual([]);
});
