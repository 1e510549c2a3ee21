// docs/applications.md: what it says of Signet's side is a configuration that Signet takes.

import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configWarnings, loadConfig } from '../../src/config/config.ts';

const page = readFileSync(new URL('../../docs/applications.md', import.meta.url), 'utf8');
const [overview = '', ...sections] = page.split(/^## (?!What holds)/m);
const blocks = sections.flatMap((section) => {
  const title = section.slice(0, section.indexOf('\n'));
  return [...section.matchAll(/^```yaml\n(.*?)^```$/gms)]
    .map(([, yaml = '']) => ({ title, yaml }))
    .filter(({ yaml }) => /^applications:/m.test(yaml));
});

describe('the page of applications', () => {
  test.each(blocks)('has an entry for $title that Signet takes without a problem or a warning', ({ yaml }) => {
    const { applications, apis = [] } = parse(yaml) as {
      applications: Array<Record<string, unknown>>;
      apis?: unknown[];
    };
    const values = {
      issuer: 'https://id.example.com',
      apis,
      // A file that is there on the reader's server only.
      applications: applications.map(({ secretFile, ...app }) =>
        secretFile ? { ...app, secret: '0a'.repeat(32) } : app,
      ),
    };
    const config = loadConfig({ env: {}, cwd: tmpdir(), values });
    expect(configWarnings(config)).toEqual([]);
  });

  test('lists every section, and every entry of the list has one', () => {
    const anchors = sections.map((section) =>
      section
        .slice(0, section.indexOf('\n'))
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
    const listed = [...overview.matchAll(/^\| \[[^\]]+\]\(#([^)]+)\)/gm)].map(([, anchor]) => anchor);
    expect(listed).toEqual(anchors);
    expect(anchors.length).toBeGreaterThan(30);
  });
});
