// U+0000: PostgreSQL keeps it in no text and fails a statement that has it. Nobody types it, so it is refused where a
// request is read, and nothing further in has to know.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AdminServer, startAdministration } from '../support/admin.ts';
import { engines } from '../support/engines.ts';
import { secret } from '../support/signet.ts';
import { authorizationRequest, UserAgent } from '../support/user-agent.ts';

describe.each(engines)('a NUL anywhere is the asker’s mistake, on $name', ({ freshUrl }) => {
  let server: AdminServer;
  beforeAll(async () => {
    server = await startAdministration({ database: await freshUrl() });
  });
  afterAll(() => server.close());

  const ask = (path: string, body?: string, headers: Record<string, string> = {}) =>
    fetch(server.issuer + path, {
      redirect: 'manual',
      ...(body !== undefined && { method: 'POST', body }),
      headers: { Accept: 'application/json', 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    });
  const errorIn = async (answer: Response) => ((await answer.json()) as { error: string }).error;
  const basic = (clientId: string) => ({ Authorization: `Basic ${Buffer.from(`${clientId}:x`).toString('base64')}` });
  const refresh = (values: string) => `grant_type=refresh_token&client_id=spa&${values}`;

  test.each([
    '/auth?client_id=%00',
    '/auth?client_id=spa&state=%00',
    '/auth/%00',
    '/session/end?client_id=%00',
    '/session/end/success?client_id=%00',
    '/sign-in/%00',
    '/sign-in/entra/callback?state=%00',
    '/assets/%00',
    '/%00',
    '/admin/api/v1/accounts/%00/grants',
    '/status-lists/%00',
    '/token?%00',
  ])('in the address: %s', async (path) => {
    const answer = await ask(path);
    expect([answer.status, await errorIn(answer)]).toEqual([400, 'invalid_request']);
  });

  test.each([
    ['/token', 'grant_type=client_credentials&client_id=%00&client_secret=a'],
    ['/token', refresh('refresh_token=%00')],
    ['/token', refresh('refresh_token=a&scope=a%00b')],
    ['/token', refresh('refresh_token=a&resource=a&resource=%00')],
    ['/token', `${refresh('refresh_token=a')}&a%00b=c`],
    ['/token/introspection', 'client_id=%00&client_secret=a&token=b'],
    ['/token/revocation', 'client_id=spa&token=%00'],
    ['/session/end', 'client_id=%00'],
    ['/auth', 'client_id=%00'],
    ['/auth', 'client_id=spa&state=%00'],
  ])('in a form: %s %s', async (path, form) => {
    const answer = await ask(path, form);
    const asked = answer.status === 303 ? await ask(answer.headers.get('location')!) : answer;
    expect([asked.status, await errorIn(asked)]).toEqual([400, 'invalid_request']);
  });

  const asClient = ['/token', '/token/introspection', '/token/revocation'];
  test.each(asClient)('in a name of an application: %s', async (path) => {
    for (const name of ['%00', 'a%00b']) {
      const answer = await ask(path, 'grant_type=client_credentials&token=a', basic(name));
      expect(await errorIn(answer)).toMatch(/^invalid_(client|request)$/);
    }
  });

  test('in what is typed on a page', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await agent.visit(authorizationRequest(server.issuer).url);
    const forms: Record<string, string>[] = [
      { email: 'a\0b@example.com', password: 'x' },
      { email: 'a@example.com', password: '\0' },
      { 'a\0': 'b' },
    ];
    for (const form of forms) {
      const answer = await agent.submit(page, form);
      expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('null character')]);
    }
  });

  test('in a document for the administration', async () => {
    const token = await server.serviceToken('operator');
    for (const body of [{ force: true, reason: 'a\0b' }, { 'a\0b': true }, { deep: [{ er: '\0' }] }]) {
      const answer = await server.call('/keys/rotate', { token, body });
      expect([answer.status, answer.body.error]).toEqual([400, 'malformed_document']);
    }
  });

  test('and none of it is an error of ours', () => {
    expect(server.logged()).not.toContain('"level":"error"');
    expect(server.logged()).not.toContain(secret);
  });
});
