// Two servers on one database: what an administrator changes of an application at one, the other acts upon.

import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { engines } from '../support/engines.ts';
import { noteSecret } from '../support/secrets.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { tokenRequest } from '../support/user-agent.ts';

describe.each(engines)('two servers on one database, $name', ({ freshUrl }) => {
  let here: TestServer;
  let elsewhere: TestServer;
  let clientId: string;
  let secret: string;
  const time = Date.now;
  const clock = vi.fn(time);

  beforeAll(async () => {
    // Before they start, so that it is the clock they know.
    vi.spyOn(Date, 'now').mockImplementation(clock);
    const database = await freshUrl();
    here = await startSignet({ database });
    elsewhere = await startSignet({ database, directory: here.directory, values: { issuer: here.issuer } });
  });
  afterAll(async () => {
    await elsewhere.close();
    await here.close();
    vi.restoreAllMocks();
  });

  beforeEach(async () => {
    const { application, secret: made } = await here.store.clients.register(
      {
        name: 'Export',
        type: 'service',
        redirectUris: [],
        postLogoutRedirectUris: [],
        origins: [],
        firstParty: false,
        pkce: 'required',
        access: { [ordersApi]: ['orders:read'] },
        refreshTokens: false,
        introspects: [],
      },
      'test',
    );
    clientId = application.clientId;
    secret = made!;
    noteSecret('client secret', secret);
    // From now on each of them has the application in memory.
    expect(await askBoth(secret)).toEqual([200, 200]);
    // Memory does not age while a test runs: what a server notices, it was told.
    const now = time();
    clock.mockImplementation(() => now);
    return () => {
      clock.mockImplementation(time);
    };
  });

  const askBoth = (given: string) =>
    Promise.all(
      [here, elsewhere].map(
        async ({ url }) =>
          (await tokenRequest(url, { grant_type: 'client_credentials' }, { clientId, secret: given })).status,
      ),
    );
  const noticed = (given: string, status: number) =>
    vi.waitFor(async () => expect(await askBoth(given)).toEqual([status, status]), { timeout: 15_000 });

  test('give an application no token once it is disabled, and give it tokens again once it is enabled', async () => {
    await here.store.clients.setDisabled(clientId, true, 'test');
    await noticed(secret, 401);
    await here.store.clients.setDisabled(clientId, false, 'test');
    await noticed(secret, 200);
  });

  test('take the new secret of an application, and no longer the old one', async () => {
    const renewed = await here.store.clients.renewSecret(clientId, 'test');
    noteSecret('client secret', renewed);
    await noticed(renewed, 200);
    expect(await askBoth(secret)).toEqual([401, 401]);
  });
});
