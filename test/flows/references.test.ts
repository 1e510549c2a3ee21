// The reference on an error page leads to what happened: a line in the log, and an event with what was refused.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startSignet, type TestServer } from '../support/signet.ts';
import { type Answer, authorizationRequest, signIn, UserAgent } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

const referenceOn = ({ body }: Answer) => /<dt>Reference<\/dt><dd><code>([0-9a-f]{16})</.exec(body)?.[1];
const linesOf = (reference: string) =>
  server
    .logged()
    .split('\n')
    .filter((line) => line.includes(reference));
const eventsOf = (reference: string) => server.store.audit.list({ reference });
const auth = (parameters: Record<string, string>) => authorizationRequest(server.issuer, parameters).url;
const endSession = (parameters: Record<string, string>) => `/session/end?${new URLSearchParams(parameters)}`;

describe('a page that says "quote this"', () => {
  test.each([
    [
      'an address that is not registered',
      { redirect_uri: 'https://app.example.com/callback2' },
      { redirectUri: 'https://app.example.com/callback2' },
    ],
    [
      'one with what a screen would obey, and too long',
      { redirect_uri: `https://x.example/\u202e\u0007${'a'.repeat(300)}` },
      { redirectUri: expect.stringMatching(/^https:\/\/x\.example\/\\u\{202e\}\\u\{7\}a{100,}…$/) },
    ],
    [
      'one that carries a token',
      { redirect_uri: 'https://user:pw@x.example/?access_token=eyJhbGciOiJ.eyJzdWIi.sig&ok=1' },
      { redirectUri: 'https://…@x.example/?access_token=…&ok=1' },
    ],
    ['an application that nobody knows', { client_id: 'shopp' }, { askedClientId: 'shopp' }],
  ])('%s: one line, and one event with the value', async (_what, parameters, refused) => {
    // The first of its kind in a minute has an event of its own, from each network.
    const page = await new UserAgent(server.issuer).visit(auth(parameters));
    const reference = referenceOn(page)!;
    expect(linesOf(reference)).toEqual([expect.stringContaining('"event":"request.refused"')]);
    await expect
      .poll(() => eventsOf(reference), { timeout: 10_000 })
      .toMatchObject([{ event: 'authorization.refused', requestId: reference, detail: refused }]);
  });

  test('of a sign-out', async () => {
    const { agent, tokens } = await signIn(server.issuer);
    const there = 'https://app.example.com/elsewhere';
    const page = await agent.visit(endSession({ id_token_hint: tokens.id_token, post_logout_redirect_uri: there }));
    const reference = referenceOn(page)!;
    expect(linesOf(reference)).toHaveLength(1);
    await expect
      .poll(() => eventsOf(reference), { timeout: 10_000 })
      .toMatchObject([{ event: 'session.end_refused', detail: { postLogoutRedirectUri: there } }]);
  });

  test.each(['/nowhere', '/%00'])('%s: one line', async (path) => {
    const page = await new UserAgent(server.issuer).visit(path);
    expect(linesOf(referenceOn(page)!)).toHaveLength(1);
  });

  test.each(['constructor', '__proto__'])('of a scope that has the name of something else: %s', async (scope) => {
    const { headers } = await new UserAgent(server.issuer).request(
      authorizationRequest(server.issuer, { scope, resource: 'https://orders.example.com' }).url,
    );
    const event = await vi.waitFor(
      async () => {
        const [found] = await eventsOf(headers.get('x-request-id')!);
        expect(found).toBeDefined();
        return found!;
      },
      { timeout: 10_000 },
    );
    expect(event.detail).toMatchObject({ scope });
    expect(JSON.stringify(event)).not.toMatch(/native code|\[object /);
  });

  test.each([
    ['a form from another site', 'cross_site_form', { 'Sec-Fetch-Site': 'cross-site' }, { password: 'x' }],
    ['a form that is too large', 'form_too_large', {}, { password: 'x'.repeat(20_000) }],
    ['a form in another encoding', 'unsupported_form', { 'Content-Type': 'text/plain' }, { password: 'x' }],
  ])('of %s: one line and one event, without what was typed', async (_what, code, headers, form) => {
    const agent = new UserAgent(server.issuer);
    const { url } = await agent.visit(auth({}));
    const page = await agent.request(url, { form, headers });
    const reference = referenceOn(page)!;
    expect(linesOf(reference)).toEqual([expect.stringContaining('"event":"request.refused"')]);
    await expect
      .poll(() => eventsOf(reference), { timeout: 10_000 })
      .toMatchObject([
        { event: 'request.refused', detail: { error: code, method: 'POST', path: new URL(url).pathname } },
      ]);
  });

  test('also of what the application was told', async () => {
    const answer = await new UserAgent(server.issuer).request(auth({ prompt: 'consentt' }));
    const reference = answer.headers.get('x-request-id')!;
    await expect
      .poll(() => eventsOf(reference), { timeout: 10_000 })
      .toMatchObject([{ event: 'authorization.refused', detail: { prompt: 'consentt' } }]);
  });
});
