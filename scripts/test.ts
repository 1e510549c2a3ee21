// `npm test`: the services, the checks, the tests. Arguments go on to vitest: npm test -- test/database

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { ensureServices } from './services.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

const missing = ensureServices((line) => console.log(line));
for (const { name, reason } of missing) console.log(`skipping the tests that need ${name}: ${reason}`);
if (missing.length > 0 && process.env.CI) {
  console.error('error: on CI nothing is skipped');
  process.exit(1);
}
for (const { name } of missing) process.env[`SIGNET_TEST_NO_${name.toUpperCase()}`] = '1';

run('scripts/check.ts', []);
run('node_modules/vitest/vitest.mjs', ['run', ...process.argv.slice(2)]);

function run(program: string, args: string[]): void {
  const { status } = spawnSync(process.execPath, [program, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
