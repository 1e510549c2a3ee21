// The built application, from memory. Files have their content's hash in their names, so browsers keep them; the page
// itself is asked for each time, and says what may run on it.

import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { Middleware } from 'koa';

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function servePages(directory: string): Middleware {
  const files = new Map(
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => [path.slice(directory.length).replaceAll('\\', '/'), readFileSync(path)] as const),
  );

  return async (ctx, next) => {
    const page = ctx.path === '/' || ctx.path === '/signed-out';
    const file = files.get(page ? '/index.html' : ctx.path);
    if (!file) return next();
    ctx.type = extname(page ? '.html' : ctx.path) || '.html';
    ctx.set('X-Content-Type-Options', 'nosniff');
    ctx.set('Cache-Control', ctx.path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache');
    if (page) ctx.set({ 'Content-Security-Policy': policy, 'Referrer-Policy': 'same-origin' });
    ctx.body = file;
  };
}
