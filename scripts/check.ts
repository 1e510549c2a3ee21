// `npm run check`: what can be said of the code without running it. All checks run at once; each that found something
// prints it, and the last line counts them.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const checks: Record<string, string[]> = {
  'the types': ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'],
  // The samples for browsers have a tsconfig of their own: they are bundled, and know the DOM.
  'the types of vue-spa': ['node_modules/typescript/bin/tsc', '-p', 'examples/vue-spa'],
  'the types of vue-bff': ['node_modules/typescript/bin/tsc', '-p', 'examples/vue-bff'],
  'format and lint': ['node_modules/@biomejs/biome/bin/biome', 'ci', '--diagnostic-level=error', '.'],
  'unused files, exports and dependencies': ['node_modules/knip/bin/knip.js'],
  'the packages': ['scripts/check-packages.ts'],
};

const found = await Promise.all(
  Object.entries(checks).map(async ([name, args]) => {
    const { status, output } = await run(args);
    if (status === 0) return [];
    console.error(`${name}:\n${output}`);
    return [name];
  }),
);
const failed = found.flat();
console.log(`checks: ${Object.keys(checks).length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 ? 0 : 1);

function run(args: string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.once('error', reject).once('close', (status) => resolve({ status, output }));
  });
}
