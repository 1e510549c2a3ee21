// What an answer says of a refresh token's state. Whoever stole one would like to know whether its owner has used it,
// and when: no answer says so unless it is also a use of the token, which its owner's next use then reveals.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ordersApi, secret, startSignet, stockApi, type TestServer } from '../support/signet.ts';
import { ageRotation, auditedAs } from '../support/stored.ts';
import {
  asClient,
  authorizationRequest,
  authorize,
  redemption,
  signIn,
  type TokenAnswer,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

const here = '192.0.2.10';
const elsewhere = '198.51.100.7';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet({ values: { proxy: { trusted: ['127.0.0.1', '::1'] } } });
});
afterAll(() => server.close());

type Parameters = Record<string, string | string[]>;

const refresh = (token: string, parameters: Parameters = {}, address = here, client = asClient('spa')) =>
  tokenRequest(
    server.issuer,
    { grant_type: 'refresh_token', refresh_token: token, ...parameters },
    { ...client, headers: { 'X-Forwarded-For': address } },
  );

const freshToken = async () =>
  (await signIn(server.issuer, { parameters: { resource: ordersApi } })).tokens.refresh_token;

/** A token in each state, and the newest one of its grant. */
const states: Record<string, () => Promise<{ token: string; newest: string }>> = {
  async unspent() {
    const token = await freshToken();
    return { token, newest: token };
  },
  async 'spent a moment ago'() {
    const token = await freshToken();
    return { token, newest: (await refresh(token)).body.refresh_token };
  },
  async 'spent long ago'() {
    const token = await freshToken();
    const newest = (await refresh(token)).body.refresh_token;
    await ageRotation(server.store.db, token, 3600);
    return { token, newest };
  },
  async 'spent, and its successor, too'() {
    const token = await freshToken();
    const { body } = await refresh(token);
    return { token, newest: (await refresh(body.refresh_token)).body.refresh_token };
  },
};

const seen = ({ status, body, headers }: TokenAnswer) => ({
  status,
  body,
  headers: [...headers].filter(([name]) => !['date', 'x-request-id', 'connection', 'keep-alive'].includes(name)),
});

describe('a request with something else wrong is answered alike whether its token was spent or not', () => {
  const wrong: Array<[string, Parameters, { clientId: string; secret?: string }?]> = [
    ['an API that nobody knows', { resource: 'https://nothing.example.com' }],
    ['an API that was not granted', { resource: stockApi }],
    ['two APIs', { resource: [ordersApi, stockApi] }],
    ['an API twice', { resource: [ordersApi, ordersApi] }],
    ['an API that is no URI', { resource: 'orders' }],
    ['an API with a fragment', { resource: `${ordersApi}#x` }],
    ['the issuer as an API', { resource: 'http://localhost' }],
    ['a scope that was never asked for', { scope: 'openid orders:write' }],
    ['a scope that nobody knows, and nothing else', { scope: 'everything' }],
    ['a scope with a line break', { scope: 'openid\nemail' }],
    ['a scope twice', { scope: ['openid', 'email'] }],
    ['a scope of another API', { scope: 'stock:read', resource: ordersApi }],
    ['a wrong API and a wrong scope', { scope: 'orders:write', resource: stockApi }],
    ['another application', {}, { clientId: 'device' }],
    ['another application, with its secret', {}, { clientId: 'web', secret }],
    ['an application that nobody knows', {}, { clientId: 'nobody' }],
    ['a secret where none belongs', {}, { clientId: 'spa', secret: 'x'.repeat(40) }],
    ['two ways to authenticate', { client_secret: secret }, { clientId: 'web', secret }],
    [
      'another grant type',
      { grant_type: 'authorization_code', code: 'x', redirect_uri: 'https://app.example.com/callback' },
    ],
    ['the token twice', { grant_type: ['refresh_token', 'refresh_token'] }],
  ];

  test.each(wrong)('%s', async (_name, parameters, client) => {
    const answers: Record<string, unknown> = {};
    for (const [state, make] of Object.entries(states)) {
      const { token, newest } = await make();
      const answer = await refresh(token, parameters, elsewhere, client ?? asClient('spa'));
      expect(answer.status, state).toBeGreaterThanOrEqual(400);
      answers[state] = seen(answer);
      // Nothing was learned, and nothing is paid: its owner does not notice.
      expect(await refresh(newest), state).toMatchObject({ status: 200 });
    }
    const [first, ...others] = Object.values(answers);
    for (const other of others) expect(other).toEqual(first);
  });
});

describe('a request with which nothing is wrong has used the token', () => {
  const other: Array<[string, Parameters]> = [
    ['asks for less', { scope: 'openid' }],
    ['names the API that the first one did not', { resource: ordersApi }],
    ['names an API and a scope', { resource: ordersApi, scope: 'orders:read' }],
  ];

  test.each(other)('where it is no repetition, since it %s, the grant ends', async (_name, parameters) => {
    const { token, newest } = await states['spent a moment ago']!();
    expect(await refresh(token, parameters, elsewhere)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
    expect(await refresh(newest)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test.each(other)('where the thief was first, and %s, the grant ends with its owner', async (_name, parameters) => {
    const token = await freshToken();
    const { status, body: stolen } = await refresh(token, parameters, elsewhere);
    expect(status).toBe(200);
    expect(await refresh(token)).toMatchObject({ status: 400 });
    expect(await refresh(stolen.refresh_token, {}, elsewhere)).toMatchObject({ status: 400 });
  });

  test('a repetition of different words that ask for the same is one', async () => {
    const token = await freshToken();
    const { body: first } = await refresh(token, { scope: 'openid orders:read' });
    expect((await refresh(token, { scope: 'orders:read openid' })).body).toEqual(first);
  });

  test('where the answers to repetitions are used up, the grant ends, however many ask at once', async () => {
    const token = await freshToken();
    const { body: first } = await refresh(token);
    for (let repetition = 0; repetition < 3; repetition += 1) expect((await refresh(token)).body).toEqual(first);
    const late = await Promise.all(Array.from({ length: 5 }, () => refresh(token)));
    expect(late.map(({ status }) => status)).toEqual(Array(5).fill(400));
    expect(await refresh(first.refresh_token)).toMatchObject({ status: 400 });
  });

  test('and its end is audited with its cause, once', async () => {
    const { token } = await states['spent long ago']!();
    const { headers } = await refresh(token, {}, elsewhere);
    const events = await auditedAs(server.store.db, [{ headers }]);
    expect(events.toSorted()).toEqual(['grant.revoked', 'token.refused']);
    const { rows } = await server.store.db.query<{ detail: string }>(
      `select detail from audit_events where event = 'grant.revoked' and request_id = $1`,
      [headers.get('x-request-id')],
    );
    expect(JSON.parse(rows[0]!.detail)).toMatchObject({ cause: 'a refresh token was used again' });
  });
});

describe('a repetition from another network', () => {
  test('is answered, and is an event of its own, with the address', async () => {
    const token = await freshToken();
    const { body: first } = await refresh(token, {}, '2001:db8:1:2::1');
    const near = await refresh(token, {}, '2001:db8:1:2::99');
    const far = await refresh(token, {}, elsewhere);
    expect([near.body, far.body]).toEqual([first, first]);
    expect(await auditedAs(server.store.db, [near])).toEqual(['token.issued_again']);
    expect(await auditedAs(server.store.db, [far])).toEqual(['token.issued_elsewhere']);
    const event = await vi.waitFor(async () => {
      const {
        rows: [row],
      } = await server.store.db.query<{ address: string; detail: string }>(
        `select address, detail from audit_events where event = 'token.issued_elsewhere' and request_id = $1`,
        [far.headers.get('x-request-id')],
      );
      return row!;
    });
    expect(event.address).toBe(elsewhere);
    expect(JSON.parse(event.detail)).toMatchObject({ first: '2001:db8:1:2::/64' });
  });
});

describe('an authorization code', () => {
  const codes: Record<string, () => Promise<Record<string, string>>> = {
    async unspent() {
      const request = authorizationRequest(server.issuer, { resource: ordersApi });
      return redemption(request, (await authorize(new UserAgent(server.issuer), request.url)).get('code')!);
    },
    async spent() {
      const redeeming = await codes.unspent!();
      expect(await tokenRequest(server.issuer, redeeming)).toMatchObject({ status: 200 });
      return redeeming;
    },
  };
  const wrong: Array<[string, Parameters, { clientId: string; secret?: string }?]> = [
    ['another redirect URI', { redirect_uri: 'https://app.example.com/other' }],
    ['another verifier', { code_verifier: 'x'.repeat(43) }],
    ['a verifier of a wrong form', { code_verifier: 'x' }],
    ['another application', {}, { clientId: 'device' }],
    ['another application, with its secret', {}, { clientId: 'web', secret }],
  ];

  test.each(wrong)('with %s is refused alike whether it was spent or not', async (_name, parameters, client) => {
    const [unspent, spent] = [await codes.unspent!(), await codes.spent!()];
    const [before, after] = [
      await tokenRequest(server.issuer, { ...unspent, ...parameters }, client),
      await tokenRequest(server.issuer, { ...spent, ...parameters }, client),
    ];
    expect(seen(after)).toEqual(seen(before));
    expect(await tokenRequest(server.issuer, unspent)).toMatchObject({ status: 200 });
  });

  test('with a wrong API is spent by that: what it says of the code is paid with the code', async () => {
    const resource = 'https://nothing.example.com';
    const unspent = await codes.unspent!();
    expect(await tokenRequest(server.issuer, { ...unspent, resource })).toMatchObject({ status: 400 });
    expect(await tokenRequest(server.issuer, unspent)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });
});
