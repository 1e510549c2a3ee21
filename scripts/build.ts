// Bundles src/ and what it imports into dist/, for the image: few files, which start in half the time of many. What is
// loaded late stays in files of its own. dist/ needs nothing beside it but views/ and package.json: what cannot be
// bundled is in dist/node_modules. All of these packages are listed there, with their licences.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type OutputChunk, type Plugin, rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

/** Has a binary beside it, which it looks for from where it lies; and what it is found by. */
const unbundled = ['bcrypt', 'node-gyp-build'];

// Positions in our own files, for stack traces; nobody looks for a line of a library there, and it would be most of it.
const mapsOfOurOwn: Plugin = {
  name: 'maps-of-our-own',
  transform: {
    filter: { id: /node_modules/ },
    handler: (code) => ({ code, map: { mappings: '' } }),
  },
};

// An ES module's import of node:http reads each of its exports, and with WebSocket all of undici: a tenth of a start.
const plainHttp: Plugin = {
  name: 'plain-http',
  resolveId: { filter: { id: /^(node:)?http$/ }, handler: () => '\0plain-http' },
  load: { filter: { id: /^\0plain-http$/ }, handler: () => `module.exports = process.getBuiltinModule('node:http')` },
};

// One letter beyond Latin-1 makes V8 keep a whole file in two bytes a letter.
const oneByteLetters: Plugin = {
  name: 'one-byte-letters',
  renderChunk: (code) => ({
    code: code.replaceAll(/[\u0100-\uffff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`),
    map: null,
  }),
};

if (import.meta.main) await build();

async function build(): Promise<void> {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], { stdio: 'inherit' });
  rmSync(dist, { recursive: true, force: true });
  const bundle = await rolldown({
    input: join(root, 'src/main.ts'),
    cwd: root,
    platform: 'node',
    // `pg-native` is pg's to try, where somebody installed it.
    external: (id) => (isBuiltin(id) && !/^(node:)?http$/.test(id)) || unbundled.includes(id) || id === 'pg-native',
    plugins: [mapsOfOurOwn, plainHttp, oneByteLetters],
    checks: { eval: false }, // depd's, which names the function that it deprecates
  });
  const { output } = await bundle.write({
    dir: dist,
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    comments: { legal: true, annotation: false, jsdoc: false },
    sourcemap: true,
    sourcemapExcludeSources: true,
  });
  await bundle.close();
  cpSync(join(root, 'src/database/migrations'), join(dist, 'migrations'), { recursive: true });
  for (const name of unbundled) copyPackage(name);
  const chunks = output.filter((file): file is OutputChunk => file.type === 'chunk');
  const packages = packagesIn(chunks);
  writeFileSync(join(dist, 'THIRD-PARTY-LICENSES.txt'), licences(packages));
  writeFileSync(join(dist, 'sbom.cdx.json'), billOfMaterials(packages));
  const bytes = chunks.reduce((sum, { code }) => sum + code.length, 0);
  console.log(`dist/: ${chunks.length} files of JavaScript, ${Math.round(bytes / 1024)} KiB`);
}

function copyPackage(name: string): void {
  mkdirSync(join(dist, 'node_modules'), { recursive: true });
  cpSync(join(root, 'node_modules', name), join(dist, 'node_modules', name), { recursive: true, dereference: true });
}

interface Package {
  folder: string;
  name: string;
  version: string;
  license?: string;
}

/** The packages that something was taken from, and those that lie beside it. */
function packagesIn(chunks: readonly OutputChunk[]): Package[] {
  const bundled = chunks
    .flatMap(({ modules }) => Object.keys(modules))
    .flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
  const folders = new Set([...bundled, ...unbundled.map((name) => join(root, 'node_modules', name))]);
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Package;
    return { folder, name, version, license };
  });
}

function licences(packages: readonly Package[]): string {
  const texts = packages.map(({ folder, name, version, license }) => {
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
    const text = files.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n');
    if (!license && !text) throw new Error(`${name} says nothing of its licence`);
    return `${name} ${version} (${license ?? 'see below'})\n\n${text}`;
  });
  return `dist/ contains code of these packages.\n\n${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

/** CycloneDX 1.5. Scanners of images know a package by its folder, and one that is bundled has none. */
function billOfMaterials(packages: readonly Package[]): string {
  const components = packages.map(({ name, version, license }) => ({
    type: 'library',
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    ...(license && { licenses: [{ expression: license }] }),
  }));
  const described = { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, components };
  return `${JSON.stringify(described, null, 2)}\n`;
}
