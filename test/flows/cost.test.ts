// What the busy requests cost in statements: a figure that changes here is a decision (docs/performance.md has them).

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Statements, watchStatements } from '../differential/statements.ts';
import { engines } from '../support/engines.ts';
import { declared, ordersApi, person, secret, startSignet, type TestServer } from '../support/signet.ts';
import { askUserinfo, authorizationRequest, authorize, signIn, UserAgent } from '../support/user-agent.ts';

describe.each(engines)('how often a request asks the database, on $name', ({ freshUrl }) => {
  let server: TestServer;
  let statements: Statements;
  beforeAll(async () => {
    const orders = { clientId: 'orders', name: 'Orders API', type: 'service', secret, introspects: [ordersApi] };
    const values = { applications: [...declared.applications, orders] };
    server = await startSignet({ database: await freshUrl(), values });
    statements = watchStatements('sign_in_attempts', 'identities', 'upstream_sessions', 'backchannel_logouts');
  });
  afterAll(async () => {
    statements?.stop();
    await server?.close();
  });

  /**
   * What `ask` costs, as reads and writes. The audit trail is written behind the request and does not count; what the
   * server does by itself at the same moment may, so the cheapest of three counts.
   */
  async function cost<T>(prepare: () => Promise<T>, ask: (prepared: T) => Promise<unknown>): Promise<string> {
    const costs: { reads: number; writes: number }[] = [];
    for (let time = 0; time < 3; time += 1) {
      const prepared = await prepare();
      statements.taken();
      await ask(prepared);
      costs.push(statements.taken());
    }
    costs.sort((a, b) => a.reads + a.writes - b.reads - b.writes);
    return `${costs[0]!.reads} + ${costs[0]!.writes}`;
  }

  const browser = async () => (await signIn(server.issuer)).agent;

  /** Asks for a code, as whoever is signed in. */
  async function code(agent: UserAgent, parameters: Record<string, string> = {}): Promise<void> {
    const { headers } = await agent.request(authorizationRequest(server.issuer, parameters).url);
    expect(headers.get('location')).toContain('code=');
  }

  test('a code for who is signed in and has used the application: one read and one write', async () => {
    expect(await cost(browser, (agent) => code(agent))).toBe('1 + 1');
  });

  test('the same for an application of somebody else, that was allowed what it asks for', async () => {
    const thirdParty = {
      client_id: 'third-party',
      redirect_uri: 'https://reports.example.net/cb',
      resource: ordersApi,
    };
    const allowed = async () => {
      const agent = new UserAgent(server.issuer);
      await authorize(agent, authorizationRequest(server.issuer, thirdParty).url);
      return agent;
    };
    expect(await cost(allowed, (agent) => code(agent, thirdParty))).toBe('1 + 1');
  });

  test('an application that is new to the session is written into it, and a grant', async () => {
    expect(await cost(browser, (agent) => code(agent, { client_id: 'web' }))).toBe('1 + 3');
  });

  test('a sign-in by password: what begins it, and what ends it', async () => {
    const begin = async () => {
      const agent = new UserAgent(server.issuer);
      return { agent, page: await agent.visit(authorizationRequest(server.issuer).url) };
    };
    expect(await cost(async () => {}, begin)).toBe('1 + 2');
    expect(await cost(begin, ({ agent, page }) => agent.submit(page, person))).toBe('6 + 11');
  });

  test('userinfo, and introspection of an access token', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const nothing = async () => {};
    expect(await cost(nothing, () => askUserinfo(server.issuer, tokens.access_token!))).toBe('2 + 0');
    const introspect = async () => {
      const response = await fetch(`${server.issuer}/token/introspection`, {
        method: 'POST',
        headers: { Authorization: `Basic ${btoa(`orders:${secret}`)}` },
        body: new URLSearchParams({ token: tokens.access_token! }),
      });
      expect(await response.json()).toMatchObject({ active: true });
    };
    expect(await cost(nothing, introspect)).toBe('1 + 0');
  });
});
