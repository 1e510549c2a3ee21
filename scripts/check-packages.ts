// Packs the packages and looks at the tarballs as an installation would: whether what package.json says is there
// (publint), and whether TypeScript finds the types of every entry, however it resolves modules (attw).

import { readFileSync } from 'node:fs';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { buildPackages, packages, tarballOf } from './build-package.ts';

// The packages are ES modules, and no CommonJS of their own is missing. TypeScript's `node10` is before `exports`: no Node
// that we support is as old.
const forOthers = new Set(['CJSResolvesToESM']);

buildPackages();
const problems = (await Promise.all(packages.map(problemsOf))).flat();
for (const problem of problems) console.error(problem);
process.exit(problems.length === 0 ? 0 : 1);

async function problemsOf(name: string): Promise<string[]> {
  const tarball = readFileSync(tarballOf(name));
  const data = new Uint8Array(tarball).buffer;
  const { messages, pkg } = await publint({ pack: { tarball: data }, strict: true });
  const analysis = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
  const problems: { kind: string; resolutionKind?: string }[] = analysis.types
    ? analysis.problems
    : [{ kind: 'there are no types' }];
  return [
    ...messages.map((message) => `${name}: publint: ${formatMessage(message, pkg)}`),
    ...problems
      .filter(({ kind, resolutionKind }) => !forOthers.has(kind) && resolutionKind !== 'node10')
      .map((problem) => `${name}: attw: ${JSON.stringify(problem)}`),
  ];
}
