#!/usr/bin/env node
// signet in a checkout. JavaScript, and the only piece of it: a warm start finds everything else compiled, and loads
// nothing of what node strips types with, which takes longer than all of our own code.

import * as nodeModule from 'node:module';
import { fileURLToPath } from 'node:url';

if (!process.features.typescript) {
  // Whoever starts this otherwise than by npm may have a node that cannot read what follows.
  const own = fileURLToPath(new URL('node_modules/.bin/node', import.meta.url));
  console.error(
    `error: this is Node ${process.versions.node}, which cannot run a checkout of Signet: that takes 22.18 or newer, which strips types\n` +
      `hint: npm ci installs one: ${own} signet.js …, or npm run signet -- …`,
  );
  process.exit(1);
}
nodeModule.enableCompileCache(fileURLToPath(new URL('node_modules/.cache/signet', import.meta.url))); // as in main.ts, which see
await import('./src/main.ts');
