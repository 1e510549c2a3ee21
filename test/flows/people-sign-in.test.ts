import bcrypt from 'bcrypt';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { oneTimePassword } from '../../src/signin/password.ts';
import { enter, openSignIn, passHours, problemOn, returned } from '../support/pages.ts';
import { callback, person, startSignet, type TestServer } from '../support/signet.ts';
import {
  type Answer,
  authorizationRequest,
  authorize,
  decode,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());
afterEach(() => {
  vi.useRealTimers();
});

let people = 0;

/** An account of its own for one test: failures of one person are no other's. */
async function newPerson({ password = person.password, mustChange = false } = {}) {
  people += 1;
  const email = `person-${String(people).padStart(3, '0')}@example.com`;
  const account = await server.store.accounts.create(
    { email, roles: [], passwordHash: await bcrypt.hash(password, 4), passwordMustChange: mustChange },
    'test',
  );
  return { id: account.id, email, password };
}

const open = (agent: UserAgent, parameters: Record<string, string | undefined> = {}) =>
  openSignIn(server.issuer, agent, parameters);

describe('the e-mail address or the password is wrong', () => {
  test('an unknown person, a wrong password and a disabled account get the same page, byte for byte', async () => {
    const known = await newPerson();
    const disabled = await newPerson();
    await server.store.accounts.setDisabled(disabled.id, true, 'test');
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    const attempts = [
      { email: 'nobody-00@example.com', password: person.password },
      { email: known.email, password: 'not the password' },
      { email: disabled.email, password: 'not the password' },
      { email: disabled.email, password: disabled.password },
    ];
    const seen = [];
    for (const attempt of attempts) {
      const { status, headers, body } = await enter(agent, page, attempt);
      const stable = [...headers].filter(([name]) => !['date', 'x-request-id', 'content-length'].includes(name));
      seen.push({ status, headers: stable, body: body.replaceAll(attempt.email, 'EMAIL') });
    }
    expect(seen[0]).toMatchObject({ status: 400, body: expect.stringContaining('do not match') });
    for (const one of seen) expect(one).toEqual(seen[0]);
    expect(seen[0]!.body).not.toContain(person.password);
  });

  test('an account without a password, one that signs in elsewhere, is like no account', async () => {
    await server.store.accounts.create({ email: 'elsewhere@example.com', roles: [] }, 'test');
    const agent = new UserAgent(server.issuer);
    const answer = await enter(agent, await open(agent), { email: 'elsewhere@example.com', password: person.password });
    expect([answer.status, problemOn(answer)]).toEqual([400, 'That e-mail address and password do not match.']);
  });

  test('what was typed as e-mail address is kept, the password is not; an empty field says so', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    const answer = await enter(agent, page, { email: '"><script>alert(1)</script>', password: '' });
    expect(problemOn(answer)).toBe('Enter your e-mail address and your password.');
    expect(answer.body).toContain('value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"');
  });

  test('after a few mistakes there is a wait, in the header and in words; waiting it out helps', async () => {
    const forgetful = await newPerson();
    const agent = new UserAgent(server.issuer);
    let page = await open(agent);
    const mistake = { ...forgetful, password: 'wrong' };
    for (let time = 0; time < 5; time += 1) page = await enter(agent, page, mistake);
    page = await enter(agent, page, forgetful);
    expect([page.status, page.headers.get('retry-after'), problemOn(page)]).toEqual([
      429,
      '1',
      'Too many attempts. Try again in 1 second.',
    ]);
    await server.store.db.query('update sign_in_attempts set blocked_until = blocked_until - 1000');
    const answer = await enter(agent, page, forgetful);
    expect(returned(answer).code).toBeDefined();
  });
});

describe('a person signs in', () => {
  test('with the e-mail address in any letter case and with spaces around it', async () => {
    const { email, password } = await newPerson();
    for (const typed of [email.toUpperCase(), `  ${email} `, email.replace('p', 'P')]) {
      const agent = new UserAgent(server.issuer);
      expect(returned(await enter(agent, await open(agent), { email: typed, password })).code).toBeDefined();
    }
  });

  test('and cancels: the application is told access_denied, with its state and the issuer', async () => {
    const agent = new UserAgent(server.issuer);
    const { url, state } = authorizationRequest(server.issuer);
    const answer = await agent.submit(await agent.visit(url), { cancel: 'yes' });
    expect(answer.url.startsWith(callback)).toBe(true);
    expect(returned(answer)).toMatchObject({ error: 'access_denied', state, iss: server.issuer });
  });

  test('the login hint is filled in, and is text whatever it contains', async () => {
    const hint = 'ada@example.com"><img src=x onerror=alert(1)>';
    const page = await open(new UserAgent(server.issuer), { login_hint: hint });
    expect(page.body).toContain('value="ada@example.com&quot;&gt;&lt;img src=x onerror=alert(1)&gt;"');
    expect(page.body).not.toContain('<img src=x');
  });

  test('a password hashed at another cost is hashed anew at sign-in, and still works', async () => {
    const created = await server.store.accounts.create(
      { email: 'rehash@example.com', roles: [], passwordHash: await bcrypt.hash(person.password, 6) },
      'test',
    );
    for (let time = 0; time < 2; time += 1) {
      const { url } = authorizationRequest(server.issuer);
      await authorize(new UserAgent(server.issuer), url, { ...person, email: created.email });
    }
    expect((await server.store.accounts.find(created.id))!.passwordHash).toMatch(/^\$2b\$04\$/);
  });

  test('the page lets its form end at the redirect URI asked for, also one of a private-use scheme', async () => {
    const https = await open(new UserAgent(server.issuer));
    expect(https.headers.get('content-security-policy')).toContain("form-action 'self' https:;");
    const scheme = await open(new UserAgent(server.issuer), {
      client_id: 'device',
      redirect_uri: 'com.example.desktop:/callback',
    });
    expect(scheme.headers.get('content-security-policy')).toContain("form-action 'self' com.example.desktop:;");
  });
});

describe('what the application asks of the sign-in', () => {
  test('prompt=none never shows a page: login_required before a sign-in, a code after it', async () => {
    const agent = new UserAgent(server.issuer);
    expect(returned(await open(agent, { prompt: 'none' }))).toMatchObject({
      error: 'login_required',
      iss: server.issuer,
    });
    await signIn(server.issuer, { agent });
    expect(returned(await open(agent, { prompt: 'none' })).code).toBeDefined();
  });

  test('prompt=login asks again, and the new tokens say when', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    passHours(2);
    const request = authorizationRequest(server.issuer, { prompt: 'login' });
    const page = await agent.visit(request.url);
    expect(page.body).toContain('name="password"');
    const { code } = returned(await enter(agent, page, person));
    const { body } = await tokenRequest(server.issuer, {
      grant_type: 'authorization_code',
      code: code!,
      redirect_uri: callback,
      code_verifier: request.verifier,
    });
    const [before, after] = [tokens, body].map(({ access_token: token }) => decode(token).payload.auth_time);
    expect(after - before).toBeGreaterThanOrEqual(7200);
  });

  test('max_age asks again only when the sign-in is older', async () => {
    const { agent } = await signIn(server.issuer);
    passHours(1);
    expect(returned(await open(agent, { max_age: '7200' })).code).toBeDefined();
    expect((await open(agent, { max_age: '600' })).body).toContain('name="password"');
    expect(returned(await open(agent, { max_age: '600', prompt: 'none' })).error).toBe('login_required');
  });
});

describe('a one-time password', () => {
  const chosen = 'a password of my own';
  const choose = (agent: UserAgent, page: Answer, one: string, other = one) =>
    agent.submit(page, { new_password: one, new_password_again: other });

  async function atTheChoice() {
    const who = await newPerson({ password: oneTimePassword(), mustChange: true });
    const agent = new UserAgent(server.issuer);
    const page = await enter(agent, await open(agent), who);
    expect(page.body).toContain('name="new_password"');
    return { who, agent, page };
  }

  test('leads to the choice of another one, and only then to a code', async () => {
    const { who, agent, page } = await atTheChoice();
    expect(page.body).toContain(who.email);
    expect(returned(await choose(agent, page, chosen)).code).toBeDefined();
    const account = await server.store.accounts.find(who.id);
    expect(account).toMatchObject({ passwordMustChange: false, lastSignInAt: expect.any(Date) });
    const again = new UserAgent(server.issuer);
    expect((await enter(again, await open(again), who)).status).toBe(400);
    expect(returned(await enter(again, await open(again), { email: who.email, password: chosen })).code).toBeDefined();
  });

  test('opens nothing to a browser that goes straight on instead of choosing', async () => {
    const { agent, page } = await atTheChoice();
    const uid = new URL(page.url).pathname.split('/')[2];
    const answer = await agent.visit(`/auth/${uid}`);
    expect(answer.url.startsWith(server.issuer)).toBe(true);
    expect(answer.body).toContain('name="password"');
    expect(agent.cookie('session')).toBeUndefined();
    expect(returned(await open(agent, { prompt: 'none' })).error).toBe('login_required');
  });

  test('nor to one with a session of somebody else', async () => {
    const { agent } = await signIn(server.issuer);
    const who = await newPerson({ password: oneTimePassword(), mustChange: true });
    const page = await enter(agent, await open(agent, { prompt: 'login' }), who);
    const answer = await agent.visit(`/auth/${new URL(page.url).pathname.split('/')[2]}`);
    expect(answer.body).toContain('name="password"');
  });

  test.each([
    ['too short', 'short', 'short', 'A password needs at least 12 characters.'],
    ['too long', 'a'.repeat(73), 'a'.repeat(73), 'A password may have at most 72 bytes.'],
    ['typed differently the second time', chosen, `${chosen}!`, 'The two passwords are not the same.'],
    ['left empty', '', '', 'A password needs at least 12 characters.'],
    [
      'common',
      'Password1234',
      'Password1234',
      expect.stringMatching(/^This is one of the passwords that guessers try/),
    ],
    [
      'the name of the service',
      'signet-2026-signet',
      'signet-2026-signet',
      expect.stringMatching(/^This password is made of/),
    ],
    [
      'the name of an application',
      'Back office 26',
      'Back office 26',
      expect.stringMatching(/^This password is made of/),
    ],
    ['one letter', 'aaaaaaaaaaaa', 'aaaaaaaaaaaa', expect.stringMatching(/^This password repeats itself/)],
    ['the keyboard', 'qwertyuiop12', 'qwertyuiop12', expect.stringMatching(/^This password follows/)],
  ])('is not replaced by a password that is %s, which the page says', async (_what, one, other, sentence) => {
    const { who, agent, page } = await atTheChoice();
    const answer = await choose(agent, page, one, other);
    expect([answer.status, problemOn(answer)]).toEqual([400, sentence]);
    expect((await server.store.accounts.find(who.id))!.passwordMustChange).toBe(true);
    expect(returned(await choose(agent, answer, chosen)).code).toBeDefined();
  });

  test('is not replaced by itself', async () => {
    const { who, agent, page } = await atTheChoice();
    for (const typed of [
      who.password,
      who.password.toUpperCase(),
      who.password[0]!.toUpperCase() + who.password.slice(1),
    ]) {
      expect(problemOn(await choose(agent, page, typed))).toBe('Choose a password other than the one-time password.');
    }
  });

  test('is not replaced by the person’s own address, however it is spelled', async () => {
    const { who, agent, page } = await atTheChoice();
    for (const typed of [who.email, who.email.toUpperCase(), `${who.email}!!`, who.email.replace('@', '.')]) {
      expect(problemOn(await choose(agent, page, typed))).toMatch(/^This password is made of your name or address/);
    }
  });

  test('is for one use: of two sign-ins that proved it, the second cannot choose any more', async () => {
    const { who, agent, page } = await atTheChoice();
    const thief = new UserAgent(server.issuer);
    const theirs = await enter(thief, await open(thief), who);
    expect(returned(await choose(agent, page, chosen)).code).toBeDefined();
    const late = await choose(thief, theirs, 'what the thief would like');
    expect([late.status, late.url.startsWith(server.issuer)]).toEqual([400, true]);
    const passwordHash = (await server.store.accounts.find(who.id))!.passwordHash!;
    expect(await bcrypt.compare(chosen, passwordHash)).toBe(true);
  });

  test('that an administrator replaced meanwhile is good for nothing, not even half-way through', async () => {
    const { who, agent, page } = await atTheChoice();
    const another = await bcrypt.hash(oneTimePassword(), 4);
    await server.store.accounts.setPassword(who.id, another, { mustChange: true, actor: 'test' });
    expect((await choose(agent, page, chosen)).status).toBe(400);
    expect((await server.store.accounts.find(who.id))!.passwordMustChange).toBe(true);
  });

  test('chosen in two tabs at the same moment, one choice counts', async () => {
    const { who, agent, page } = await atTheChoice();
    const choices = ['the first of two choices', 'the second of two choices'];
    const answers = await Promise.all(choices.map((choice) => choose(agent, page, choice)));
    const won = answers.filter((answer) => returned(answer).code !== undefined);
    expect(won.length).toBeLessThanOrEqual(1);
    const passwordHash = (await server.store.accounts.find(who.id))!.passwordHash!;
    const right = await Promise.all(choices.map((choice) => bcrypt.compare(choice, passwordHash)));
    expect(right.filter(Boolean)).toHaveLength(1);
  });
});

describe('an account is disabled', () => {
  test('between the password and the code: no code, the sign-in page again', async () => {
    const who = await newPerson();
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    const { pathname } = new URL(page.url);
    const accepted = await agent.request(pathname, { form: { email: who.email, password: who.password } });
    await server.store.accounts.setDisabled(who.id, true, 'test');
    const answer = await agent.visit(accepted.headers.get('location')!);
    expect([answer.status, answer.body.includes('name="password"')]).toEqual([200, true]);
  });

  test('while its session lives: the next sign-in asks who is there, prompt=none is login_required', async () => {
    const who = await newPerson();
    const agent = new UserAgent(server.issuer);
    await enter(agent, await open(agent), who);
    await server.store.accounts.setDisabled(who.id, true, 'test');
    expect(returned(await open(agent, { prompt: 'none' })).error).toBe('login_required');
    const page = await open(agent);
    expect([page.status, page.body.includes('name="password"')]).toEqual([200, true]);
    expect((await enter(agent, page, who)).status).toBe(400);
  });

  test('while it is choosing a password: nothing is chosen', async () => {
    const who = await newPerson({ password: oneTimePassword(), mustChange: true });
    const agent = new UserAgent(server.issuer);
    const page = await enter(agent, await open(agent), who);
    await server.store.accounts.setDisabled(who.id, true, 'test');
    const chosen = 'x'.repeat(12);
    expect((await agent.submit(page, { new_password: chosen, new_password_again: chosen })).status).toBe(400);
    expect((await server.store.accounts.find(who.id))!.passwordMustChange).toBe(true);
  });
});
