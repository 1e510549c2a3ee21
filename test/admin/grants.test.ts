import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type AdminServer, startAdministration } from '../support/admin.ts';
import { ordersApi } from '../support/signet.ts';
import { statusBit } from '../support/status.ts';
import { decode, signIn, tokenRequest } from '../support/user-agent.ts';

let server: AdminServer;
beforeAll(async () => {
  server = await startAdministration();
});
afterAll(() => server.close());
beforeEach(() => server.store.accounts.setRoles(server.accountId, ['admin'], 'test'));

const somebody = async () => (await signIn(server.issuer, { parameters: { resource: ordersApi } })).tokens;
const refreshed = ({ refresh_token: token }: Record<string, any>) =>
  tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: token });

describe('an administrator', () => {
  test('sees the grants of a person and ends one, and the tokens of the others stay good', async () => {
    const token = await server.serviceToken('operator');
    const [tokens, others] = [await somebody(), await somebody()];
    const { body } = await server.call(`/accounts/${server.accountId}/grants`, { token });
    expect(body.grants.slice(-1)).toEqual([
      {
        grantId: expect.any(String),
        clientId: 'spa',
        audiences: [ordersApi],
        since: expect.any(String),
        until: expect.any(String),
      },
    ]);
    const [grantId] = String(decode(tokens.access_token).payload.jti).split('.');
    const ended = await server.call(`/grants/${grantId}/revoke`, { token, body: {} });
    expect(ended).toMatchObject({ status: 200, body: { grantId, accountId: server.accountId, clientId: 'spa' } });
    expect([await statusBit(tokens.access_token), await statusBit(others.access_token)]).toEqual([1, 0]);
    expect([(await refreshed(tokens)).status, (await refreshed(others)).status]).toEqual([400, 200]);
    expect(await server.call(`/grants/${grantId}/revoke`, { token, body: {} })).toMatchObject({
      status: 404,
      body: { error: 'grant_unknown' },
    });
  });

  test('signs a person out everywhere', async () => {
    const token = await server.serviceToken('operator');
    const tokens = await somebody();
    const { status, body } = await server.call(`/accounts/${server.accountId}/sign-out`, { token, body: {} });
    expect([status, body.accountId, body.grantsEnded > 0]).toEqual([200, server.accountId, true]);
    expect(await statusBit(tokens.access_token)).toBe(1);
    const [event] = await server.store.audit.list({ event: 'account.signed_out' });
    expect(event).toMatchObject({ actor: 'operator', clientId: 'operator', subject: server.accountId });
  });

  test('whose own token was revoked is refused with it at once', async () => {
    const token = await server.personToken();
    expect((await server.call('/keys', { token })).status).toBe(200);
    await server.store.accounts.signOut(server.accountId, 'test');
    expect(await server.call('/keys', { token })).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
  });

  test('who may only read ends nothing', async () => {
    const token = await server.serviceToken('reader');
    expect((await server.call(`/accounts/${server.accountId}/grants`, { token })).status).toBe(200);
    for (const path of [`/accounts/${server.accountId}/sign-out`, '/grants/any/revoke']) {
      const refused = { status: 403, body: { error: 'insufficient_scope' } };
      expect(await server.call(path, { token, body: {} })).toMatchObject(refused);
    }
  });

  test('hears of an account that there is not', async () => {
    const token = await server.serviceToken('operator');
    const unknown = { status: 404, body: { error: 'account_unknown' } };
    expect(await server.call('/accounts/nobody/grants', { token })).toMatchObject(unknown);
    expect(await server.call('/accounts/nobody/sign-out', { token, body: {} })).toMatchObject(unknown);
  });
});
