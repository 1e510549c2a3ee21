import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { loadConfig } from '../../src/config/config.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(root + path, 'utf8');
const built = `dist/signet-${packageJson.version}.tgz`;
const samples = readdirSync(`${root}examples`).filter((name) => existsSync(`${root}examples/${name}/package.json`));

describe("our package, whose name is somebody else's on npmjs.com", () => {
  test.each(samples)('never comes from there in a sample: %s', (name) => {
    const { dependencies } = JSON.parse(read(`examples/${name}/package.json`)) as { dependencies: { signet?: string } };
    const isUsed = readdirSync(`${root}examples/${name}`, { recursive: true, encoding: 'utf8' })
      .filter((file) => /^(?!node_modules).*\.(ts|vue)$/.test(file))
      .some((file) => read(`examples/${name}/${file}`).includes(`from 'signet/`));
    expect(dependencies.signet).toBe(isUsed ? `file:../../${built}` : undefined);
  });

  test('is installed in the guide from the file that the line before it writes', () => {
    const [, file, installed] = /writes (\S+)\nnpm install (\S+)/.exec(read('docs/services.md'))!;
    expect(file).toBe(built);
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
