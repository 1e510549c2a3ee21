import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openTerminal } from '../cli/terminal.ts';
import { ordersApi, startSignet, type TestServer } from '../support/signet.ts';
import { statusBit } from '../support/status.ts';
import { asClient, authorizationRequest, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

let first: TestServer;
let second: TestServer;
beforeAll(async () => {
  first = await startSignet();
  second = await startSignet({ directory: first.directory });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

const serviceToken = ({ issuer }: TestServer) =>
  tokenRequest(issuer, { grant_type: 'client_credentials' }, asClient('service'));

test('a declared application that is disabled is refused by every server, its tokens end, and a restart changes nothing', async () => {
  const { issuer } = first;
  const { tokens } = await signIn(issuer, { parameters: { resource: ordersApi } });
  const before = await serviceToken(first);
  expect([before.status, (await serviceToken(second)).status]).toEqual([200, 200]);

  const terminal = await openTerminal({ directory: first.directory, env: { SIGNET_ISSUER: issuer } });
  await terminal.write(
    'signet.yaml',
    JSON.stringify({
      applications: [
        { clientId: 'spa', name: 'Orders', type: 'spa', redirectUris: ['https://app.example.com/callback'] },
        { clientId: 'service', name: 'Nightly job', type: 'service', secretSha256: '00'.repeat(32) },
      ],
    }),
  );
  for (const clientId of ['spa', 'service']) {
    expect((await terminal.signet(`clients disable ${clientId} --json`)).document).toEqual({
      clientId,
      disabled: true,
    });
  }

  for (const server of [first, second]) {
    await vi.waitFor(async () => expect((await serviceToken(server)).body.error).toBe('invalid_client'), {
      timeout: 15_000,
    });
    const page = await new UserAgent(server.issuer).visit(authorizationRequest(server.issuer).url);
    expect([page.status, page.headers.get('location')]).toEqual([400, null]);
  }
  const refreshed = await tokenRequest(issuer, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
  expect(refreshed.body.error).toBe('invalid_client');
  await expect.poll(() => statusBit(tokens.access_token), { timeout: 15_000 }).toBe(1);
  await expect.poll(() => statusBit(before.body.access_token), { timeout: 15_000 }).toBe(1);

  const third = await startSignet({ directory: first.directory });
  expect((await serviceToken(third)).body.error).toBe('invalid_client');
  expect(third.logged()).toMatch(/config\.warning.*\(service\) is disabled since/);

  await terminal.signet('clients enable service');
  for (const server of [first, second, third]) {
    await vi.waitFor(async () => expect((await serviceToken(server)).status).toBe(200), { timeout: 15_000 });
  }
  const page = await new UserAgent(issuer).visit(authorizationRequest(issuer).url);
  expect(page.status).toBe(400);
  await third.close();
});
