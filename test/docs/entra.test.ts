import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { configJsonSchema } from '../../src/config/config.ts';

const tests = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(new URL('../../docs/entra.md', import.meta.url), 'utf8');
const rows = [...page.matchAll(/^\| (E\d+) \| (.*) \| (.*) \| (.*) \|$/gm)].map(([, number, , where, settings]) => ({
  number: number!,
  files: filesIn(where!),
  settings: settings!,
}));

/** "entra/config, sign-in; flows/entra-pages": after a comma the folder is the one before it. */
function filesIn(where: string): string[] {
  return where
    .split(';')
    .flatMap((part) => {
      const places = part.replace(/^.*by /, '').trim();
      const [first = '', ...others] = places.split(', ');
      const folder = first.slice(0, first.lastIndexOf('/') + 1);
      return [first, ...others.map((name) => folder + name)];
    })
    .map((name) => {
      if (existsSync(`${tests}${name}.test.ts`)) return `${tests}${name}.test.ts`;
      return existsSync(`${tests}${name}/${name}.test.ts`) ? `${tests}${name}/${name}.test.ts` : `${tests}${name}.ts`;
    });
}

describe('the table of requirements in docs/entra.md', () => {
  test('has all forty, in order', () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 40 }, (_, at) => `E${at + 1}`));
  });

  test.each(rows)('$number: the tests are there, and are named after it', ({ number, files }) => {
    for (const file of files) expect(existsSync(file), file).toBe(true);
    const named = files.filter((file) => new RegExp(`\\b${number}\\b`).test(readFileSync(file, 'utf8')));
    expect(named).not.toEqual([]);
  });

  test('names settings that exist', () => {
    const known = JSON.stringify(configJsonSchema());
    const named = rows.flatMap(({ settings }) =>
      [...settings.matchAll(/`([\w.]+)/g)].flatMap(([, path]) => path!.split('.')),
    );
    expect(named.length).toBeGreaterThan(25);
    for (const name of named) expect(known, name).toContain(`"${name}`);
  });
});
