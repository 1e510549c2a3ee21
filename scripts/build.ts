// Compiles src/ to dist/, for the image: JavaScript, type declarations, and the migrations beside what runs them.

import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const inRoot = (path: string) => `${root}/${path}`;

rmSync(inRoot('dist'), { recursive: true, force: true });
const tsc = inRoot('node_modules/typescript/bin/tsc');
execFileSync(process.execPath, [tsc, '-p', inRoot('tsconfig.build.json')], { stdio: 'inherit' });
cpSync(inRoot('src/database/migrations'), inRoot('dist/database/migrations'), { recursive: true });
