import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { packages, tarballOf } from '../../scripts/build-package.ts';
import { loadConfig } from '../../src/config/config.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(root + path, 'utf8');
const built = (name: string) => relative(root, tarballOf(name));
const samples = readdirSync(`${root}examples`).filter((name) => existsSync(`${root}examples/${name}/package.json`));

describe('our packages, while no registry has them', () => {
  test.each(samples)('come from files in a sample, with what they need: %s', (name) => {
    const { dependencies } = JSON.parse(read(`examples/${name}/package.json`)) as {
      dependencies: Record<string, string>;
    };
    const code = readdirSync(`${root}examples/${name}`, { recursive: true, encoding: 'utf8' })
      .filter((file) => /^(?!node_modules).*\.(ts|vue)$/.test(file))
      .map((file) => read(`examples/${name}/${file}`));
    const used = new Set(packages.filter((one) => code.some((text) => text.includes(`from '@signet-idp/${one}`))));
    if (used.size > 0) used.add('verifier');
    for (const one of packages) {
      expect(dependencies[`@signet-idp/${one}`]).toBe(used.has(one) ? `file:../../${built(one)}` : undefined);
    }
    expect(dependencies).not.toHaveProperty('signet');
  });

  test('are installed in the guide from the file that the line before it writes', () => {
    const [, file, installed] = /writes (\S+)\nnpm install (\S+)/.exec(read('docs/services.md'))!;
    expect(file).toBe(built('verifier'));
    expect(installed).toMatch(new RegExp(`/${file}$`));
  });
});

describe('a signet.yaml that a guide shows', () => {
  // Those that begin from nothing; others show a part of one that is there, or name files of their own.
  test.each(['README.md', 'docs/spa.md', 'docs/cli.md', 'docs/metrics.md', 'docs/operations.md'])(
    'is whole as it stands: %s',
    (page) => {
      const blocks = [...read(page).matchAll(/^```yaml\n(.*?)^```/gms)]
        .map(([, text]) => text!)
        .filter((text) => /^(?:issuer|apis|applications|metrics):/m.test(text));
      expect(blocks).not.toEqual([]);
      for (const text of blocks) {
        const cwd = mkdtempSync(join(tmpdir(), 'signet-guide-'));
        onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
        writeFileSync(join(cwd, 'signet.yaml'), text);
        expect(() => loadConfig({ cwd, env: {} })).not.toThrow();
      }
    },
  );
});
