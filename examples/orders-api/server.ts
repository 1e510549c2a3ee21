// Answers who has an access token of the issuer for this API. The keys are fetched once and kept, so a request costs no
// call to the issuer, and the service goes on while the issuer is stopped.
//
// To run it: `npm run build:package` in the checkout of Signet, then here `npm install && npm start`. The package comes
// from the file that was built: once copied elsewhere, say in package.json where that is.

import Router from '@koa/router';
import { createVerifier } from '@signet-idp/verifier';
import { requireScope, requireToken } from '@signet-idp/verifier/koa';
import Koa from 'koa';
import { allowOrigin } from './cors.ts';
import { ordersOf, placeOrder } from './orders.ts';

const issuer = process.env.ISSUER ?? 'http://localhost:3000';
const audience = process.env.AUDIENCE ?? 'https://orders.example.com';
const appOrigin = process.env.APP_ORIGIN ?? 'http://localhost:5173';
const port = Number(process.env.PORT ?? 4000);

const verifier = createVerifier({
  issuer,
  audience,
  service: 'orders-api',
  onRefreshError: (error) => console.warn('using the last known keys:', (error as Error).message),
});

const router = new Router();
router.get('/orders', requireScope('orders:read'), (ctx) => {
  ctx.body = ordersOf(ctx.state.token!.sub);
});
router.post('/orders/:article', requireScope('orders:write'), (ctx) => {
  ctx.body = placeOrder(ctx.state.token!.sub, ctx.params.article!);
  ctx.status = ctx.body ? 201 : 404;
});

const app = new Koa();
app.use(allowOrigin(appOrigin)); // before the token: a preflight carries none
app.use(requireToken(verifier));
app.use(router.routes());
app.listen(port, 'localhost', () => console.log(`orders-api listens on http://localhost:${port}`));
