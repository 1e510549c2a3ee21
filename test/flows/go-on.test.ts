// Pages that ask nothing of a person but to go on: a script presses the button, and without JavaScript the person does.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSignet, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, signIn, UserAgent } from '../support/user-agent.ts';
import { elementsOf, textOf } from '../web/html.ts';

const grace = { email: 'grace@example.com', password: 'another long password' };

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
  const passwordHash = await server.store.passwords.hash(grace.password);
  await server.store.accounts.create({ email: grace.email, name: 'Grace', roles: [], passwordHash }, 'test');
});
afterAll(() => server.close());

const visitor = () => new UserAgent(server.issuer);

/** Somebody is signed in, and another person signs in in the same browser. */
async function signInAsAnother(): Promise<{ agent: UserAgent; page: Answer }> {
  const { agent } = await signIn(server.issuer);
  const form = await agent.visit(authorizationRequest(server.issuer, { prompt: 'login' }).url);
  return { agent, page: await agent.submit(form, grace) };
}

const pages: Array<[name: string, formAction: string, ask: () => Promise<Answer>]> = [
  [
    'an answer by form_post',
    'https:',
    async () => {
      const { agent } = await signIn(server.issuer);
      return agent.request(authorizationRequest(server.issuer, { response_mode: 'form_post' }).url);
    },
  ],
  [
    'an error by form_post',
    'https:',
    () => visitor().request(authorizationRequest(server.issuer, { response_mode: 'form_post', prompt: 'none' }).url),
  ],
  ['the sign-out of somebody who is not signed in', '', () => visitor().request('/session/end')],
  [
    'the same, of an application that is returned to',
    'https:',
    () => visitor().request('/session/end?client_id=spa&post_logout_redirect_uri=https://app.example.com/'),
  ],
  ['the sign-in of another person in the same browser', 'https:', async () => (await signInAsAnother()).page],
];

describe('a page that sends itself on', () => {
  test.each(pages)('is one of ours, may run our one script and nothing else: %s', async (_name, formAction, ask) => {
    const page = await ask();
    expect(page.headers.get('content-security-policy')).toBe(
      [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "script-src 'self'",
        `form-action 'self' ${formAction}`.trim(),
        "frame-ancestors 'none'",
        "base-uri 'none'",
      ].join('; '),
    );
    expect(page.headers.get('cache-control')).toBe('no-store');
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');

    const elements = elementsOf(page.body);
    const [script, ...others] = elements.filter(({ tag }) => tag === 'script');
    expect(others).toEqual([]);
    const asset = await fetch(server.issuer + script!.attributes.get('src')!);
    expect([asset.status, asset.headers.get('content-type')]).toEqual([200, 'text/javascript; charset=utf-8']);
    expect(await asset.text()).toContain('submit()');
    expect(elements.find(({ tag }) => tag === 'html')!.attributes.get('lang')).toBe('en');
    expect(elements.some(({ attributes }) => attributes.get('name') === 'viewport')).toBe(true);
    expect(textOf(page.body, 'button')).toBe('Continue');
  });

  test('hands the code to the application, with its state and the issuer (RFC 9207)', async () => {
    const { agent } = await signIn(server.issuer);
    const state = `<"'&>`;
    const page = await agent.request(authorizationRequest(server.issuer, { response_mode: 'form_post', state }).url);
    expect([page.status, textOf(page.body, 'p')]).toEqual([200, expect.stringContaining('taken to Orders')]);
    expect(formOf(page)).toEqual({
      action: 'https://app.example.com/callback',
      fields: { code: expect.stringMatching(/^[\w-]{43}$/), state, iss: server.issuer },
    });
  });

  test('hands the application an error the same way', async () => {
    const request = authorizationRequest(server.issuer, { response_mode: 'form_post', prompt: 'none' });
    const page = await visitor().request(request.url);
    expect(page.status).toBe(400);
    expect(formOf(page).fields).toMatchObject({ error: 'login_required', state: request.state, iss: server.issuer });
  });

  test('ends nothing for somebody who is not signed in, and goes where the application asked', async () => {
    const agent = visitor();
    const to = { client_id: 'spa', post_logout_redirect_uri: 'https://app.example.com/', state: 'kept' };
    const back = await agent.submit(await agent.visit(`/session/end?${new URLSearchParams(to)}`), {});
    expect(back.headers.get('location')).toBe('https://app.example.com/?state=kept');
    const done = await agent.submit(await agent.visit('/session/end'), {});
    expect([done.status, textOf(done.body, 'h1')]).toEqual([200, 'You are signed out']);
  });

  test('ends the session of who was signed in, and the sign-in of the other person goes on', async () => {
    const { agent, page } = await signInAsAnother();
    const back = await agent.submit(page, {});
    expect(new URL(back.url).searchParams.get('code')).toBeTruthy();
    const signOut = await agent.visit('/session/end');
    expect(signOut.body).toContain(grace.email);
  });
});

function formOf({ body }: Answer): { action: string | undefined; fields: Record<string, string | undefined> } {
  const elements = elementsOf(body).map(({ tag, attributes }) => ({ tag, attributes }));
  const hidden = elements.filter(({ attributes }) => attributes.get('type') === 'hidden');
  return {
    action: elements.find(({ tag }) => tag === 'form')?.attributes.get('action'),
    fields: Object.fromEntries(hidden.map(({ attributes }) => [attributes.get('name'), attributes.get('value')])),
  };
}
