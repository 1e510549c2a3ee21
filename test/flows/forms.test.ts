// The two requests that an application may also send as a form (OIDC Core §3.1.2.1, RP-Initiated Logout §2), from a page
// of its own, and so from another site. What a browser does with it is in test/browser/forms.test.ts.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callback, startSignet, type TestServer } from '../support/signet.ts';
import {
  type Answer,
  authorizationRequest,
  redemption,
  signIn,
  tokenRequest,
  UserAgent,
} from '../support/user-agent.ts';
import { elementsOf, textOf } from '../web/html.ts';

const after = 'https://app.example.com/';
const elsewhere = { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example.com' };

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

const formOf = (url: string) => Object.fromEntries(new URL(url).searchParams);

/** As a page of another site sends it: without the cookies, which are SameSite=Lax. */
const post = (path: string, form: Record<string, string>, headers: Record<string, string> = elsewhere) =>
  new UserAgent(server.issuer).request(path, { form, headers });

/** Follows the answer in the browser that has the cookies. */
async function goOn(agent: UserAgent, answer: Answer): Promise<Answer> {
  const location = answer.headers.get('location');
  if (location !== null) return agent.visit(location);
  return agent.submit(answer, {});
}

// Some bytes, and more than fit an address that every proxy passes on.
const lengths: Array<[string, string]> = [
  ['short', 'kept'],
  ['long', 'k'.repeat(8000)],
];

describe.each(lengths)('a %s form', (_name, state) => {
  test('asks for a sign-in, and the session counts', async () => {
    const { agent } = await signIn(server.issuer);
    const request = authorizationRequest(server.issuer, { state });
    const back = await goOn(agent, await post('/auth', formOf(request.url)));
    const answer = new URL(back.headers.get('location')!);
    expect(answer.href).toMatch(/^https:\/\/app\.example\.com\/callback\?/);
    expect(answer.searchParams.get('state')).toBe(state);
    const code = answer.searchParams.get('code')!;
    expect(await tokenRequest(server.issuer, redemption(request, code))).toMatchObject({ status: 200 });
  });

  test('asks a person to sign in who is not', async () => {
    const agent = new UserAgent(server.issuer);
    const page = await goOn(agent, await post('/auth', formOf(authorizationRequest(server.issuer, { state }).url)));
    const back = await agent.submit(page, { email: 'ada@example.com', password: 'a long enough password' });
    expect(new URL(back.headers.get('location')!).searchParams.get('code')).toBeTruthy();
  });

  test('asks for a sign-out, which the person confirms', async () => {
    const { agent } = await signIn(server.issuer);
    const form = {
      client_id: 'spa',
      post_logout_redirect_uri: after,
      state: state.slice(0, 2000),
      logout_hint: 'x'.repeat(500),
    };
    const page = await goOn(agent, await post('/session/end', form));
    expect(textOf(page.body, 'h1')).toBe('Sign out?');
    const done = await agent.submit(page, { logout: 'yes' });
    expect(done.headers.get('location')).toBe(`${after}?state=${form.state}`);
  });

  test('is answered with what is wrong with it as an address would be', async () => {
    const request = authorizationRequest(server.issuer, { state, prompt: 'maybe', response_mode: 'fragment' });
    const back = await goOn(new UserAgent(server.issuer), await post('/auth', formOf(request.url)));
    const told = new URLSearchParams(new URL(back.headers.get('location')!).hash.slice(1));
    expect(Object.fromEntries(told)).toMatchObject({ error: 'invalid_request', state, iss: server.issuer });
  });
});

describe('a form too long for an address', () => {
  const long = () => formOf(authorizationRequest(server.issuer, { state: `"><script>&amp;${'k'.repeat(4000)}` }).url);

  test('is sent again by a page of ours, as it is', async () => {
    const form = long();
    const page = await post('/auth', form);
    expect([page.status, page.headers.get('cache-control'), textOf(page.body, 'button')]).toEqual([
      200,
      'no-store',
      'Continue',
    ]);
    expect(page.headers.get('content-security-policy')).not.toContain('form-action');
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    const elements = elementsOf(page.body).map(({ tag, attributes }) => ({ tag, attributes }));
    const hidden = elements.filter(({ attributes }) => attributes.get('type') === 'hidden');
    const fields = hidden.map(({ attributes }) => [attributes.get('name'), attributes.get('value')]);
    expect(Object.fromEntries(fields)).toEqual(form);
    expect(elements.filter(({ tag }) => tag === 'script')).toHaveLength(1);
  });

  test.each<[string, Record<string, string>]>([
    ['our own page', { 'Sec-Fetch-Site': 'same-origin', Origin: 'https://forged.example' }],
    ['a page of our site', { 'Sec-Fetch-Site': 'same-site' }],
    ['a program, or a browser that says nothing', { 'Sec-Fetch-Site': '' }],
  ])('is answered at once to %s', async (_who, headers) => {
    const answer = await post('/auth', long(), headers);
    expect([answer.status, answer.headers.get('location')]).toEqual([303, expect.stringMatching(/^\/sign-in\//)]);
  });

  test('of an old browser is told from a page of ours by its Origin', async () => {
    const foreign = await post('/auth', long(), { 'Sec-Fetch-Site': '', Origin: 'null' });
    expect([foreign.status, textOf(foreign.body, 'h1')]).toEqual([200, 'One moment']);
    const own = await post('/auth', long(), { 'Sec-Fetch-Site': '', Origin: server.issuer });
    expect(own.status).toBe(303);
  });
});

describe('what is no form that can be read', () => {
  const send = (path: string, body: string | Uint8Array, type = 'application/x-www-form-urlencoded', more = {}) =>
    fetch(server.issuer + path, {
      method: 'POST',
      redirect: 'manual',
      body,
      headers: { 'Content-Type': type, Accept: 'application/json', ...more },
    });

  test.each(['/auth', '/session/end'])('is refused: %s', async (path) => {
    for (const [body, type, more, status] of [
      ['{}', 'application/json', {}, 415],
      ['a=b', 'text/plain', {}, 415],
      ['a=b', 'application/x-www-form-urlencoded; charset=utf-16', {}, 415],
      ['a=b', 'application/x-www-form-urlencoded', { 'Content-Encoding': 'gzip' }, 415],
      [new Uint8Array([97, 61, 0xff]), 'application/x-www-form-urlencoded', {}, 400],
      [`state=${'x'.repeat(60_000)}`, 'application/x-www-form-urlencoded', {}, 413],
    ] as const) {
      const answer = await send(path, body, type, more);
      expect([answer.status, answer.headers.get('location')], String(body).slice(0, 20)).toEqual([status, null]);
    }
  });

  test('a field twice is told to the application, or to the person', async () => {
    const { url } = authorizationRequest(server.issuer);
    const twice = `${new URL(url).search.slice(1)}&nonce=again`;
    const { headers } = await fetch(`${server.issuer}${(await send('/auth', twice)).headers.get('location')}`, {
      redirect: 'manual',
    });
    expect(headers.get('location')).toContain('error=invalid_request');
    const there = (await send('/session/end', 'client_id=spa&client_id=web')).headers.get('location')!;
    expect((await fetch(server.issuer + there)).status).toBe(400);
  });

  test('what stands in the address beside a form is not read', async () => {
    const { url } = authorizationRequest(server.issuer);
    const answer = await send(`/auth?redirect_uri=https://attacker.example`, new URL(url).search.slice(1));
    expect(answer.headers.get('location')).toContain(encodeURIComponent(callback));
    expect(answer.headers.get('location')).not.toContain('attacker');
  });
});
