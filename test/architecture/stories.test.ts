import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { imports, sources } from './imports.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(`${root}ARCHITECTURE.md`, 'utf8');

/** ARCHITECTURE.md and every file of src/, as written. */
const texts = new Map(
  ['ARCHITECTURE.md', ...readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' }).map((path) => `src/${path}`)]
    .filter((path) => /\.(ts|md)$/.test(path))
    .map((path) => [path, readFileSync(`${root}${path}`, 'utf8')]),
);

interface Story {
  title: string;
  /** How many files it says that it has. */
  count: number;
  steps: Step[];
}

interface Step {
  /** A path under src/. */
  file: string;
  /** Who imports it, where none of the files before does. */
  introducedBy: string | undefined;
}

/** `### One sign-in: 8 files`, then a numbered list, each item beginning with the file. */
const stories: Story[] = page
  .split(/^### /m)
  .slice(1)
  .flatMap((section) => {
    const heading = /^(.+): (\d+) files$/m.exec(section.split('\n', 1)[0]!);
    if (!heading) return [];
    const steps = [...section.matchAll(/^\d+\. `([^`]+\.ts)`(?: \(introduced by `([^`]+)`\))?:/gm)].map(
      ([, file, introducedBy]) => ({ file: file!, introducedBy }),
    );
    return [{ title: heading[1]!, count: Number(heading[2]), steps }];
  });

describe('the stories in ARCHITECTURE.md', () => {
  test('are the seven that a newcomer asks for', () => {
    expect(stories.map(({ title }) => title)).toEqual([
      'One sign-in',
      'One token request',
      'One key rotation',
      'One sign-in at Microsoft',
      'One revocation',
      'One request through the BFF',
      'One setting',
    ]);
  });

  test.each(stories)('$title: as many files as it says, nine at most, and all are there', ({ count, steps }) => {
    expect(steps).toHaveLength(count);
    expect(count).toBeLessThanOrEqual(9);
    expect(new Set(steps.map(({ file }) => file)).size).toBe(count);
    for (const { file } of steps) expect(sources.has(file), file).toBe(true);
  });

  test.each(stories)('$title: each file is imported by one before it, or by whoever introduces it', ({ steps }) => {
    for (const [at, { file, introducedBy }] of steps.entries()) {
      const importers = imports.filter(({ to }) => to === file).map(({ from }) => from);
      const before = steps.slice(0, at).map((step) => step.file);
      const isKnown = before.some((other) => importers.includes(other));
      // Named only where it has to be: the first file needs nobody.
      if (introducedBy === undefined) expect(at === 0 || isKnown, `${file} after ${before.at(-1)}`).toBe(true);
      else expect([isKnown, importers.includes(introducedBy)], `${file} by ${introducedBy}`).toEqual([false, true]);
    }
  });
});

test('every folder of src has its sentence', () => {
  const folders = new Set(
    imports
      .map(({ from }) => from)
      .filter((path) => path.includes('/'))
      .map((path) => path.split('/')[0]!),
  );
  for (const folder of folders) expect(page, folder).toContain(`\n| \`${folder}/\` |`);
});

test('a file that ARCHITECTURE.md or a comment names is there', () => {
  const missing = [...texts].flatMap(([path, text]) => {
    const comments = path.endsWith('.md') ? [text] : (text.match(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm) ?? []);
    const named = comments.flatMap((comment) => comment.match(/(?<![\w./@-])(?:[\w-]+\/)*[\w-]+\.ts\b/g) ?? []);
    const isThere = (name: string) =>
      [name, join(dirname(path), name), `src/${name}`].some((candidate) => existsSync(`${root}${candidate}`));
    return named.filter((name) => !isThere(name)).map((name) => `${path}: ${name}`);
  });
  expect(missing).toEqual([]);
});
