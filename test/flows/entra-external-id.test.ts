import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EntraSim, startEntraSim } from '../../entra-sim/index.ts';
import { type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { noteSecret } from '../support/secrets.ts';
import { decode } from '../support/user-agent.ts';

let sim: EntraSim;
let world: EntraWorld;
beforeAll(async () => {
  sim = await startEntraSim();
  const shop = sim.addTenant('shop', { cloud: 'external' });
  shop.addUser('carl', { email: 'carl@customers.example' }).xmsEdov(true);
  const app = sim.addApp(shop, { redirectUris: [] });
  noteSecret('client secret', app.secret);
  world = await startEntraWorld({
    sim,
    entra: {
      tenant: shop.id,
      cloud: 'external-id',
      clientId: app.clientId,
      clientSecret: app.secret,
      recheck: { every: '1s' },
    },
  });
  app.addRedirectUri(`${world.server.issuer}/sign-in/entra/callback`);
  app.claims('email', 'xms_edov');
});
afterAll(async () => {
  await world.close();
  await sim.close();
});

test('a customer of External ID signs in at the host of the tenant, stays one account, and is asked for again at refresh', async () => {
  const { tokens, request } = await world.signIn('carl', { parameters: { scope: 'openid email offline_access' } });
  const claims = decode(tokens.id_token).payload;
  expect(claims).toMatchObject({ email: 'carl@customers.example', email_verified: true, nonce: request.nonce });
  const hosts = () => new Set(sim.requests().map(({ host }) => host));
  expect(hosts()).toEqual(new Set([`${sim.tenant('shop').id}.ciamlogin.com`]));
  const { tokens: later } = await world.signIn('carl', { parameters: { scope: 'openid email' } });
  expect(decode(later.id_token).payload.sub).toBe(claims.sub);
  const refreshed = await world.refresh(tokens.refresh_token);
  expect(refreshed.status).toBe(200);
  expect(hosts()).toEqual(new Set([`${sim.tenant('shop').id}.ciamlogin.com`]));
});
