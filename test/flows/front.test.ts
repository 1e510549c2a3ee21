// The token endpoint is answered without a detour (web/front.ts): with an address that is spelt differently it is not,
// and nobody can tell the difference.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { secret, startSignet, type TestServer } from '../support/signet.ts';
import { auditedAs } from '../support/stored.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({ values: { proxy: { trusted: ['127.0.0.1', '::1'] } } });
});
afterAll(() => server.close());

const ask = (path: string, body: string) =>
  fetch(server.url + path, {
    method: 'POST',
    body,
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      'X-Forwarded-For': '192.0.2.7',
      Authorization: `Basic ${btoa(`service:${secret}`)}`,
    },
  });

function shape(answer: Response): Record<string, string> {
  const own = ['date', 'x-request-id', 'content-length'];
  return Object.fromEntries([...answer.headers].filter(([name]) => !own.includes(name)));
}

test.each([
  ['a token', 'grant_type=client_credentials', 200, 'token.issued'],
  ['a refusal', 'grant_type=refresh_token', 400, 'token.refused'],
])(
  '%s has the same headers, a name of its own, and the address behind the proxy in the audit trail',
  async (_what, body, status, event) => {
    const [direct, around] = [await ask('/token', body), await ask('/token?', body)];
    expect([direct.status, around.status]).toEqual([status, status]);
    expect(shape(direct)).toEqual(shape(around));
    expect(shape(direct)).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });
    const ids = [direct, around].map(({ headers }) => headers.get('x-request-id'));
    expect(ids).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/), expect.stringMatching(/^[0-9a-f]{16}$/)]);
    expect(new Set(ids).size).toBe(2);

    expect(await auditedAs(server.store.db, [direct, around])).toEqual([event, event]);
    const { rows } = await server.store.db.query('select address from audit_events where request_id in ($1, $2)', ids);
    expect(rows).toEqual([{ address: '192.0.2.7' }, { address: '192.0.2.7' }]);
  },
);
