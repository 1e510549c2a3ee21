// Every import of src/, read from its text: types, `import()`, `export … from` and all.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../src', import.meta.url));

export interface Import {
  from: string;
  /** A path under src/, or the name of a package. */
  to: string;
  typeOnly: boolean;
  /** Loaded when it comes to that, and not with the file. */
  isLate: boolean;
}

/** The code of each file of src/ without its comments, by its path there. */
export const sources = new Map(
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path, withoutComments(readFileSync(join(root, path), 'utf8'))]),
);

export const imports = [...sources].flatMap(([from, code]) => importsOf(from, code));

export function importsOf(from: string, code: string): Import[] {
  const statements = [...code.matchAll(/^(?:import|export)\s+([^'"`;]*?\sfrom\s+)?'([^']+)'/gm)].map(
    ([, names = '', specifier]) => ({
      specifier: specifier!,
      typeOnly: names.startsWith('type ') || /^\{\s*(type [^,}]+,?\s*)+\}\s+from/.test(names),
      isLate: false,
    }),
  );
  const calls = [...code.matchAll(/\b(?:import|require)\(\s*'([^']+)'/g)].map(([, specifier]) => ({
    specifier: specifier!,
    typeOnly: false,
    isLate: true,
  }));
  return [...statements, ...calls].map(({ specifier, typeOnly, isLate }) => ({
    from,
    typeOnly,
    isLate,
    to: pathOf(specifier, from),
  }));
}

// Our packages name one another as in an installation: `@signet-idp/verifier/koa` is verifier/koa.ts.
function pathOf(specifier: string, from: string): string {
  const [, name, entry = 'index'] = /^@signet-idp\/(\w+)(?:\/(\w+))?$/.exec(specifier) ?? [];
  if (name !== undefined) return `${name}/${entry}.ts`;
  return specifier.startsWith('.') ? relative(root, join(root, dirname(from), specifier)) : specifier;
}

function withoutComments(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}

/** Which files import one another in a circle: each circle with all of its files. */
export function circles(among: readonly Import[]): string[][] {
  const next = new Map<string, Set<string>>();
  for (const { from, to } of among) {
    if (to.endsWith('.ts')) (next.get(from) ?? next.set(from, new Set()).get(from)!).add(to);
  }
  const reach = new Map([...next.keys()].map((file) => [file, reachedFrom(file, next)]));
  const inCircle = [...reach].filter(([file, reached]) => reached.has(file)).map(([file]) => file);
  const seen = new Set<string>();
  return inCircle.flatMap((file) => {
    if (seen.has(file)) return [];
    const circle = inCircle.filter((other) => reach.get(file)!.has(other) && reach.get(other)!.has(file));
    for (const member of circle) seen.add(member);
    return [circle];
  });
}

function reachedFrom(start: string, next: ReadonlyMap<string, ReadonlySet<string>>): Set<string> {
  const reached = new Set<string>();
  const queue = [start];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    for (const other of next.get(file) ?? []) {
      if (reached.has(other)) continue;
      reached.add(other);
      queue.push(other);
    }
  }
  return reached;
}
