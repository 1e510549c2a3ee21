// The folder of the templates and their stylesheet. The same code runs from src/ (type stripping) and from dist/ (built),
// one folder deep or another, so the place is found from the package root and not from this file's own depth.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The absolute path of `views/`, beside the nearest package.json above this module. */
export function viewsFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('views/ cannot be found: no package.json above this module');
    folder = parent;
  }
  return join(folder, 'views');
}
