// A sign-in ends while one of its requests is under way: swept, too old, or finished in another tab. A trigger in the
// database stands for that, at the one moment between the request's first look at the sign-in and its last word.

import bcrypt from 'bcrypt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { enter, openSignIn } from '../support/pages.ts';
import { person } from '../support/signet.ts';
import { type Answer, UserAgent } from '../support/user-agent.ts';

let world: EntraWorld;
beforeAll(async () => {
  world = await startEntraWorld();
});
afterAll(() => world.close());

/** Ends every sign-in under way as soon as this is written. */
async function endSignInsAfter(write: string): Promise<void> {
  await world.server.store.db.query(
    `create trigger over after ${write} begin delete from oidc_models where model = 'Interaction'; end`,
  );
}
afterEach(async () => {
  await world.server.store.db.query('drop trigger if exists over');
});

let people = 0;

async function newPerson({ mustChange = false } = {}) {
  people += 1;
  const email = `late-${people}@example.com`;
  await world.server.store.accounts.create(
    {
      email,
      roles: [],
      passwordHash: await bcrypt.hash(person.password, 4),
      passwordMustChange: mustChange,
    },
    'test',
  );
  return { email, password: person.password };
}

const open = (agent: UserAgent, parameters: Record<string, string> = {}) =>
  openSignIn(world.server.issuer, agent, parameters);

const theirs = { client_id: 'third-party', redirect_uri: 'https://reports.example.net/cb' };
const chosen = { new_password: 'violet harbour lantern', new_password_again: 'violet harbour lantern' };

const moments: Array<[string, string, (agent: UserAgent) => Promise<Answer>]> = [
  [
    'between the password and the end',
    'insert on sign_in_attempts',
    async (agent) => enter(agent, await open(agent), await newPerson()),
  ],
  [
    'between a wrong password and the page that says so',
    'insert on sign_in_attempts',
    async (agent) => enter(agent, await open(agent), { ...(await newPerson()), password: 'not the password' }),
  ],
  [
    'between a one-time password and the choice of another one',
    'insert on sign_in_attempts',
    async (agent) => enter(agent, await open(agent), await newPerson({ mustChange: true })),
  ],
  [
    'between the password and the way to Microsoft, where an account is to be connected',
    'insert on entra_states',
    async (agent) => {
      const form = await agent.visit(`${(await open(agent)).url}?connect`);
      const there = await enter(agent, form, await newPerson());
      return world.passMicrosoft(agent, there.url, 'alice');
    },
  ],
  [
    'between a yes and what follows it',
    'insert on consents',
    async (agent) =>
      agent.submit(await enter(agent, await open(agent, theirs), await newPerson()), { decision: 'allow' }),
  ],
  [
    'while the browser is at Microsoft',
    'delete on entra_states',
    async (agent) => world.passMicrosoft(agent, (await agent.visit(buttonOn(await open(agent)))).url, 'alice'),
  ],
  [
    'between Microsoft’s yes and the end',
    'insert on upstream_sessions',
    async (agent) => world.passMicrosoft(agent, (await agent.visit(buttonOn(await open(agent)))).url, 'alice'),
  ],
];

describe('a sign-in is over', () => {
  test.each(moments)('%s: the page says that it has expired', async (_moment, write, act) => {
    const agent = new UserAgent(world.server.issuer);
    await endSignInsAfter(write);
    const answer = await act(agent);
    expect([answer.status, /<h1>(.*?)<\/h1>/.exec(answer.body)?.[1]]).toEqual([400, 'This page has expired']);
    expect(world.server.logged()).not.toContain('request.failed');
  });

  test('as a password has just been chosen: the page says that the password is saved, and it is', async () => {
    const agent = new UserAgent(world.server.issuer);
    const who = await newPerson({ mustChange: true });
    const page = await enter(agent, await open(agent), who);
    await endSignInsAfter('update of password_hash on accounts');
    const answer = await agent.submit(page, chosen);
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('Your password is saved')]);
    await world.server.store.db.query('drop trigger over');
    const again = await enter(agent, await open(agent), { ...who, password: chosen.new_password });
    expect(new URL(again.url).searchParams.has('code')).toBe(true);
  });

  test('and consent that was to be given is not in the audit trail as given', async () => {
    const agent = new UserAgent(world.server.issuer);
    const who = await newPerson();
    const page = await enter(agent, await open(agent, theirs), who);
    await endSignInsAfter('insert on consents');
    await agent.submit(page, { decision: 'allow' });
    const { id: subject } = (await world.server.store.accounts.findByEmail(who.email))!;
    const events = await world.server.store.audit.list({ subject });
    expect(events.map(({ event }) => event)).not.toContain('consent.given');
  });
});
