// `npm run test:unit`: the test files that need nothing but Node, without the checks. Which these are, their imports say:
// none leads, over however many files, to what starts another process (PostgreSQL, Redis and nginx are), a browser or
// the whole server. Arguments go on to vitest.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const startsSomething = ['node:child_process', 'playwright-core', 'src/server.ts'];

if (import.meta.main) {
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2), ...unitTests()];
  process.exit(spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1);
}

/** Paths from the root. */
export function unitTests(): string[] {
  const importsOf = importsByFile();
  return readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => `test/${path}`)
    .filter((path) => {
      const reached = new Set([path]);
      for (const file of reached) for (const used of importsOf(file)) reached.add(used);
      return !startsSomething.some((module) => reached.has(module));
    })
    .sort();
}

function importsByFile(): (path: string) => readonly string[] {
  const known = new Map<string, string[]>();
  return (path) => {
    const found = known.get(path) ?? readImports(path);
    known.set(path, found);
    return found;
  };
}

function readImports(path: string): string[] {
  if (!path.endsWith('.ts') || !existsSync(join(root, path))) return [];
  const code = readFileSync(join(root, path), 'utf8');
  return [...code.matchAll(/^(?:import|export)\s+(?!type\s)(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm)]
    .map(([, statement, call]) => (statement ?? call)!)
    .map((name) => (name.startsWith('.') ? relative(root, join(root, dirname(path), name)) : name));
}
