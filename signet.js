#!/usr/bin/env node
// signet in a checkout. JavaScript, and the only piece of it: a warm start finds everything else compiled, and loads
// nothing of what node strips types with, which takes longer than all of our own code.

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

enableCompileCache(fileURLToPath(new URL('node_modules/.cache/signet', import.meta.url))); // as in main.ts, which see
await import('./src/main.ts');
