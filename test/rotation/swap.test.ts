// What was begun under one signing key and ends under another, at another server. No step is forced: the keyring that
// rotates here lives in a time of its own, two days of which pass between publishing a key and signing with it.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Keyring } from '../../src/keys/keyring.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import { engines } from '../support/engines.ts';
import { nextKey } from '../support/rotation.ts';
import type { TestServer } from '../support/signet.ts';
import { callback, person, startSignet } from '../support/signet.ts';
import type { Answer } from '../support/user-agent.ts';
import { authorizationRequest, decode, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';

/** Longer than keys are published ahead by default. */
const publishedAheadMs = 2 * 86_400_000;
const signedOut = 'https://app.example.com/';

describe.each(engines)('two servers on one database, $name, whose signing key changes', ({ freshUrl }) => {
  let first: TestServer;
  let second: TestServer;
  let keyring: Keyring;
  let clock: number;

  beforeAll(async () => {
    const database = await freshUrl();
    first = await startSignet({ database });
    second = await startSignet({ database, directory: first.directory, values: { issuer: first.issuer } });
    clock = Date.now();
    keyring = createKeyring({ ...first.store, now: () => clock });
  });
  afterAll(async () => {
    await second.close();
    await first.close();
  });

  /** One rotation, at its time; resolves when both servers have noticed. Answers the new key's kid. */
  async function rotate(): Promise<string> {
    const { kid } = await nextKey(keyring);
    clock += publishedAheadMs;
    await keyring.activate(kid);
    await noticed(([signing]) => signing === kid);
    return kid;
  }

  async function noticed(condition: (kids: string[]) => boolean): Promise<void> {
    for (const server of [first, second]) {
      await vi.waitFor(async () => expect(condition(await jwks(server))).toBe(true), { timeout: 15_000, interval: 20 });
    }
  }

  async function jwks({ url }: TestServer): Promise<string[]> {
    const { keys } = (await (await fetch(`${url}/jwks`)).json()) as { keys: { kid: string }[] };
    return keys.map(({ kid }) => kid);
  }

  /** The same page, its form sent to the second server. */
  const atSecond = (page: Answer): Answer => ({ ...page, url: page.url.replace(first.issuer, second.url) });

  const refresh = ({ url }: TestServer, refreshToken: string) =>
    tokenRequest(url, { grant_type: 'refresh_token', refresh_token: refreshToken });

  const endSession = (hint: string) =>
    `/session/end?${new URLSearchParams({ id_token_hint: hint, post_logout_redirect_uri: signedOut })}`;

  test('a sign-in begun at one before a change ends at the other after it, and its code after another', async () => {
    const agent = new UserAgent(first.issuer);
    const request = authorizationRequest(first.issuer);
    const page = await agent.visit(request.url);
    expect(page.body).toContain('name="password"');

    await rotate();
    const { url } = await agent.submit(atSecond(page), { email: person.email, password: person.password });
    const code = new URL(url).searchParams.get('code');
    expect(code).toEqual(expect.any(String));

    const kid = await rotate();
    const { status, body } = await tokenRequest(second.url, {
      grant_type: 'authorization_code',
      code: code!,
      code_verifier: request.verifier,
      redirect_uri: callback,
    });
    expect(status).toBe(200);
    const signers = [body.access_token, body.id_token, body.refresh_token].map((token) => decode(token).header.kid);
    expect(signers).toEqual([kid, kid, kid]);
  });

  test('a refresh token from before two rotations is good after them; its successor is of the newest key', async () => {
    const { tokens } = await signIn(first.issuer);
    const before = decode(tokens.refresh_token).header.kid;
    await rotate();
    const kid = await rotate();

    const { status, body } = await refresh(second, tokens.refresh_token);
    expect(status).toBe(200);
    expect(before).not.toBe(kid);
    expect(decode(body.refresh_token).header.kid).toBe(kid);
    // Signed by a key that has no private half any more, and still told from a forgery.
    const [header, payload] = tokens.refresh_token.split('.');
    const forged = `${header}.${payload}.${'A'.repeat(342)}`;
    expect(await refresh(first, forged)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test('an id_token_hint from before two rotations still signs out', async () => {
    const { agent, tokens } = await signIn(first.issuer);
    await rotate();
    await rotate();
    expect((await agent.visit(endSession(tokens.id_token))).headers.get('location')).toBe(signedOut);

    const silently = await agent.request(authorizationRequest(first.issuer, { prompt: 'none' }).url);
    expect(new URL(silently.headers.get('location')!).searchParams.get('error')).toBe('login_required');
    expect(await refresh(first, tokens.refresh_token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test('a hint of a revoked key proves nothing, also where that key had retired long before', async () => {
    const { agent, tokens } = await signIn(first.issuer);
    const { kid } = decode(tokens.id_token).header;
    await rotate();
    await keyring.revoke(kid, 'a backup was stolen');
    await noticed((kids) => !kids.includes(kid));
    for (const { url } of [first, second]) {
      const page = await new UserAgent(first.issuer, url).visit(endSession(tokens.id_token));
      expect([page.status, page.headers.get('location')]).toEqual([200, null]);
    }
    expect((await agent.visit(endSession(tokens.id_token))).body).toContain('Sign out?');
    const silently = await agent.request(authorizationRequest(first.issuer, { prompt: 'none' }).url);
    expect(new URL(silently.headers.get('location')!).searchParams.has('code')).toBe(true);
  });
});
