// How long it takes from an administrator's act to the last of ten services refusing the person's token, each service
// with a verifier of its own, against a real server: within the list's ttl by status list, at once by Redis.

import { createClient } from '@redis/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createVerifier, type Verifier } from '../../src/verifier/index.ts';
import { noRedis, startRedis, type RedisServer } from '../support/redis.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { signIn } from '../support/user-agent.ts';

const ttlSeconds = 2;
const tenOf = (make: () => Verifier) => Array.from({ length: 10 }, make);

let redis: RedisServer | undefined;
let server: TestServer;
beforeAll(async () => {
  redis = noRedis ? undefined : await startRedis();
  const revocation = { ttl: `${ttlSeconds}s`, ...(redis && { redisUrl: redis.url }) };
  server = await startSignet({ values: { revocation } });
});
afterAll(async () => {
  await server.close();
  await redis?.stop();
});

async function freshToken(): Promise<string> {
  const { tokens } = await signIn(server.issuer, { parameters: { scope: 'orders:read', resource: ordersApi } });
  return tokens.access_token;
}

/** Milliseconds until the last of them refuses; each is asked all the time, as a service in use is. */
async function untilAllRefuse(verifiers: readonly Verifier[], jwt: string): Promise<number> {
  const began = performance.now();
  await Promise.all(verifiers.map(async (verifier) => {
    for (;;) {
      const code = await verifier.verify(jwt).then(() => 'accepted', (error: { code: string }) => error.code);
      if (code === 'revoked') return;
      expect(code).toBe('accepted');
      if (performance.now() - began > 20_000) throw new Error('the token is still accepted');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }));
  return performance.now() - began;
}

/** What the command line and the admin API do: in another process, on the same database. */
const signOutEverywhere = () => server.store.accounts.signOut(server.accountId, 'test');

describe('a person is signed out everywhere by an administrator', () => {
  test('ten verifiers refuse by status list, the last within its ttl and two seconds', async () => {
    const verifiers = tenOf(() => createVerifier({ issuer: server.issuer, audience: ordersApi }));
    const jwt = await freshToken();
    for (const verifier of verifiers) {
      await verifier.verify(jwt);
      // As services do that were not all started at once.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await signOutEverywhere();
    expect(await untilAllRefuse(verifiers, jwt)).toBeLessThan((ttlSeconds + 2) * 1000);
    for (const verifier of verifiers) await expect(verifier.verify(await freshToken())).resolves.toBeDefined();
    for (const verifier of verifiers) verifier.close();
  });

  test.skipIf(noRedis)('ten verifiers refuse by Redis, the last within a second; without it, by the list', async () => {
    const { url, start, stop } = redis!;
    const client = createClient({ url, disableOfflineQueue: true });
    client.on('error', () => {}); // taken away below, on purpose
    await client.connect();
    const verifiers = tenOf(() => createVerifier({
      issuer: server.issuer, audience: ordersApi, revocation: 'redis', redis: client,
    }));
    const jwt = await freshToken();
    for (const verifier of verifiers) await verifier.verify(jwt);
    await signOutEverywhere();
    expect(await untilAllRefuse(verifiers, jwt)).toBeLessThan(1000);

    const next = await freshToken();
    for (const verifier of verifiers) await verifier.verify(next);
    await stop();
    for (const verifier of verifiers) await expect(verifier.verify(next)).resolves.toBeDefined();
    await signOutEverywhere();
    expect(await untilAllRefuse(verifiers, next)).toBeLessThan((ttlSeconds + 2) * 1000);
    for (const verifier of verifiers) verifier.close();
    client.destroy();
    await start();
  });
});
