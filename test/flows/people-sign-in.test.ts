import { request as httpRequest } from 'node:http';
import bcrypt from 'bcrypt';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { oneTimePassword } from '../../src/signin/password.ts';
import { callback, person, startSignet, type TestServer } from '../support/signet.ts';
import {
  authorizationRequest, authorize, decode, signIn, tokenRequest, UserAgent, type Answer,
} from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => { server = await startSignet(); });
afterAll(() => server.close());
afterEach(() => { vi.useRealTimers(); });

let people = 0;

/** An account of its own for one test: failures of one person are no other's. */
async function newPerson({ password = person.password, mustChange = false } = {}) {
  people += 1;
  const email = `person-${String(people).padStart(3, '0')}@example.com`;
  const account = await server.store.accounts.create(
    { email, roles: [], passwordHash: await bcrypt.hash(password, 4), passwordMustChange: mustChange }, 'test');
  return { id: account.id, email, password };
}

const open = (agent: UserAgent, parameters: Record<string, string | undefined> = {}) =>
  agent.visit(authorizationRequest(server.issuer, parameters).url);

const enter = (agent: UserAgent, page: Answer, { email, password }: { email: string; password: string }) =>
  agent.submit(page, { email, password });

const returned = ({ url }: Answer) => Object.fromEntries(new URL(url).searchParams);

function passHours(hours: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * 3_600_000 });
}

const problemOn = ({ body }: Answer) => /role="alert">.*?<span>(.*?)<\/span>/s.exec(body)?.[1];

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
    expect([page.status, page.headers.get('retry-after'), problemOn(page)])
      .toEqual([429, '1', 'Too many attempts. Try again in 1 second.']);
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
      { email: 'rehash@example.com', roles: [], passwordHash: await bcrypt.hash(person.password, 6) }, 'test');
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
      client_id: 'device', redirect_uri: 'com.example.desktop:/callback' });
    expect(scheme.headers.get('content-security-policy')).toContain("form-action 'self' com.example.desktop:;");
  });
});

describe('what the application asks of the sign-in', () => {
  test('prompt=none never shows a page: login_required before a sign-in, a code after it', async () => {
    const agent = new UserAgent(server.issuer);
    expect(returned(await open(agent, { prompt: 'none' })))
      .toMatchObject({ error: 'login_required', iss: server.issuer });
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
      grant_type: 'authorization_code', code: code!, redirect_uri: callback, code_verifier: request.verifier });
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
    expect(agent.cookies.has('signet_session')).toBe(false);
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
  ])('is not replaced by a password that is %s, which the page says', async (_what, one, other, sentence) => {
    const { who, agent, page } = await atTheChoice();
    const answer = await choose(agent, page, one, other);
    expect([answer.status, problemOn(answer)]).toEqual([400, sentence]);
    expect((await server.store.accounts.find(who.id))!.passwordMustChange).toBe(true);
    expect(returned(await choose(agent, answer, chosen)).code).toBeDefined();
  });

  test('is not replaced by itself', async () => {
    const { who, agent, page } = await atTheChoice();
    expect(problemOn(await choose(agent, page, who.password)))
      .toBe('Choose a password other than the one-time password.');
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

describe('a form that does not come from our page', () => {
  const form = { email: person.email, password: person.password };

  test.each([
    ['from another site', { 'Sec-Fetch-Site': 'cross-site' }],
    ['from a sibling host', { 'Sec-Fetch-Site': 'same-site' }],
    ['typed into the address bar', { 'Sec-Fetch-Site': 'none' }],
    ['from another origin, in an older browser', { 'Sec-Fetch-Site': '', Origin: 'https://evil.example' }],
    ['from a sandboxed frame', { 'Sec-Fetch-Site': '', Origin: 'null' }],
    ['from nowhere', { 'Sec-Fetch-Site': '' }],
    ['from another site that claims our origin', { 'Sec-Fetch-Site': 'cross-site', Origin: 'ISSUER' }],
  ])('%s is refused, and the sign-in goes on as if nothing had been', async (_where, given) => {
    const headers = Object.fromEntries(Object.entries(given).map(([name, value]) =>
      [name, value.replace('ISSUER', server.issuer)]));
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    const refused = await agent.request(page.url, { form, headers });
    expect([refused.status, refused.headers.get('location')]).toEqual([403, null]);
    expect(returned(await enter(agent, page, person)).code).toBeDefined();
  });

  test('is accepted from an older browser that names our own origin', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    const answer = await agent.request(page.url, { form, headers: { 'Sec-Fetch-Site': '', Origin: server.issuer } });
    expect(answer.status).toBe(303);
  });

  test.each([
    ['JSON', 'application/json', JSON.stringify(form), 415],
    ['plain text, which any page may send', 'text/plain', 'email=a&password=b', 415],
    ['multipart', 'multipart/form-data; boundary=x', '--x--', 415],
    ['another charset', 'application/x-www-form-urlencoded; charset=utf-16', 'email=a', 415],
    ['no type', '', 'email=a', 415],
    ['a field twice', 'application/x-www-form-urlencoded', `email=${person.email}&password=a&password=b`, 400],
    ['more than a form holds', 'application/x-www-form-urlencoded', `email=a&password=${'x'.repeat(20_000)}`, 413],
    ['bytes that are no UTF-8', 'application/x-www-form-urlencoded', 'email=%ff%fe&password=a', 400],
  ])('%s is refused before it is read', async (_what, type, body, status) => {
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    const cookie = [...agent.cookies].map((pair) => pair.join('=')).join('; ');
    const headers = { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin', ...(type ? { 'Content-Type': type } : {}) };
    expect(await post(page.url, body, headers)).toBe(status);
  });
});

/** Unlike fetch, sends no content type where none is given. */
function post(url: string, body: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', headers: { ...headers, 'Content-Length': Buffer.byteLength(body) } };
    const request = httpRequest(url, options, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    request.once('error', reject);
    request.end(body);
  });
}

describe('whose browser it is', () => {
  test('the session gets a new id at every sign-in, so that one planted before is worth nothing', async () => {
    const { agent } = await signIn(server.issuer);
    const before = agent.cookies.get('signet_session')!;
    await enter(agent, await open(agent, { prompt: 'login' }), person);
    expect(agent.cookies.get('signet_session')).not.toBe(before);
    const fixed = new UserAgent(server.issuer);
    const answer = await fixed.visit(authorizationRequest(server.issuer, { prompt: 'none' }).url, {
      headers: { Cookie: `signet_session=${before}; signet_session.sig=${agent.cookies.get('signet_session.sig')}` } });
    expect(returned(answer).error).toBe('login_required');
  });

  test('an unsigned or made-up session is no session', async () => {
    const { agent } = await signIn(server.issuer);
    const value = agent.cookies.get('signet_session')!;
    for (const cookie of [`signet_session=${value}`, `signet_session=${value}; signet_session.sig=AAAA`]) {
      const answer = await new UserAgent(server.issuer).visit(
        authorizationRequest(server.issuer, { prompt: 'none' }).url, { headers: { Cookie: cookie } });
      expect(returned(answer).error).toBe('login_required');
    }
  });

  test('the address of a sign-in alone continues it in no other browser, neither its form nor its end', async () => {
    const victim = new UserAgent(server.issuer);
    const page = await open(victim);
    const uid = new URL(page.url).pathname.split('/')[2]!;
    const name = [...victim.cookies.keys()].find((each) => each.includes(uid))!;
    const accepted = await victim.request(page.url, { form: { email: person.email, password: person.password } });
    for (const made of ['', uid, 'A'.repeat(43), victim.cookies.get(name)!.slice(0, -1)]) {
      const thief = new UserAgent(server.issuer);
      const headers: Record<string, string> = made === '' ? {} : { Cookie: `${name}=${made}` };
      for (const path of [`/sign-in/${uid}`, `/auth/${uid}`]) {
        const answer = await thief.visit(path, { headers });
        expect([answer.status, answer.url.startsWith(server.issuer)]).toEqual([400, true]);
      }
      const form = { email: 'mallory@example.com', password: person.password };
      expect((await thief.request(`/sign-in/${uid}`, { form, headers })).status).toBe(400);
    }
    expect(returned(await victim.visit(accepted.headers.get('location')!)).code).toBeDefined();
  });

  test('a cookie of one sign-in does not open another', async () => {
    const agent = new UserAgent(server.issuer);
    const [mine, theirs] = [await open(agent), await open(new UserAgent(server.issuer))];
    const uid = new URL(theirs.url).pathname.split('/')[2];
    const value = [...agent.cookies].find(([name]) => name.includes(new URL(mine.url).pathname.split('/')[2]!))![1];
    const answer = await agent.visit(theirs.url, { headers: { Cookie: `signet_sign_in_${uid}=${value}` } });
    expect(answer.status).toBe(400);
  });

  test('two tabs sign in side by side, and both come to their end', async () => {
    const agent = new UserAgent(server.issuer);
    const first = authorizationRequest(server.issuer);
    const second = authorizationRequest(server.issuer, { client_id: 'web' });
    const pages = [await agent.visit(first.url), await agent.visit(second.url)];
    const answers = [await enter(agent, pages[1]!, person), await enter(agent, pages[0]!, person)];
    expect(answers.map((answer) => returned(answer).state)).toEqual([second.state, first.state]);
    for (const answer of answers) expect(returned(answer).code).toBeDefined();
  });

  test('more sign-ins than a person has in mind stay within a request header; the newest ten go on', async () => {
    const agent = new UserAgent(server.issuer);
    const pages = [];
    for (let tab = 0; tab < 15; tab += 1) pages.push(await open(agent));
    const header = [...agent.cookies].map((pair) => pair.join('=')).join('; ');
    expect(agent.cookies.size).toBe(10);
    expect(header.length).toBeLessThan(1500);
    expect((await enter(agent, pages[0]!, person)).status).toBe(400);
    expect(returned(await enter(agent, pages[5]!, person)).code).toBeDefined();
    expect(returned(await enter(agent, pages[14]!, person)).code).toBeDefined();
  });

  test('a second person at the same browser takes over: the first session ends, the code is the second’s', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const second = await newPerson();
    const request = authorizationRequest(server.issuer, { prompt: 'login' });
    const between = await enter(agent, await agent.visit(request.url), second);
    const { code } = returned(await agent.submit(between, {}));
    const { body } = await tokenRequest(server.issuer, {
      grant_type: 'authorization_code', code: code!, redirect_uri: callback, code_verifier: request.verifier });
    expect(decode(body.id_token).payload.sub).toBe(second.id);
    const old = await tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
    expect(old.body.error).toBe('invalid_grant');
  });
});

describe('a sign-in that cannot be continued says why, and what to do', () => {
  test('finished: the back button after a sign-in', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    await enter(agent, page, person);
    for (const answer of [await agent.visit(page.url), await enter(agent, page, person)]) {
      expect(answer.status).toBe(400);
      expect(answer.body).toContain('You already signed in here</h1>');
    }
  });

  test('expired: the page stayed open over lunch', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    passHours(1.1);
    const answer = await enter(agent, page, person);
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('has expired</h1>');
  });

  test('expired, too: the back button after it was cancelled', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await open(agent);
    await agent.submit(page, { cancel: 'yes' });
    expect((await enter(agent, page, person)).body).toContain('has expired</h1>');
  });

  test('the cookie of a sign-in outlives it, or a browser would seem to refuse cookies', async () => {
    const { headers } = await new UserAgent(server.issuer).request(authorizationRequest(server.issuer).url);
    const expires = /signet_sign_in_.*expires=([^;]+)/i.exec(headers.getSetCookie().join('\n'))![1]!;
    expect(Date.parse(expires) - Date.now()).toBeGreaterThan(12 * 3_600_000);
  });

  test('cookies: the browser kept none, at the form and at the end', async () => {
    const page = await open(new UserAgent(server.issuer));
    const uid = new URL(page.url).pathname.split('/')[2];
    for (const path of [`/sign-in/${uid}`, `/auth/${uid}`]) {
      const answer = await new UserAgent(server.issuer).visit(path, { headers: { Cookie: 'another=application' } });
      expect(answer.status).toBe(400);
      expect(answer.body).toContain('Your browser did not keep our cookie</h1>');
    }
  });
});

test('asking for sign-ins that never were does not fill the memory: no name is remembered', async () => {
  const { default: Cookies } = await import('cookies');
  const get = vi.spyOn(Cookies.prototype, 'get');
  for (let guess = 0; guess < 5; guess += 1) await new UserAgent(server.issuer).request(`/sign-in/guess-${guess}`);
  const names = get.mock.calls.map(([name]) => name);
  get.mockRestore();
  expect(names.filter((name) => String(name).includes('guess'))).toEqual([]);
});
