// Pages that have nothing to do on them lead to the application that the browser came from, at the address that was
// registered for it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enter, openSignIn } from '../support/pages.ts';
import { declared, person, startSignet, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, signIn, UserAgent } from '../support/user-agent.ts';

const home = 'https://app.example.com/start?from=signet&x=1';

let server: TestServer;
beforeAll(async () => {
  const applications = declared.applications.map((one) => (one.clientId === 'spa' ? { ...one, clientUri: home } : one));
  server = await startSignet({ values: { applications } });
});
afterAll(() => server.close());

const wayOn = ({ body }: Answer) => {
  const [, href, label] = /<p class="way"><a class="button" href="([^"]*)">(.*?)<\/a>/.exec(body) ?? [];
  return href && `${label}: ${href.replaceAll('&amp;', '&')}`;
};
const toOrders = `Go to Orders: ${home}`;
const over = () => server.store.db.query(`delete from oidc_models where model = 'Interaction'`);

describe('a browser that came from an application with a home address', () => {
  const pages: Array<[string, (agent: UserAgent) => Promise<Answer>]> = [
    [
      'a sign-in that has expired',
      async (agent) => {
        const page = await openSignIn(server.issuer, agent);
        await over();
        return agent.visit(page.url);
      },
    ],
    [
      'a sign-in that is finished',
      async (agent) => {
        const page = await openSignIn(server.issuer, agent);
        await enter(agent, page, person);
        return agent.visit(page.url);
      },
    ],
    [
      'an address that is not registered',
      (agent) => agent.visit(authorizationRequest(server.issuer, { redirect_uri: 'https://evil.example/' }).url),
    ],
    [
      'a page that is not there',
      async (agent) => {
        await openSignIn(server.issuer, agent);
        return agent.visit('/nowhere');
      },
    ],
    [
      'a sign-out',
      async (agent) => {
        const { tokens } = await signIn(server.issuer, { agent });
        return agent.visit(`/session/end?id_token_hint=${tokens.id_token}`);
      },
    ],
    [
      'staying signed in',
      async (agent) => {
        await signIn(server.issuer, { agent });
        return agent.submit(await agent.visit('/session/end?client_id=spa'), {});
      },
    ],
    ['the front page', async (agent) => agent.visit('/')],
  ];

  test.each(pages)('%s leads there', async (_what, reach) => {
    expect(wayOn(await reach(new UserAgent(server.issuer)))).toBe(toOrders);
  });

  test('another application, without one, leads nowhere; and no request says where', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await openSignIn(server.issuer, agent, { client_id: 'web', client_uri: 'https://evil.example/' });
    await over();
    expect(wayOn(await agent.visit(page.url))).toBeUndefined();
    expect((await agent.visit('/?client_uri=https://evil.example/')).body).not.toContain('evil.example');
  });
});

describe('a sign-in that was not finished in a browser with a session', () => {
  test('has expired; it is not said to be complete', async () => {
    const { agent } = await signIn(server.issuer);
    const page = await openSignIn(server.issuer, agent, { prompt: 'login' });
    await over();
    expect((await agent.visit(page.url)).body).toContain('This page has expired</h1>');
  });
});
