// To run it: `npm run build:package` in the checkout of Signet, then here `npm install`, `npm run build`, `npm start`.
// The package comes from the file that was built: once copied elsewhere, say in package.json where that is.
// At the issuer, the application is of type web, with the redirect URI http://localhost:5174/bff/callback and the
// post-logout redirect URI http://localhost:5174/signed-out.

import { fileURLToPath } from 'node:url';
import { createApp } from './app.ts';

const { CLIENT_SECRET: clientSecret, COOKIE_KEY: cookieKey, COOKIE_KEY_BEFORE: cookieKeyBefore } = process.env;
if (!clientSecret || !cookieKey) throw new Error('set CLIENT_SECRET, and COOKIE_KEY to: openssl rand -base64 32');

const port = Number(process.env.PORT ?? 5174);
const baseUrl = process.env.BASE_URL ?? `http://localhost:${port}`;

const app = createApp({
  issuer: process.env.ISSUER ?? 'http://localhost:3000',
  clientId: process.env.CLIENT_ID ?? 'orders-bff',
  clientSecret,
  baseUrl,
  cookieKeys: [cookieKey, ...(cookieKeyBefore ? [cookieKeyBefore] : [])],
  resource: process.env.ORDERS_AUDIENCE ?? 'https://orders.example.com',
  ordersUrl: process.env.ORDERS_URL ?? 'http://localhost:4000',
  pages: fileURLToPath(new URL('dist', import.meta.url)),
});
app.listen(port, 'localhost', () => console.log(`vue-bff listens on http://localhost:${port}, as ${baseUrl}`));
