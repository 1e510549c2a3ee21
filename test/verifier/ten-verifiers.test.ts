// How long it takes from an administrator's click to the last of ten services refusing the person's token, each service
// with a verifier of its own, against a real server: within the list's ttl by status list, at once by Redis.

import { createClient } from '@redis/client';
import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createVerifier, type Verifier } from '../../src/verifier/index.ts';
import { type AdminServer, startAdministration } from '../support/admin.ts';
import { noRedis, type RedisServer, startRedis } from '../support/redis.ts';
import { ordersApi } from '../support/signet.ts';
import { authorizationRequest, authorize, signIn, UserAgent } from '../support/user-agent.ts';

const ttlSeconds = 2;
const tenOf = (make: () => Verifier) => Array.from({ length: 10 }, make);

let redis: RedisServer | undefined;
let server: AdminServer;
let administratorsToken: string;
beforeAll(async () => {
  redis = noRedis ? undefined : await startRedis();
  const revocation = { ttl: `${ttlSeconds}s`, ...(redis && { redisUrl: redis.url }) };
  server = await startAdministration({ values: { revocation } });
  const administrator = { email: 'grace@example.com', password: 'another long enough password' };
  const passwordHash = await bcrypt.hash(administrator.password, 4);
  await server.store.accounts.create(
    { email: administrator.email, name: 'Grace', roles: ['admin'], passwordHash },
    'test',
  );
  const agent = new UserAgent(server.issuer);
  await authorize(agent, authorizationRequest(server.issuer).url, administrator);
  administratorsToken = await server.personToken(undefined, agent);
});
afterAll(async () => {
  await server.close();
  await redis?.stop();
});

async function freshToken(): Promise<string> {
  const { tokens } = await signIn(server.issuer, { parameters: { scope: 'orders:read', resource: ordersApi } });
  return tokens.access_token;
}

/**
 * Milliseconds from the click on "sign out everywhere", which asks the admin API, until the last verifier refuses; each
 * is asked all the time meanwhile, as a service in use is.
 */
async function fromClickToLastRefusal(verifiers: readonly Verifier[], jwt: string): Promise<number> {
  const began = performance.now();
  const path = `/accounts/${server.accountId}/sign-out`;
  const click = async () =>
    expect(await server.call(path, { token: administratorsToken, body: {} })).toMatchObject({ status: 200 });
  await Promise.all([
    click(),
    ...verifiers.map(async (verifier) => {
      for (;;) {
        const code = await verifier.verify(jwt).then(
          () => 'accepted',
          (error: { code: string }) => error.code,
        );
        if (code === 'revoked') return;
        expect(code).toBe('accepted');
        if (performance.now() - began > 20_000) throw new Error('the token is still accepted');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }),
  ]);
  return performance.now() - began;
}

describe('an administrator clicks on signing a person out everywhere', () => {
  test('ten verifiers refuse by status list, the last within its ttl and two seconds', async () => {
    const verifiers = tenOf(() => createVerifier({ issuer: server.issuer, audience: ordersApi }));
    const jwt = await freshToken();
    for (const verifier of verifiers) {
      await verifier.verify(jwt);
      // As services do that were not all started at once.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await fromClickToLastRefusal(verifiers, jwt)).toBeLessThan((ttlSeconds + 2) * 1000);
    for (const verifier of verifiers) await expect(verifier.verify(await freshToken())).resolves.toBeDefined();
    for (const verifier of verifiers) verifier.close();
  });

  test.skipIf(noRedis)('ten verifiers refuse by Redis, the last within a second; without it, by the list', async () => {
    const { url, start, stop } = redis!;
    const client = createClient({ url, disableOfflineQueue: true });
    client.on('error', () => {}); // taken away below, on purpose
    await client.connect();
    const verifiers = tenOf(() =>
      createVerifier({
        issuer: server.issuer,
        audience: ordersApi,
        revocation: 'redis',
        redis: client,
      }),
    );
    const jwt = await freshToken();
    for (const verifier of verifiers) await verifier.verify(jwt);
    expect(await fromClickToLastRefusal(verifiers, jwt)).toBeLessThan(1000);

    const next = await freshToken();
    for (const verifier of verifiers) await verifier.verify(next);
    await stop();
    for (const verifier of verifiers) await expect(verifier.verify(next)).resolves.toBeDefined();
    expect(await fromClickToLastRefusal(verifiers, next)).toBeLessThan((ttlSeconds + 2) * 1000);
    for (const verifier of verifiers) verifier.close();
    client.destroy();
    await start();
  });
});
