import bcrypt from 'bcrypt';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { oneTimePassword } from '../../src/signin/password.ts';
import { ordersApi, person, secret, startSignet, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

/** The request ids of a browser, in order. */
class TracedAgent extends UserAgent {
  readonly requests: string[] = [];

  override async request(...asked: Parameters<UserAgent['request']>): Promise<Answer> {
    const answer = await super.request(...asked);
    this.requests.push(answer.headers.get('x-request-id')!);
    return answer;
  }
}

/** A refusal of a known name: what was written before it is on one side of it, what comes after on the other. */
async function mark(): Promise<string> {
  const { headers } = await tokenRequest(server.issuer, { grant_type: 'authorization_code', code: 'a mark' });
  return headers.get('x-request-id')!;
}

/** What was written between two marks, oldest first. The trail is written behind the requests, so it is waited for. */
async function written(from: string, to: string) {
  return vi.waitFor(
    async () => {
      const rows = (await server.store.audit.list({ limit: 1000 })).reverse();
      const [begin, end] = [from, to].map((id) => rows.findIndex(({ requestId }) => requestId === id));
      if (end === -1) throw new Error('not everything is written yet');
      return rows.slice(begin! + 1, end);
    },
    { timeout: 5_000 },
  );
}

async function eventsOf(work: () => Promise<unknown>, expected: string[]) {
  const from = await mark();
  await work();
  const rows = await written(from, await mark());
  expect(rows.map(({ event }) => event)).toEqual(expected);
  return rows;
}

describe('what a person does leaves exactly these events', () => {
  test('a sign-in and a code exchanged', async () => {
    const agent = new TracedAgent(server.issuer);
    const rows = await eventsOf(
      () => signIn(server.issuer, { agent, parameters: { resource: ordersApi } }),
      ['signin.succeeded', 'authorization.granted', 'token.issued'],
    );
    for (const row of rows) {
      expect(row).toMatchObject({
        subject: server.accountId,
        clientId: 'spa',
        address: '127.0.0.1',
        requestId: expect.any(String),
      });
    }
    expect(rows[0]).toMatchObject({ detail: { amr: ['pwd'] } });
    expect(agent.requests).toEqual(expect.arrayContaining([rows[0]!.requestId, rows[1]!.requestId]));
    expect(rows[2]!.detail).toMatchObject({ grantType: 'authorization_code' });
  });

  test('a session that is used again: no sign-in, but a grant', async () => {
    const { agent } = await signIn(server.issuer);
    await eventsOf(() => signIn(server.issuer, { agent }), ['authorization.granted', 'token.issued']);
  });

  test('a wrong password, a stranger, a disabled account and too many attempts, each with its reason', async () => {
    const known = await server.store.accounts.create(
      { email: 'known@example.com', roles: [], passwordHash: await bcrypt.hash(person.password, 4) },
      'test',
    );
    const disabled = await server.store.accounts.create(
      { email: 'disabled@example.com', roles: [], passwordHash: await bcrypt.hash(person.password, 4) },
      'test',
    );
    await server.store.accounts.setDisabled(disabled.id, true, 'test');
    const agent = new TracedAgent(server.issuer);
    const page = await agent.visit(authorizationRequest(server.issuer).url);
    agent.requests.length = 0;
    const rows = await eventsOf(async () => {
      await agent.submit(page, { email: known.email, password: 'not the password' });
      await agent.submit(page, { email: 'nobody@example.com', password: 'not the password' });
      await agent.submit(page, { email: disabled.email, password: person.password });
      const guess = { email: 'nobody@example.com', password: 'guess' };
      for (let time = 0; time < 5; time += 1) await agent.submit(page, guess);
    }, Array(8).fill('signin.refused'));
    expect(rows.map(({ subject, detail }) => [subject, detail.reason])).toEqual([
      [known.id, 'wrong_password'],
      [undefined, 'wrong_password'],
      [disabled.id, 'account_disabled'],
      ...Array(4).fill([undefined, 'wrong_password']),
      [undefined, 'too_many_attempts'],
    ]);
    // Each form is answered with a redirect, and the page after it is a request of its own.
    expect(rows.map(({ requestId }) => requestId)).toEqual(agent.requests.filter((_, at) => at % 2 === 0));
    for (const row of rows) expect(row).toMatchObject({ clientId: 'spa', address: '127.0.0.1' });
    expect(JSON.stringify(rows)).not.toMatch(/nobody@|not the password|guess/);
  });

  test('a one-time password replaced: the choice is chained, and who made it is in it', async () => {
    const password = oneTimePassword();
    const passwordHash = await bcrypt.hash(password, 4);
    const account = await server.store.accounts.create(
      { email: 'new@example.com', roles: [], passwordHash, passwordMustChange: true },
      'test',
    );
    const agent = new TracedAgent(server.issuer);
    const rows = await eventsOf(async () => {
      const form = await agent.visit(authorizationRequest(server.issuer).url);
      const page = await agent.submit(form, { email: account.email, password });
      await agent.submit(page, { new_password: 'a password of my own', new_password_again: 'a password of my own' });
    }, ['account.password_set', 'signin.succeeded', 'authorization.granted']);
    expect(rows[0]).toMatchObject({
      actor: account.id,
      subject: account.id,
      address: '127.0.0.1',
      requestId: rows[1]!.requestId,
      seq: expect.any(Number),
    });
    expect(JSON.stringify(rows)).not.toContain('a password of my own');
  });

  test('cancelled: refused, at the wish of the person', async () => {
    const agent = new TracedAgent(server.issuer);
    const rows = await eventsOf(async () => {
      await agent.submit(await agent.visit(authorizationRequest(server.issuer).url), { cancel: 'yes' });
    }, ['authorization.refused']);
    expect(rows[0]).toMatchObject({
      clientId: 'spa',
      detail: { error: 'access_denied' },
      requestId: agent.requests.at(-1),
    });
  });

  test('consent declined, then given', async () => {
    const request = authorizationRequest(server.issuer, {
      client_id: 'third-party',
      redirect_uri: 'https://reports.example.net/cb',
      scope: 'openid orders:read',
    });
    const agent = new TracedAgent(server.issuer);
    const rows = await eventsOf(async () => {
      const page = await agent.submit(await agent.visit(request.url), person);
      await agent.submit(page, { decision: 'deny' });
      await agent.submit(await agent.visit(request.url), { decision: 'allow' });
    }, ['signin.succeeded', 'consent.declined', 'authorization.refused', 'consent.given', 'authorization.granted']);
    for (const row of rows) {
      expect(row).toMatchObject({
        subject: server.accountId,
        clientId: 'third-party',
        address: '127.0.0.1',
        requestId: expect.any(String),
      });
    }
  });

  test('a form from another site is audited as refused; a sign-in that is over is answered alone', async () => {
    const agent = new TracedAgent(server.issuer);
    const page = await agent.visit(authorizationRequest(server.issuer).url);
    await eventsOf(async () => {
      await agent.request(page.url, { form: person, headers: { 'Sec-Fetch-Site': 'cross-site' } });
      await new UserAgent(server.issuer).request(page.url, { form: person });
    }, ['request.refused']);
  });
});

test('what a service and an administrator do leaves exactly these events', async () => {
  const { accounts, clients } = server.store;
  const rows = await eventsOf(async () => {
    const asked = { grant_type: 'client_credentials', resource: ordersApi };
    await tokenRequest(server.issuer, asked, { clientId: 'service', secret });
    await tokenRequest(server.issuer, asked, { clientId: 'service', secret: 'a wrong secret' });
    const account = await accounts.create({ email: 'audited@example.com', roles: ['buyer'] }, 'admin-1');
    const passwordHash = await bcrypt.hash(person.password, 4);
    await accounts.setPassword(account.id, passwordHash, { mustChange: true, actor: 'admin-1' });
    await accounts.setDisabled(account.id, true, 'admin-1');
    const spa = server.config.applications.find(({ clientId }) => clientId === 'web')!;
    const { application } = await clients.register({ ...spa, clientId: 'audited' }, 'admin-1');
    await clients.renewSecret(application.clientId, 'admin-1');
    await clients.setDisabled(application.clientId, true, 'admin-1');
  }, [
    'token.issued',
    'token.refused',
    'account.created',
    'account.password_set',
    'account.disabled',
    'application.registered',
    'application.secret_renewed',
    'application.disabled',
  ]);
  expect(rows.filter(({ seq }) => seq !== null).map(({ actor }) => actor)).toEqual(Array(6).fill('admin-1'));
});

test('after all that the chain is whole, and no row shows a password, a token, a secret or a hash of one', async () => {
  const from = await mark();
  const { tokens, code } = await signIn(server.issuer);
  await written(from, await mark());
  expect(await server.store.audit.verify()).toMatchObject({ ok: true });
  const { rows } = await server.store.db.query('select * from audit_events');
  const text = JSON.stringify(rows);
  expect(rows.length).toBeGreaterThan(30);
  const { access_token: access, refresh_token: refresh, id_token: id } = tokens;
  for (const credential of [person.password, secret, code, access, refresh, id, '$2b$']) {
    expect(text).not.toContain(credential);
  }
  expect(text).not.toMatch(/eyJ[\w-]{10,}\./);
});
