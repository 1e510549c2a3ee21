// Builds the package that applications and services install, apart from the identity provider: dist/package/ and,
// packed, a tarball beside it. `signet/verifier` for services, with jose as its only dependency; `signet/testing` for
// their tests; `signet/bff` for a web application's own server, which brings openid-client itself.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}dist/package`;

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const tsc = `${root}node_modules/typescript/bin/tsc`;
execFileSync(process.execPath, [tsc, '-p', `${root}tsconfig.package.json`], { stdio: 'inherit' });

const ours = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const { name, version, license, dependencies, devDependencies, exports } = ours;
const manifest = {
  name,
  version,
  description:
    'For applications and services of a Signet identity provider: verify access tokens offline, ' +
    'keep them in cookies.',
  license,
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20.12' },
  // As in a checkout, but compiled.
  exports: Object.fromEntries(
    Object.entries<string>(exports).map(([entry, source]) => {
      const module = source.replace(/^\.\/src\//, './').replace(/\.ts$/, '');
      return [entry, { types: `${module}.d.ts`, default: `${module}.js` }];
    }),
  ),
  files: ['verifier', 'bff', 'testing'],
  dependencies: { jose: dependencies.jose },
  peerDependencies: { 'openid-client': devDependencies['openid-client'] },
  peerDependenciesMeta: { 'openid-client': { optional: true } },
};
writeFileSync(`${folder}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
copyFileSync(`${root}docs/services.md`, `${folder}/README.md`);
copyFileSync(`${root}LICENSE`, `${folder}/LICENSE`);

const pack = ['pack', '--json', '--pack-destination', `${root}dist`];
const [packed] = JSON.parse(execFileSync('npm', pack, { cwd: folder, encoding: 'utf8' }));
console.log(`dist/${packed.filename}: ${packed.files.length} files, ${packed.size} bytes`);
