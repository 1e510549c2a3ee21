import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { type AdminServer, startAdministration } from '../support/admin.ts';
import { nextKey } from '../support/rotation.ts';
import { leaksIn } from '../support/secrets.ts';
import { everythingIn } from '../support/stored.ts';
import { authorizationRequest, decode, signIn, tokenRequest } from '../support/user-agent.ts';

let server: AdminServer;
let token: string;

async function open(values: Record<string, unknown> = {}): Promise<void> {
  server = await startAdministration({ values });
  await server.store.accounts.setRoles(server.accountId, ['admin'], 'test');
  token = await server.personToken();
}

// Whatever a test did: the trail is whole, and no half of a key that is private is anywhere to be read.
async function close(): Promise<void> {
  const verdict = await server.store.audit.verify();
  const rows = JSON.stringify(await server.store.audit.list({ limit: 1000 }));
  const answers = server.answers.flatMap(({ text, headers }) => [text, JSON.stringify([...headers])]);
  const produced = [server.logged(), rows, ...answers];
  await server.close();
  expect(verdict).toMatchObject({ ok: true });
  for (const text of produced) expect(leaksIn(text)).toEqual([]);
}

function eachWithOwnServer(): void {
  beforeEach(() => open());
  afterEach(close);
}

const keys = async () => (await server.call('/keys', { token })).body.keys as Array<Record<string, any>>;
const states = async () => Object.fromEntries((await keys()).map(({ kid, state }) => [kid, state]));
const kidOf = async (wanted: string) => (await keys()).find(({ state }) => state === wanted)!.kid as string;
const activeKid = () => kidOf('active');
const fetchJwks = (headers: Record<string, string> = {}) => fetch(`${server.issuer}/jwks`, { headers });
const jwks = async (headers?: Record<string, string>) => {
  const { keys: published } = (await (await fetchJwks(headers)).json()) as { keys: Array<{ kid: string }> };
  return published.map(({ kid }) => kid);
};
const post = (path: string, body: unknown = {}) => server.call(path, { token, body });
/** Another token for the same person, under the key that signs now. */
const renewToken = async () => {
  token = await server.personToken();
};
const refresh = (refreshToken: string) =>
  tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: refreshToken });
const audited = async (event: string) => server.store.audit.list({ event });

/** The key that signs, and the next one, which was published long enough. */
async function ripe(): Promise<{ first: string; next: string }> {
  const { kid } = await nextKey(server.store.keyring);
  await server.ripen();
  return { first: await activeKid(), next: kid };
}

describe('an ordinary rotation', () => {
  eachWithOwnServer();

  test('has its next key published before anybody asks, and hands over once that is ready', async () => {
    const first = await activeKid();
    const next = await kidOf('prepared');
    expect(await jwks()).toEqual([first, next]);
    expect(await post('/keys/rotate')).toMatchObject({ status: 409, body: { error: 'key_step_unsafe' } });
    await server.ripen();
    expect(await post('/keys/rotate')).toMatchObject({ status: 200, body: { kid: next, state: 'active' } });
    expect((await jwks()).slice(0, 2)).toEqual([next, first]);
    expect(decode(await server.personToken()).header.kid).toBe(next);
    expect(await states()).toMatchObject({ [first]: 'retired', [next]: 'active' });
  });

  test('is followed by the next key, published in the same breath and not signing', async () => {
    const { first, next } = await ripe();
    await post('/keys/rotate');
    const third = await kidOf('prepared');
    expect(await jwks()).toEqual([next, first, third]);
  });

  test('leaves tokens of the key before it good', async () => {
    await ripe();
    await post('/keys/rotate');
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
  });

  test('can be taken step by step', async () => {
    const { first, next } = await ripe();
    expect(await post(`/keys/${next}/activate`)).toMatchObject({ status: 200, body: { kid: next, state: 'active' } });
    expect(await post('/keys/prepare')).toMatchObject({ status: 409, body: { error: 'key_already_prepared' } });
    await server.ripen();
    expect(await post(`/keys/${next}/retire`)).toMatchObject({ status: 200, body: { kid: next, state: 'retired' } });
    await server.store.db.query('update signing_keys set retired_at = retired_at - 9000000000 where kid = $1', [first]);
    // The server's own clock sees as well that it is time, and may be first.
    const { status, body } = await post(`/keys/${first}/destroy`);
    if (status === 200) expect(body).toEqual({ kid: first, state: 'destroyed' });
    else expect(body.error_description).toContain(`key ${first} is destroyed`);
    expect(await jwks()).not.toContain(first);
  });

  test('is audited with who, through what, from where and in which request', async () => {
    const { next } = await ripe();
    const { headers } = await post('/keys/rotate');
    expect(await audited('key.activated')).toMatchObject([
      {
        actor: server.accountId,
        clientId: 'spa',
        subject: next,
        requestId: headers.get('x-request-id'),
        address: '127.0.0.1',
      },
      { actor: 'schedule' },
    ]);
  });

  test('of a service is audited under its name', async () => {
    const { next } = await ripe();
    token = await server.serviceToken('operator');
    await post('/keys/rotate');
    expect((await audited('key.activated'))[0]).toMatchObject({
      actor: 'operator',
      clientId: 'operator',
      subject: next,
    });
  });
});

describe('what is shown', () => {
  eachWithOwnServer();

  test('is every key with its state, its age and what becomes of it, and what is next', async () => {
    const { next } = await ripe();
    const { body } = await server.call('/keys', { token });
    expect(body.keys).toMatchObject([
      { state: 'active', ageSeconds: expect.any(Number), next: { becomes: 'retired' }, publicJwk: { kty: 'RSA' } },
      { kid: next, state: 'prepared', next: { becomes: 'active' } },
    ]);
    expect(body.keys[0].next.at).toBe(body.next.at);
    expect(body.next).toMatchObject({ step: 'activate', waitingFor: [] });
    expect(body.propagation).toEqual({ kid: next, seenBy: [], unseenBy: [] });
  });

  test('is who fetched the newest key and who did not', async () => {
    const asOrders = { 'User-Agent': 'signet-verifier/0.1.0 (orders)' };
    const asStock = { 'User-Agent': 'signet-verifier/0.1.0 (stock)' };
    const etag = (await fetchJwks(asStock)).headers.get('etag')!;
    await jwks(asOrders);
    await post(`/keys/${await kidOf('prepared')}/revoke`, { reason: 'another one' });
    const { kid } = await nextKey(server.store.keyring);
    await jwks(asOrders);
    await fetch(`${server.issuer}/jwks`, { method: 'HEAD', headers: asStock });
    const seen = async () => {
      const { body } = await server.call('/keys/consumers', { token });
      expect(body.key).toMatchObject({ kid, state: 'prepared' });
      return body;
    };
    expect(await seen()).toMatchObject({
      seenBy: [{ kind: 'service', name: 'orders', address: '127.0.0.1', fetches: 2 }],
      unseenBy: [],
      silent: [{ name: 'stock', fetches: 1 }],
    });
    // Long ago and just now: it comes regularly, and has not been here since the key was published.
    await server.store.db.query(
      `update jwks_consumers set first_seen_at = first_seen_at - 90000000, fetches = 2 where name = 'stock'`,
    );
    expect(await seen()).toMatchObject({ unseenBy: [{ name: 'stock' }], silent: [] });

    const fresh = await fetchJwks({ ...asStock, 'If-None-Match': etag });
    expect(fresh.status).toBe(200);
    const again = await fetchJwks({ ...asStock, 'If-None-Match': fresh.headers.get('etag')! });
    expect(again.status).toBe(304);
    const { seenBy } = await seen();
    expect(seenBy.find(({ name }: { name: string }) => name === 'stock')).toMatchObject({ fetches: 4 });
  });

  test('of a rotation that was not done is its timeline and who would refuse a good token', async () => {
    const before = await states();
    const { body } = await post('/keys/rotate', { dryRun: true });
    const [active, next] = await jwks();
    expect(body.timeline.map(({ event, kid }: any) => [event, kid])).toEqual([
      ['signs', next],
      ['retired', active],
      ['standby', null],
      ['leaves', active],
    ]);
    const refusing = (verifiers: any[]) =>
      verifiers.filter(({ refuses }) => refuses.length > 0).map(({ verifier }) => verifier);
    expect(refusing(body.verifiers)).toEqual(['fetched once at start']);
    const forced = await post('/keys/rotate', { dryRun: true, force: true });
    expect(refusing(forced.body.verifiers).length).toBeGreaterThan(3);
    expect(await states()).toEqual(before);
  });
});

describe('an unsafe step', () => {
  eachWithOwnServer();

  test('is refused with what would break and until when', async () => {
    const { kid, preparedAt } = await nextKey(server.store.keyring);
    const signsFrom = new Date(preparedAt + 90_000_000).toISOString();
    const before = await states();
    for (const path of ['/keys/rotate', `/keys/${kid}/activate`, `/keys/${await activeKid()}/retire`]) {
      const { status, body } = await post(path);
      expect(status).toBe(409);
      expect(body).toMatchObject({
        error: 'key_step_unsafe',
        hint: `wait until ${signsFrom}, or force it and say why`,
        would_break: { until: signsFrom },
      });
      expect(body.would_break.verifiers.map(({ verifier }: any) => verifier)).toContain('one-hour cache, no refetch');
      expect(body.error_description).toContain('one-hour cache, no refetch until ');
    }
    expect(await states()).toEqual(before);
  });

  test('names those who have not fetched the key', async () => {
    await jwks({ 'User-Agent': 'signet-verifier/0.1.0 (orders)' });
    await server.call('/keys', { token }); // writes the count
    await server.store.db.query('update jwks_consumers set first_seen_at = first_seen_at - 90000000, fetches = 2');
    await post(`/keys/${await kidOf('prepared')}/revoke`, { reason: 'another one' });
    const { body } = await post(`/keys/${await kidOf('prepared')}/activate`);
    expect(body.would_break.consumers).toEqual(['orders (127.0.0.1)']);
    expect(body.error_description).toContain('not seen to fetch the key: orders (127.0.0.1)');
  });

  test('that destroys a key too early says whose tokens it would break', async () => {
    const { first } = await ripe();
    await post('/keys/rotate');
    const { status, body } = await post(`/keys/${first}/destroy`);
    expect([status, body.error]).toEqual([409, 'key_step_unsafe']);
    expect(body.would_break.verifiers.length).toBeGreaterThan(2);
    expect(await states()).toMatchObject({ [first]: 'retired' });
  });

  test('is taken by force, with a reason that is kept', async () => {
    const { kid } = await nextKey(server.store.keyring);
    const activate = (body: object) => post(`/keys/${kid}/activate`, body);
    const halfSaid = { status: 400, body: { error: 'reason_missing' } };
    expect(await activate({ force: true })).toMatchObject(halfSaid);
    expect(await activate({ reason: 'hurry' })).toMatchObject(halfSaid);
    expect(await activate({ force: true, reason: 'hurry' })).toMatchObject({ status: 200 });
    const [activated] = await audited('key.activated');
    expect(activated).toMatchObject({ subject: kid, actor: server.accountId, detail: { forced: 'hurry' } });
  });
});

describe('a request that makes no sense', () => {
  beforeAll(() => open());
  afterAll(close);

  test.each([
    ['a member that is not known', '/keys/rotate', { dryrun: true }, 400, 'invalid_request'],
    ['a member of another type', '/keys/rotate', { dryRun: 'yes' }, 400, 'invalid_request'],
    ['a body where none is read', '/keys/prepare', { kid: 'mine' }, 400, 'invalid_request'],
    ['a list', '/keys/rotate', [], 400, 'invalid_request'],
    ['what is no JSON', '/keys/rotate', '{"dryRun": true', 400, 'malformed_document'],
    ['too much', '/keys/rotate', { reason: 'x'.repeat(17_000) }, 413, 'document_too_large'],
    ['a revocation without a reason', '/keys/nobody/revoke', {}, 400, 'invalid_request'],
    ['a revocation with an empty reason', '/keys/nobody/revoke', { reason: '  ' }, 400, 'reason_missing'],
    ['a key that does not exist', '/keys/nobody/activate', {}, 404, 'key_unknown'],
    ['an address that does not exist', '/keys/nobody/polish', {}, 404, 'not_found'],
  ])('%s is refused and changes nothing', async (_what, path, body, status, error) => {
    const before = await states();
    const answer = await post(path, body);
    expect(answer).toMatchObject({ status, body: { error, error_description: expect.any(String) } });
    expect(await states()).toEqual(before);
  });

  test('a form, which any page could send, is refused', async () => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    expect(await server.call('/keys/prepare', { token, body: 'a=b', headers })).toMatchObject({ status: 415 });
  });

  test('another method is refused with those that there are', async () => {
    const answer = await server.call('/keys/rotate', { token });
    expect(answer).toMatchObject({ status: 405, body: { error: 'method_not_allowed' } });
    expect(answer.headers.get('allow')).toBe('POST');
  });
});

describe('an emergency', () => {
  eachWithOwnServer();

  test('takes the key out of the JWKS before the answer, and another signs', async () => {
    const first = await activeKid();
    const { status, body } = await post(`/keys/${first}/revoke`, { reason: 'seen on a laptop' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ kid: first, state: 'revoked', reason: 'seen on a laptop', sessionsCut: null });
    expect((await jwks())[0]).toBe(body.activeKid);
    expect(await jwks()).not.toContain(first);
    expect(Date.parse(body.verifiersFollowBy) - Date.now()).toBeLessThanOrEqual(310_000);
    // The token that did it was signed by that key, too.
    expect(await server.call('/keys', { token })).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
    await renewToken();
    expect(decode(token).header.kid).toBe(body.activeKid);
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
  });

  test('leaves a record of the incident', async () => {
    const { first, next } = await ripe();
    const { headers, body } = await post(`/keys/${first}/revoke`, { reason: 'seen on a laptop' });
    expect(await audited('key.incident')).toMatchObject([
      {
        subject: first,
        actor: server.accountId,
        clientId: 'spa',
        requestId: headers.get('x-request-id'),
        address: '127.0.0.1',
        detail: {
          reason: 'seen on a laptop',
          was: 'active',
          successor: next,
          verifiersFollowBy: body.verifiersFollowBy,
          signedValidUntil: body.signedValidUntil,
        },
      },
    ]);
  });

  test('leaves refresh tokens: what the revoked key signed is exchanged for what the new one signs', async () => {
    const { tokens } = await signIn(server.issuer);
    const first = decode(tokens.refresh_token).header.kid;
    const {
      body: { activeKid: next },
    } = await post(`/keys/${first}/revoke`, { reason: 'why' });
    const refreshed = await refresh(tokens.refresh_token);
    expect(refreshed.status).toBe(200);
    for (const name of ['access_token', 'refresh_token', 'id_token']) {
      expect(decode(refreshed.body[name]).header.kid).toBe(next);
    }
    expect(await refresh(refreshed.body.refresh_token)).toMatchObject({ status: 200 });
  });

  test('does not let an ID token of the revoked key sign anybody out', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const end = (hint: string) =>
      agent.visit(
        `${server.issuer}/session/end?${new URLSearchParams({
          id_token_hint: hint,
          post_logout_redirect_uri: 'https://app.example.com/',
        })}`,
      );
    await post(`/keys/${decode(tokens.id_token).header.kid}/revoke`, { reason: 'why' });
    const answer = await end(tokens.id_token);
    expect([answer.status, new URL(answer.url).origin]).toEqual([200, server.issuer]);
    // Still signed in: no page is shown on the way to the code.
    const silent = await agent.visit(authorizationRequest(server.issuer, { prompt: 'none' }).url);
    expect(new URL(silent.url).searchParams.get('code')).toBeTruthy();
  });

  test('with sessions cut, nobody stays signed in, and the record says how much was ended', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const { body } = await post(`/keys/${await activeKid()}/revoke`, { reason: 'why', cutSessions: true });
    expect(body.sessionsCut).toBeGreaterThan(2);
    const refreshed = await refresh(tokens.refresh_token);
    expect(refreshed).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const silent = await agent.visit(authorizationRequest(server.issuer, { prompt: 'none' }).url);
    expect(new URL(silent.url).searchParams.get('error')).toBe('login_required');
    expect(await audited('key.incident')).toMatchObject([{ detail: { sessionsCut: body.sessionsCut } }]);
    await renewToken();
    expect(await server.call('/keys', { token })).toMatchObject({ status: 200 });
  });
});

describe('the master key', () => {
  eachWithOwnServer();

  test('is moved by the same API: nothing to do is an answer, too', async () => {
    await ripe();
    expect(await post('/keys/rekey')).toMatchObject({ status: 200, body: { rekeyed: 0 } });
    const stored = await everythingIn(server.store.db);
    expect(stored).not.toMatch(/PRIVATE KEY|"(?:d|p|q|dp|dq|qi)\\?":/);
  });
});

describe('where keys wait until they were seen', () => {
  beforeAll(() =>
    open({
      keys: { promote: 'when-seen', promoteTimeLimit: '3d', jwksClientNetworks: ['127.0.0.1'] },
    }),
  );
  afterAll(close);

  test('a ready key is not put to use before those who come regularly have fetched it', async () => {
    const asOrders = { 'User-Agent': 'signet-verifier/0.1.0 (orders)' };
    await jwks(asOrders);
    const first = await activeKid();
    await post(`/keys/${await kidOf('prepared')}/revoke`, { reason: 'another one' });
    const next = await kidOf('prepared');
    await server.call('/keys', { token }); // writes the count
    // 25 hours later, with "orders" as it was; and the revocation long ago, since after one nobody is waited for.
    await server.store.db.query(
      'update signing_keys set prepared_at = prepared_at - 90000000, revoked_at = revoked_at - 9000000000',
    );
    await server.store.db.query(`update jwks_consumers set fetches = 2, first_seen_at = first_seen_at - 90000000,
      newest_prepared_at = newest_prepared_at - 90000000`);
    expect(await post('/keys/rotate')).toMatchObject({
      status: 409,
      body: { error: 'key_step_unsafe', would_break: { verifiers: [], consumers: ['orders (127.0.0.1)'] } },
    });
    await server.store.db.query('update signing_keys set activated_at = activated_at - 9000000000 where kid = $1', [
      first,
    ]);
    await post('/keys/rekey'); // any act makes the server look
    expect((await server.call('/keys', { token })).body.next).toMatchObject({
      step: 'activate',
      waitingFor: ['orders (127.0.0.1)'],
    });
    expect(await activeKid()).toBe(first);

    await jwks(asOrders);
    await post('/keys/rekey');
    expect(await activeKid()).toBe(next);
  });
});
