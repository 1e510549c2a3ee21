// A secret in both ways is refused (RFC 6749 §2.3), and whoever reads the answer learns what to change.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { secret, startSignet, type TestServer } from '../support/signet.ts';
import { signIn, tokenRequest } from '../support/user-agent.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startSignet();
});
afterAll(() => server.close());

test.each(['/token', '/token/introspection', '/token/revocation'])('at %s', async (path) => {
  const { tokens } = await signIn(server.issuer, { clientId: 'web' });
  const response = await fetch(`${server.issuer}${path}`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`web:${secret}`)}` },
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token,
      token: tokens.refresh_token,
      client_id: 'web',
      client_secret: secret,
    }),
  });
  expect(response.status).toBe(400);
  const body = (await response.json()) as { error: string; error_description: string };
  expect(body.error).toBe('invalid_request');
  expect(body.error_description).toMatch(/Authorization header and in the form.*auto_refresh_kwargs.*Flask-Dance/);
  expect(body.error_description).not.toContain(secret);
  const again = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
  expect(await tokenRequest(server.issuer, again, { clientId: 'web', secret })).toMatchObject({ status: 200 });
});
