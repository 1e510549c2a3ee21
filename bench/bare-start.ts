// The least that any server on the same libraries has to load before it answers. Run by start.ts as a process of its
// own, with a compile cache as main.ts has one.

import { enableCompileCache } from 'node:module';

enableCompileCache(process.argv[3]);
const [{ default: Koa }] = await Promise.all([import('koa'), import('oidc-provider')]);
new Koa()
  .use((ctx) => {
    ctx.body = {};
  })
  .listen(Number(process.argv[2]), '127.0.0.1', () => console.log('running'));
process.once('SIGTERM', () => process.exit());
