import bcrypt from 'bcrypt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { EntraSim } from '../../entra-sim/index.ts';
import { startEntraSim } from '../../entra-sim/index.ts';
import { buttonOn, type EntraWorld, startEntraWorld } from '../support/entra.ts';
import { noticeOn, problemOn, returned } from '../support/pages.ts';
import { person, startSignet } from '../support/signet.ts';
import {
  type Answer,
  asClient,
  authorizationRequest,
  decode,
  redemption,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';
import { textOf } from '../web/html.ts';

let sim: EntraSim;
beforeAll(async () => {
  sim = await startEntraSim();
});
afterAll(() => sim.close());
afterEach(() => {
  sim.reset();
});

const domains = ['contoso.example', 'contoso.test'];
const admin = { email: 'root@contoso.example', password: person.password };

async function worldWith(entra: Record<string, unknown>): Promise<EntraWorld> {
  const world = await startEntraWorld({ sim, entra });
  await world.server.store.accounts.create(
    { email: admin.email, roles: ['admin'], passwordHash: await bcrypt.hash(admin.password, 4) },
    'test',
  );
  return world;
}

const host = ({ url }: Answer) => new URL(url).host;
const at = (answer: Answer) => Object.fromEntries(new URL(answer.url).searchParams);
const linkTo = (page: Answer, query: string) => new RegExp(`href="([^"]*\\?${query})"`).exec(page.body)?.[1];

describe('without Microsoft', () => {
  test('the page is address and password, and not a word of anything else', async () => {
    const plain = await startSignet();
    const { body } = await new UserAgent(plain.issuer).visit(authorizationRequest(plain.issuer).url);
    expect(body).toContain('name="email"');
    expect(body).toContain('name="password"');
    expect(body).not.toMatch(/microsoft|\?local|\?connect/i);
    await plain.close();
  });

  test('nor with mode local-only, although everything is configured', async () => {
    const world = await worldWith({ mode: 'local-only', domains });
    const { agent, page } = await world.arrive();
    expect(page.body).toContain('name="password"');
    expect(page.body).not.toMatch(/microsoft|\?connect/i);
    expect(host(await agent.visit(`${new URL(page.url).pathname}/microsoft`))).toBe(new URL(world.server.issuer).host);
    expect(returned(await agent.submit(page, person)).code).toBeDefined();
    await world.close();
  });
});

describe('mixed, with domains', () => {
  let world: EntraWorld;
  beforeAll(async () => {
    world = await worldWith({ domains });
  });
  afterAll(() => world.close());

  test('the address comes first, and the page asks for nothing else', async () => {
    const { page } = await world.arrive();
    expect(page.body).toContain('name="email"');
    expect(page.body).not.toContain('name="password"');
    expect(page.body).toContain('Sign in with Microsoft');
  });

  test.each(['alice@contoso.example', 'Alice@CONTOSO.example', ' alice@contoso.test '])(
    '%j goes to Microsoft, with login_hint and domain_hint',
    async (email) => {
      const { agent, page } = await world.arrive();
      const left = await agent.submit(page, { email });
      expect([left.status, host(left)]).toEqual([303, 'login.microsoftonline.com']);
      const address = email.trim();
      expect(at(left)).toMatchObject({ login_hint: address, domain_hint: address.split('@')[1]!.toLowerCase() });
      expect(returned(await world.passMicrosoft(agent, left.url, 'alice')).code).toBeDefined();
    },
  );

  test.each([
    'someone@example.com',
    'someone@evil-contoso.example',
    'someone@contoso.example.evil.test',
    'someone@sub.contoso.example',
    'contoso.example',
    '@contoso.example',
    'x@contoso.example@example.com',
    'x@contoso.example/',
    'x@contoso.example:443',
    'x@еxample.com',
  ])('%j does not', async (email) => {
    const { agent, page } = await world.arrive();
    const next = await agent.submit(page, { email });
    expect([next.status, host(next)]).toEqual([200, new URL(world.server.issuer).host]);
    expect(next.body).toContain('name="password"');
  });

  test('then comes the password, with the address in view and the way back to it', async () => {
    const { agent, page } = await world.arrive();
    const next = await agent.submit(page, { email: person.email });
    expect(next.body).toContain(`<b>${person.email}</b>`);
    expect(next.body).toContain(`value="${person.email}"`);
    const wrong = await agent.submit(next, { email: person.email, password: 'not the password' });
    expect([wrong.status, problemOn(wrong)]).toEqual([400, 'That e-mail address and password do not match.']);
    expect(wrong.body).toContain(`<b>${person.email}</b>`);
    expect(returned(await agent.submit(wrong, person)).code).toBeDefined();
  });

  test('whether anybody has the address makes no difference, byte for byte', async () => {
    const { agent, page } = await world.arrive();
    const seen = [];
    for (const email of [person.email, 'nobody-at-all@example.com']) {
      const { status, body } = await agent.submit(page, { email });
      seen.push({ status, body: body.replaceAll(email, 'EMAIL') });
    }
    expect(seen[1]).toEqual(seen[0]);
  });

  test('an empty address says so', async () => {
    const { agent, page } = await world.arrive();
    const answer = await agent.submit(page, { email: ' ' });
    expect([answer.status, problemOn(answer)]).toEqual([400, 'Enter your e-mail address.']);
  });

  test('the application’s login_hint is filled in, and is text', async () => {
    const { page } = await world.arrive({ login_hint: 'alice@contoso.example"><img src=x>' });
    expect(page.body).toContain('value="alice@contoso.example&quot;&gt;&lt;img src=x&gt;"');
  });

  test('E10 the application’s domain_hint saves the page; another domain’s, or a failure, does not', async () => {
    const straight = await world.arrive({ domain_hint: 'Contoso.example', login_hint: 'alice@contoso.example' });
    expect([host(straight.page), at(straight.page).login_hint]).toEqual([
      'login.microsoftonline.com',
      'alice@contoso.example',
    ]);
    expect((await world.arrive({ domain_hint: 'example.com' })).page.body).toContain('name="email"');
    sim.nextCallback({ error: 'access_denied', errorSubcode: 'cancel' } as never);
    const back = await world.passMicrosoft(straight.agent, straight.page.url, 'alice');
    expect([back.status, noticeOn(back)]).toEqual([200, expect.stringContaining('You cancelled')]);
    expect(back.body).toContain('name="email"');
  });

  test('break-glass: somebody in Microsoft’s domain who has a password here comes in by it', async () => {
    const { agent, page } = await world.arrive();
    const form = await agent.visit(linkTo(page, 'local')!);
    expect(returned(await agent.submit(form, admin)).code).toBeDefined();
  });

  test('cancelling on either page tells the application', async () => {
    for (const steps of [0, 1]) {
      const { agent, page } = await world.arrive();
      const here = steps === 0 ? page : await agent.submit(page, { email: person.email });
      const back = await agent.visit(new URL(here.url).pathname, { form: { cancel: 'yes' } });
      expect(returned(back)).toMatchObject({ error: 'access_denied', iss: world.server.issuer });
    }
  });

  test('all of it with a form-action that lets the browser go where it has to', async () => {
    const { page } = await world.arrive({ client_id: 'device', redirect_uri: 'com.example.desktop:/callback' });
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self' com.example.desktop: https:;");
  });
});

describe('mixed, without domains', () => {
  test('one page has all of it: Microsoft’s button, address and password', async () => {
    const world = await worldWith({});
    const { agent, page } = await world.arrive();
    expect(page.body).toContain('name="password"');
    expect(host(await agent.visit(buttonOn(page)))).toBe('login.microsoftonline.com');
    expect(returned(await agent.submit(page, person)).code).toBeDefined();
    await world.close();
  });
});

describe('E10: somebody who came from Microsoft is to sign in anew', () => {
  let world: EntraWorld;
  beforeAll(async () => {
    world = await worldWith({ domains });
  });
  afterAll(() => world.close());

  const opaque = expect.stringMatching(/^O\./);

  /** How Microsoft is told whom it is about. */
  async function toldMicrosoft(parameters: Record<string, string>, press = buttonOn) {
    const { agent } = await world.signIn('alice');
    const { page } = await world.arrive(parameters, agent);
    if (host(page) === 'login.microsoftonline.com') return at(page);
    return at(await agent.visit(press(page)));
  }

  test.each([
    ['the application asks for it', { prompt: 'login' }],
    ['the sign-in is older than the application wants', { max_age: '0' }],
    ['the application names the same person', { prompt: 'login', login_hint: 'Alice@contoso.example' }],
    ['the application saves the page', { prompt: 'login', domain_hint: 'contoso.example' }],
  ])('E10 %s: Microsoft is told who, by the hint that it gave itself', async (_why, parameters) => {
    expect(await toldMicrosoft(parameters)).toMatchObject({ prompt: 'login', login_hint: opaque });
  });

  test('E10 somebody typed who they are: the same person is told by the hint, another one by the address', async () => {
    for (const [email, hint] of [
      [sim.user('alice').mail!, opaque],
      ['bob@contoso.example', 'bob@contoso.example'],
    ] as const) {
      const { agent } = await world.signIn('alice');
      const { page } = await world.arrive({ prompt: 'login' }, agent);
      expect(at(await agent.submit(page, { email }))).toMatchObject({ login_hint: hint });
    }
  });

  test('E10 the application means somebody else: then they are named, and nobody’s hint is sent', async () => {
    expect(await toldMicrosoft({ prompt: 'login', login_hint: 'bob@contoso.example' })).toMatchObject({
      login_hint: 'bob@contoso.example',
    });
  });

  test('E10 an account is to be chosen: no hint goes along, since Entra refuses the two together', async () => {
    const another = await toldMicrosoft({ prompt: 'login' }, (page) => `${buttonOn(page)}?another`);
    expect(another).toMatchObject({ prompt: 'select_account' });
    expect(another).not.toHaveProperty('login_hint');
  });

  test('E11 an application that wants the account chosen has it chosen at Microsoft, whoever is signed in', async () => {
    const asked = await toldMicrosoft({ prompt: 'select_account' });
    expect(asked).toMatchObject({ prompt: 'select_account' });
    expect(asked).not.toHaveProperty('login_hint');

    const { agent } = await world.signIn('alice');
    const { page, request } = await world.arrive({ prompt: 'select_account' }, agent);
    const left = await agent.visit(buttonOn(page));
    const { code } = returned(await world.passMicrosoft(agent, left.url, 'alice'));
    const { body } = await tokenRequest(world.server.issuer, redemption(request, code!), asClient('spa'));
    expect(decode(body.id_token).payload.email).toBe(sim.user('alice').mail);
  });

  test('E10 a browser in which nobody is signed in, or by a password, has no such hint', async () => {
    const { agent, page } = await world.arrive();
    expect(at(await agent.visit(buttonOn(page)))).not.toHaveProperty('login_hint');
    const local = new UserAgent(world.server.issuer);
    const form = await local.visit(linkTo((await world.arrive({}, local)).page, 'local')!);
    await local.submit(form, person);
    const { page: again } = await world.arrive({ prompt: 'login' }, local);
    expect(at(await local.visit(buttonOn(again)))).not.toHaveProperty('login_hint');
  });
});

describe('Microsoft only', () => {
  let world: EntraWorld;
  beforeAll(async () => {
    world = await worldWith({ mode: 'entra-only', domains });
  });
  afterAll(() => world.close());

  test('there is the button, and no field', async () => {
    const { page } = await world.arrive();
    expect(page.body).not.toMatch(/name="(email|password)"/);
    expect(buttonOn(page)).toContain('/microsoft');
  });

  test('E27 a local administrator comes in all the same; others are refused like a wrong password', async () => {
    const { agent, page } = await world.arrive();
    const form = await agent.visit(linkTo(page, 'local')!);
    const refused = await agent.submit(form, person);
    expect([refused.status, problemOn(refused)]).toEqual([400, 'That e-mail address and password do not match.']);
    expect(agent.cookie('session')).toBeUndefined();
    expect(returned(await agent.submit(refused, admin)).code).toBeDefined();
  });

  test('nor does a password sent to the page without the form, or along with connecting, let others in', async () => {
    for (const query of ['', '?connect', '?local&connect']) {
      const { agent, page } = await world.arrive();
      const answer = await agent.visit(`${new URL(page.url).pathname}${query}`, { form: person });
      expect([answer.status, problemOn(answer)], query).toEqual([
        400,
        'That e-mail address and password do not match.',
      ]);
    }
  });

  test('a role that Microsoft gave makes no local administrator', async () => {
    const { accounts } = world.server.store;
    const account = await accounts.create(
      { email: 'mapped@contoso.example', roles: [], passwordHash: await bcrypt.hash(person.password, 4) },
      'test',
    );
    await world.server.store.db.query(`update accounts set mapped_roles = '["admin"]' where id = $1`, [account.id]);
    const { agent, page } = await world.arrive();
    const form = await agent.visit(linkTo(page, 'local')!);
    expect((await agent.submit(form, { ...person, email: account.email })).status).toBe(400);
  });
});

describe('when it goes wrong at Microsoft', () => {
  let world: EntraWorld;
  beforeAll(async () => {
    world = await worldWith({ domains, label: 'Contoso' });
  });
  afterAll(() => world.close());

  test.each([
    ['cancels', { error: 'access_denied', errorSubcode: 'cancel' }],
    [
      'does not let the application see who they are',
      {
        error: 'access_denied',
        errorDescription: 'AADSTS65004: User declined to consent to access the app.',
      },
    ],
    ['cancels, and it says so as OAuth does', { error: 'access_denied' }],
  ])('whoever %s there is told so without alarm, on the page where it began, with both ways', async (_how, answer) => {
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    sim.nextCallback(answer as never);
    const back = await world.passMicrosoft(agent, left.url, 'alice');
    expect(new URL(back.url).pathname).toBe(new URL(page.url).pathname);
    expect([back.status, problemOn(back)]).toEqual([200, undefined]);
    expect(noticeOn(back)).toMatch(/^You cancelled the sign-in\. [^()]*$/);
    expect(textOf(back.body, 'title')).not.toContain('Error');
    expect(back.body).toContain('Sign in with Contoso');
    const again = await agent.visit(buttonOn(back));
    expect(returned(await world.passMicrosoft(agent, again.url, 'alice')).code).toBeDefined();
  });

  test('the person is back on the page where it began, with the reason and what to quote', async () => {
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    sim.nextCallback({ error: 'access_denied', errorDescription: 'AADSTS50105: not assigned' } as never);
    const back = await world.passMicrosoft(agent, left.url, 'alice');
    expect(new URL(back.url).pathname).toBe(new URL(page.url).pathname);
    expect([back.status, noticeOn(back)]).toEqual([403, undefined]);
    expect(problemOn(back)).toMatch(/^This account has no access\. .*\([0-9a-f-]{36}\)$/);
  });

  test.each([
    'error=permission_denied&error_description=The+admin+canceled+the+request',
    'error=access_denied&error_subcode=cancel',
    'error=consent_required&admin_consent=True&tenant=x',
  ])('an administrator who does not approve the application is told that nothing was (%s)', async (query) => {
    const answer = await new UserAgent(world.server.issuer).visit(`/sign-in/entra/callback?${query}`);
    expect([answer.status, textOf(answer.body, 'h1')]).toEqual([200, 'Nothing was approved']);
    expect(answer.body).not.toContain('Reference');
  });

  test('in another browser than the one it began in: nothing comes of it', async () => {
    const { agent, page } = await world.arrive();
    const left = await agent.visit(buttonOn(page));
    const thief = new UserAgent(world.server.issuer);
    const answer = await world.passMicrosoft(thief, left.url, 'alice');
    expect(answer.status).toBe(400);
    expect(thief.cookie('session')).toBeUndefined();
  });

  test('two tabs at once both end where they should', async () => {
    const agent = new UserAgent(world.server.issuer);
    const [one, two] = [await world.arrive({}, agent), await world.arrive({}, agent)];
    const left = [await agent.visit(buttonOn(one.page)), await agent.visit(buttonOn(two.page))];
    for (const [index, { url }] of left.entries()) {
      const answer = await world.passMicrosoft(agent, url, 'alice');
      expect(returned(answer)).toMatchObject({ state: [one, two][index]!.request.state, code: expect.any(String) });
    }
  });
});
