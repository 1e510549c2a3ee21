// Several servers on one host, each on a port of its own, and one browser, which keeps one jar of cookies for all of
// them (RFC 6265 §8.5). The other server stands for whatever else runs there.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enter, openSignIn, returned } from '../support/pages.ts';
import { person, startSignet, type TestServer } from '../support/signet.ts';
import { signIn, UserAgent } from '../support/user-agent.ts';

let servers: TestServer[];
beforeAll(async () => {
  servers = await Promise.all([startSignet(), startSignet()]);
});
afterAll(() => Promise.all(servers.map((server) => server.close())));

/** One browser, as each of the servers meets it. */
function browserOf([one, other]: TestServer[]): [UserAgent, UserAgent] {
  const first = new UserAgent(one!.issuer);
  return [first, new UserAgent(other!.issuer, undefined, first)];
}

async function isSignedIn(server: TestServer, agent: UserAgent): Promise<boolean> {
  return returned(await openSignIn(server.issuer, agent, { prompt: 'none' })).code !== undefined;
}

describe('one browser at two servers on one host', () => {
  test('is signed in at both, and a sign-out at one leaves the other’s session', async () => {
    const [one, other] = servers as [TestServer, TestServer];
    const [here, there] = browserOf(servers);
    await signIn(one.issuer, { agent: here });
    await signIn(other.issuer, { agent: there });
    expect([await isSignedIn(one, here), await isSignedIn(other, there)]).toEqual([true, true]);
    await there.submit(await there.visit('/session/end'), { logout: 'yes' });
    expect([await isSignedIn(one, here), await isSignedIn(other, there)]).toEqual([true, false]);
  });

  test('begins more sign-ins at one than are kept, and finishes what it began at the other', async () => {
    const [one, other] = servers as [TestServer, TestServer];
    const [here, there] = browserOf(servers);
    const page = await openSignIn(one.issuer, here);
    for (let tab = 0; tab < 12; tab += 1) await openSignIn(other.issuer, there);
    expect(returned(await enter(here, page, person)).code).toBeDefined();
  });

  test('has no cookie of one that bears the name of one of the other', async () => {
    const names = await Promise.all(
      servers.map(async ({ issuer }) => {
        const { agent } = await signIn(issuer);
        return [...agent.cookies.keys()];
      }),
    );
    const [mine, theirs] = names as [string[], string[]];
    expect(mine.length).toBeGreaterThan(3);
    expect(mine.filter((name) => theirs.includes(name))).toEqual([]);
  });

  test('is told at one that its sign-in has expired, whatever session it has at the other', async () => {
    const [one, other] = servers as [TestServer, TestServer];
    const [here, there] = browserOf(servers);
    await signIn(other.issuer, { agent: there });
    const page = await openSignIn(one.issuer, here);
    await one.store.db.query(`delete from oidc_models where model = 'Interaction'`);
    expect((await here.visit(page.url)).body).toContain('This page has expired</h1>');
  });
});
