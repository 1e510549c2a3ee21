// The application's own server: its pages, its session, and the way to the orders API.

import { type BffOptions, createBff } from '@signet-idp/bff';
import { bffRoutes, proxyTo } from '@signet-idp/bff/koa';
import Koa from 'koa';
import { servePages } from './pages.ts';

export interface Settings extends BffOptions {
  /** Where the orders API is reached. */
  ordersUrl: string;
  /** Where `npm run build` put the pages. */
  pages: string;
}

export function createApp({ ordersUrl, pages, ...options }: Settings): Koa {
  const bff = createBff({
    scope: 'openid profile email roles orders:read orders:write',
    signedOutPath: '/signed-out',
    onError: ({ code, message, detail }) => console.warn(`${code}: ${message}`, detail ?? ''),
    ...options,
  });
  const app = new Koa();
  app.use(bffRoutes(bff));
  app.use(proxyTo(bff, { from: '/api', to: ordersUrl }));
  app.use(servePages(pages));
  return app;
}
