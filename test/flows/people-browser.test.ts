import { request as httpRequest } from 'node:http';
import bcrypt from 'bcrypt';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { cookiePrefix } from '../../src/web/cookies.ts';
import { enter, openSignIn, passHours, returned } from '../support/pages.ts';
import { callback, person, startSignet, type TestServer } from '../support/signet.ts';
import { authorizationRequest, decode, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());
afterEach(() => {
  vi.useRealTimers();
});

const open = (agent: UserAgent, parameters: Record<string, string | undefined> = {}) =>
  openSignIn(server.issuer, agent, parameters);

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
    const headers = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [name, value.replace('ISSUER', server.issuer)]),
    );
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
    const before = agent.cookie('session')!;
    await enter(agent, await open(agent, { prompt: 'login' }), person);
    expect(agent.cookie('session')).not.toBe(before);
    const name = `${cookiePrefix(server.issuer)}session`;
    const fixed = new UserAgent(server.issuer);
    const answer = await fixed.visit(authorizationRequest(server.issuer, { prompt: 'none' }).url, {
      headers: { Cookie: `${name}=${before}; ${name}.sig=${agent.cookie('session.sig')}` },
    });
    expect(returned(answer).error).toBe('login_required');
  });

  test('an unsigned or made-up session is no session', async () => {
    const { agent } = await signIn(server.issuer);
    const name = `${cookiePrefix(server.issuer)}session`;
    const value = agent.cookie('session')!;
    for (const cookie of [`${name}=${value}`, `${name}=${value}; ${name}.sig=AAAA`]) {
      const answer = await new UserAgent(server.issuer).visit(
        authorizationRequest(server.issuer, { prompt: 'none' }).url,
        { headers: { Cookie: cookie } },
      );
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
    const answer = await agent.visit(theirs.url, {
      headers: { Cookie: `${cookiePrefix(server.issuer)}sign_in_${uid}=${value}` },
    });
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
    const second = { email: 'grace@example.com', password: person.password };
    const { id } = await server.store.accounts.create(
      { email: second.email, roles: [], passwordHash: await bcrypt.hash(second.password, 4) },
      'test',
    );
    const request = authorizationRequest(server.issuer, { prompt: 'login' });
    const between = await enter(agent, await agent.visit(request.url), second);
    const { code } = returned(await agent.submit(between, {}));
    const { body } = await tokenRequest(server.issuer, {
      grant_type: 'authorization_code',
      code: code!,
      redirect_uri: callback,
      code_verifier: request.verifier,
    });
    expect(decode(body.id_token).payload.sub).toBe(id);
    const old = await tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
    expect(old.body.error).toBe('invalid_grant');
  });
});

describe('an application that wants the account chosen (OpenID Connect Core §3.1.2.1, prompt=select_account)', () => {
  test.each(['select_account', 'select_account login'])('has somebody who is signed in sign in: %s', async (prompt) => {
    const { agent } = await signIn(server.issuer);
    const request = authorizationRequest(server.issuer, { prompt });
    const page = await agent.visit(request.url);
    expect(page.body).toContain('Sign in</h1>');
    expect(returned(await enter(agent, page, person)).code).toBeDefined();
  });

  test('is refused where nothing may be asked', async () => {
    const { agent } = await signIn(server.issuer);
    const answer = await agent.visit(authorizationRequest(server.issuer, { prompt: 'select_account none' }).url);
    expect(returned(answer).error).toBe('invalid_request');
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
    const expires = /signet_\d+_sign_in_.*expires=([^;]+)/i.exec(headers.getSetCookie().join('\n'))![1]!;
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
