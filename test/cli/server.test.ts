import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort } from '../support/ports.ts';
import { ordersApi, person, secret, startSignet, type TestServer } from '../support/signet.ts';
import { statusBit } from '../support/status.ts';
import { authorizationRequest, signIn, tokenRequest, UserAgent } from '../support/user-agent.ts';
import { openTerminal, type Terminal } from './terminal.ts';

let directory: string;
let server: TestServer;
let terminal: Terminal;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'signet-cli-'));
  server = await startSignet({ directory });
  terminal = await openTerminal({ directory, env: { SIGNET_ISSUER: server.issuer } });
});

afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

async function serviceToken(clientId: string, clientSecret: string) {
  return tokenRequest(
    server.issuer,
    { grant_type: 'client_credentials', resource: ordersApi, scope: 'orders:read' },
    { clientId, secret: clientSecret },
  );
}

/** Whether these words at the sign-in page lead back to the application. */
async function canSignIn(email: string, password: string): Promise<boolean> {
  const agent = new UserAgent(server.issuer);
  const page = await agent.visit(authorizationRequest(server.issuer, { resource: ordersApi }).url);
  const answer = await agent.submit(page, { email, password });
  return new URL(answer.url).origin !== new URL(server.issuer).origin;
}

describe('a command works on the database of a running server', () => {
  test('a person who is disabled can no longer sign in, and can when enabled', async () => {
    const password = 'a password of some length';
    await terminal.signet('accounts add ann@example.com --password-stdin', { input: password });
    expect(await canSignIn('ann@example.com', password)).toBe(true);
    await terminal.signet('accounts disable ann@example.com');
    expect(await canSignIn('ann@example.com', password)).toBe(false);
    await terminal.signet('accounts enable ann@example.com');
    expect(await canSignIn('ann@example.com', password)).toBe(true);
  });

  test('a one-time password is good for choosing another one, not for going on to the application', async () => {
    const { document } = await terminal.signet('accounts add joe@example.com --json');
    const agent = new UserAgent(server.issuer);
    const page = await agent.visit(authorizationRequest(server.issuer, { resource: ordersApi }).url);
    const answer = await agent.submit(page, { email: 'joe@example.com', password: document.oneTimePassword });
    expect(answer.headers.get('location')).toBeNull();
    expect(answer.body).toContain('new-password');
  });

  test('a registered service gets tokens with the secret that was printed', async () => {
    await terminal.write(
      'signet.yaml',
      JSON.stringify({
        apis: [{ audience: ordersApi, name: 'Orders', scopes: { 'orders:read': 'See' } }],
      }),
    );
    const { document } = await terminal.signet([
      'clients',
      'add',
      '--name',
      'Export',
      '--id',
      'export',
      '--type',
      'service',
      '--access',
      `${ordersApi}=orders:read`,
      '--json',
    ]);
    expect((await serviceToken('export', document.secret)).status).toBe(200);
    expect((await serviceToken('export', `${document.secret}x`)).status).toBe(401);
  });

  test('a grant that is revoked, and a person who is signed out, are refused by the server at once', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const refresh = () =>
      tokenRequest(server.issuer, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
    const { document } = await terminal.signet(`grants list ${person.email} --json`);
    const { grantId } = document.grants.at(-1);
    expect((await terminal.signet(['grants', 'revoke', grantId, '--json'])).document).toEqual({
      grantId,
      accountId: server.accountId,
      clientId: 'spa',
    });
    expect((await refresh()).status).toBe(400);
    await expect.poll(() => statusBit(tokens.access_token), { timeout: 5_000 }).toBe(1);

    const { tokens: others } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    expect((await terminal.signet(`accounts sign-out ${person.email} --json`)).document.grantsEnded).toBeGreaterThan(0);
    await expect.poll(() => statusBit(others.access_token), { timeout: 5_000 }).toBe(1);
  });

  test('roles set here are in the next token', async () => {
    await terminal.signet(`accounts roles ${person.email} --set buyer,auditor`);
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const { document } = await terminal.signet(['verify', tokens.access_token, '--audience', ordersApi, '--json']);
    expect(document.claims.roles).toEqual(['buyer', 'auditor']);
  });

  test('a revoked key leaves the JWKS, and another one signs', async () => {
    const published = async () => {
      const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: { kid: string }[] };
      return keys.map(({ kid }) => kid);
    };
    const [kid, next] = await published();
    const { document } = await terminal.signet(['keys', 'revoke', kid!, '--reason', 'a drill', '--json']);
    expect(document.activeKid).toBe(next);
    await vi.waitFor(async () => expect(await published()).toEqual([next, expect.any(String)]), { timeout: 15_000 });
    expect(await published()).not.toContain(kid);
  });
});

describe('a token is verified from the command line', () => {
  let token: string;
  beforeAll(async () => {
    token = (await serviceToken('service', secret)).body.access_token;
  });

  test('its claims are printed, and whether the audience was looked at', async () => {
    const said = await terminal.signet(['verify', '-'], { input: `${token}\n` });
    expect(said.out).toMatch(/^The token is valid\.\n/);
    expect(said.out).toMatch(/ {2}client_id +service\n/);
    expect(said.out).toMatch(/ {2}exp +\d{4}-\d\d-\d\dT/);
    expect(said.err).toContain('note: the audience was not checked');
    const checked = await terminal.signet(['verify', token, '--audience', ordersApi, '--json']);
    const document = { valid: true, audienceChecked: true, claims: { aud: ordersApi } };
    expect(checked).toMatchObject({ exitCode: 0, err: '', document });
  });

  test.each([
    ['another audience', () => [token, '--audience', 'https://other.example.com'], 'wrong_audience'],
    ['a changed signature', () => [`${token.slice(0, -8)}AAAAAAAA`], 'bad_signature'],
    ['something else', () => ['no-token'], 'malformed'],
    ['another issuer', () => [token, '--issuer', 'https://other.example.com'], 'wrong_issuer'],
  ])('%s: exit code 1, and the reason as a code', async (_what, words, code) => {
    const { exitCode, document } = await terminal.signet(['verify', ...words(), '--json']);
    expect({ exitCode, code: document.error.code }).toEqual({ exitCode: 1, code });
  });

  test('an ID token is refused, and the hint says which token services accept', async () => {
    const { tokens } = await signIn(server.issuer, { parameters: { resource: ordersApi } });
    const { exitCode, err } = await terminal.signet(['verify', tokens.id_token]);
    expect(err).toMatch(/^error: the token is not valid: .* \(wrong_type\)\nhint: services accept access tokens alone/);
    expect(exitCode).toBe(1);
  });

  test('an issuer that does not answer is told from a bad token', async () => {
    const issuer = `http://localhost:${await freePort()}`;
    const body = { ...JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()), iss: issuer };
    const [header, , signature] = token.split('.');
    const elsewhere = [header, Buffer.from(JSON.stringify(body)).toString('base64url'), signature].join('.');
    const { exitCode, err } = await terminal.signet(['verify', elsewhere, '--issuer', issuer]);
    expect(err).toContain(`error: the keys of ${issuer} cannot be fetched`);
    expect(err).toContain('hint: is the server running');
    expect(exitCode).toBe(1);
  });
});
