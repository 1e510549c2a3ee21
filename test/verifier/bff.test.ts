// A web application that keeps tokens in cookies learns of a revocation as every service does: its verifier reads the
// status list. The refresh token went with the grant, so the session is over.

import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Browser } from '../bff/browser.ts';
import { startWorld, type World } from '../bff/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ ports: 1, values: { revocation: { ttl: '1s' } } });
});
afterAll(() => world.close());

test('a person who was signed out everywhere is signed out of it, within the ttl of the list', async () => {
  const app = await world.start('node:http', { verifier: undefined }); // the one it has where none is given
  const browser = new Browser();
  await browser.signIn(`${app.url}/me`);
  const answer = async () => (await browser.call(`${app.url}/me`)).status;
  expect(await answer()).toBe(200);
  await world.signet.store.accounts.signOut(world.signet.accountId, 'test');
  await vi.waitFor(async () => expect(await answer()).toBe(401), { timeout: 3000, interval: 50 });
});
