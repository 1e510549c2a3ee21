// Builds the three packages that applications and services install, apart from the identity provider: compiled into
// dist/packages/, and packed, a tarball each in dist/. What each exports and needs, its own package.json in src/ says.

import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** In this order they can be published: each needs only those before it. */
export const packages = ['verifier', 'bff', 'testing'];

/** Where the tarball of a package is. `@signet-idp/bff` becomes `signet-idp-bff-<version>.tgz`. */
export function tarballOf(name: string): string {
  const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  return `${root}dist/signet-idp-${name}-${version}.tgz`;
}

if (import.meta.main) buildPackages();

export function buildPackages(): void {
  rmSync(`${root}dist/packages`, { recursive: true, force: true });
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  execFileSync(process.execPath, [tsc, '-p', `${root}tsconfig.package.json`], { stdio: 'inherit' });
  for (const name of packages) pack(name);
}

function pack(name: string): void {
  const [sources, folder] = [`${root}src/${name}`, `${root}dist/packages/${name}`];
  const manifest = JSON.parse(readFileSync(`${sources}/package.json`, 'utf8'));
  // As in a checkout, but compiled.
  manifest.exports = Object.fromEntries(
    Object.entries<string>(manifest.exports).map(([entry, source]) => {
      const module = source.replace(/\.ts$/, '');
      return [entry, { types: `${module}.d.ts`, default: `${module}.js` }];
    }),
  );
  manifest.files = ['*.js', '*.d.ts'];
  writeFileSync(`${folder}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
  copyFileSync(`${sources}/README.md`, `${folder}/README.md`);
  copyFileSync(`${root}LICENSE`, `${folder}/LICENSE`);
  const args = ['pack', '--json', '--pack-destination', `${root}dist`];
  const [packed] = JSON.parse(execFileSync('npm', args, { cwd: folder, encoding: 'utf8' }));
  console.log(`dist/${packed.filename}: ${packed.files.length} files, ${packed.size} bytes`);
}
