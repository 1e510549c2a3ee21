// Builds `signet/verifier` as a package of its own: dist/verifier-package/ and, packed, a tarball beside it. A service
// that verifies tokens installs this, with jose as its only dependency, not the identity provider. `signet/testing`, for
// the tests of that service, comes along.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}dist/verifier-package`;
const entries = ['index', 'koa', 'express', 'fastify'];

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const tsc = `${root}node_modules/typescript/bin/tsc`;
for (const part of ['verifier', 'testing']) {
  execFileSync(process.execPath, [tsc, '-p', `${root}src/${part}/tsconfig.json`], { stdio: 'inherit' });
}

const { name, version, license, dependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const manifest = {
  name,
  version,
  description: 'Verifies the access tokens of a Signet identity provider, offline.',
  license,
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20.12' },
  exports: {
    ...Object.fromEntries(entries.map((entry) => [
      entry === 'index' ? './verifier' : `./verifier/${entry}`,
      { types: `./lib/${entry}.d.ts`, default: `./lib/${entry}.js` },
    ])),
    './testing': { types: './testing/index.d.ts', default: './testing/index.js' },
  },
  files: ['lib', 'testing'],
  dependencies: { jose: dependencies.jose },
};
writeFileSync(`${folder}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
copyFileSync(`${root}docs/services.md`, `${folder}/README.md`);
copyFileSync(`${root}LICENSE`, `${folder}/LICENSE`);

const pack = ['pack', '--json', '--pack-destination', `${root}dist`];
const [packed] = JSON.parse(execFileSync('npm', pack, { cwd: folder, encoding: 'utf8' }));
console.log(`dist/${packed.filename}: ${packed.files.length} files, ${packed.size} bytes`);
