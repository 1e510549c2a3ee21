// The AuthenticationConfiguration of other-languages.md, in the authenticator of a Kubernetes API server. That accepts
// no issuer whose name is http, so it has a server of its own: named https, and asked where it listens.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/support/ports.ts';
import { declared } from '../../test/support/signet.ts';
import {
  asClient,
  authorizationRequest,
  authorize,
  redemption,
  tokenRequest,
  UserAgent,
} from '../../test/support/user-agent.ts';
import { cache, run, untilAnswering } from './contenders.ts';
import type { Cell } from './report.ts';
import { type LiveServer, startLive } from './server.ts';
import { forger, forgeries, wrongType } from './tokens.ts';

export interface Trial {
  version: string;
  /** Why there was none. */
  absent: string | undefined;
  cells: Cell[];
}

const source = fileURLToPath(new URL('kubernetes', import.meta.url));
const guide = fileURLToPath(new URL('../../docs/other-languages.md', import.meta.url));
const issuer = 'https://id.example.com';
const audience = 'https://kubernetes.example.com';

export async function kubernetes(): Promise<Trial> {
  const trial: Trial = { version: '', absent: undefined, cells: [] };
  try {
    run('go', ['build', '-o', `${cache}/kubernetes`, '.'], source);
    trial.version = run('go', ['list', '-m', 'k8s.io/apiserver'], source).trim();
  } catch (error) {
    trial.absent = (error as Error).message.split('\n')[0]!;
    return trial;
  }
  const port = await freePort();
  const api = { audience, name: 'Kubernetes' };
  const server = await startLive({
    issuer,
    listen: { port, host: '127.0.0.1' },
    apis: [...declared.apis, api],
    // What it may keep for 30 s, it asks for again as soon as a token names a key that it does not have.
    keys: { jwksMaxAge: '30s', pollEvery: '1s' },
    applications: declared.applications.map((app) => ({ ...app, access: { ...app.access, [audience]: [] } })),
  });
  try {
    await show(server, `http://127.0.0.1:${port}`, trial);
  } finally {
    await server.close();
  }
  return trial;
}

async function show(server: LiveServer, listening: string, { cells }: Trial): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'signet-kubernetes-'));
  const configuration = join(directory, 'authentication.yaml');
  writeFileSync(configuration, /^## Kubernetes$.*?^```yaml\n(.*?)^```$/ms.exec(readFileSync(guide, 'utf8'))![1]!);
  const port = await freePort();
  const env = { ...process.env, LISTENING: listening, CONFIGURATION: configuration, PORT: String(port) };
  const child = spawn(`${cache}/kubernetes`, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const { url, stop } = await untilAnswering(child, `http://127.0.0.1:${port}/`);

  async function check(name: string, token: string, wanted: string): Promise<void> {
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    const got = answer.status === 200 ? (await answer.text()).trim() : String(answer.status);
    const shown = got.replace(/[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}/, '…'); // the account's id, new each time
    cells.push({ check: name, got: shown, ok: got === wanted });
  }

  async function freshTokens() {
    const request = authorizationRequest(issuer, { resource: audience, scope: 'openid' });
    const code = (await authorize(new UserAgent(issuer, listening), request.url)).get('code')!;
    return (await tokenRequest(listening, redemption(request, code))).body;
  }

  try {
    while ((await fetch(url)).status === 503) await new Promise((resolve) => setTimeout(resolve, 100));
    const tokens = await freshTokens();
    const { sub } = JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url').toString());
    const person = JSON.stringify({ groups: ['signet:buyer'], username: `signet:${sub}` });
    await check('a person’s token', tokens.access_token, person);
    const service = await tokenRequest(
      listening,
      { grant_type: 'client_credentials', resource: audience },
      asClient('service'),
    );
    await check('a service’s token', service.body.access_token, '{"groups":null,"username":"signet:service"}');
    const signed = await forger(server, tokens.access_token);
    // Scopes are not its business: what somebody may do is said by role bindings.
    const { 'without the scope': _, [wrongType]: idTokenLike, ...bad } = await forgeries(server, tokens);
    for (const [name, token] of Object.entries(bad)) await check(name, token, '401');
    await check('a token for another API', await signed({ aud: 'https://orders.example.com' }), '401');
    await check(wrongType, await signed({ client_id: undefined }, { typ: 'JWT' }), '401');
    await check('the same with a client_id, which ID tokens do not have', idTokenLike!, person);
    await revokeKey(tokens.access_token, person);
  } finally {
    await stop();
    rmSync(directory, { recursive: true, force: true });
  }

  async function revokeKey(before: string, person: string): Promise<void> {
    const { keyring } = server.store;
    const active = (await keyring.list()).find(({ state }) => state === 'active')!;
    await keyring.revoke(active.kid, 'the trial');
    let tokens = await freshTokens();
    for (let tries = 0; tries < 100 && kidOf(tokens.access_token) === active.kid; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      tokens = await freshTokens();
    }
    await check('the key that took over from a revoked one', tokens.access_token, person);
    await check('the revoked key', before, person);
    const unknown = await (await forger(server, before))({}, { kid: 'unknown' });
    await check('a token that names a key which nobody has', unknown, '401');
    await check('the revoked key, after that', before, '401');
  }
}

const kidOf = (jwt: string): string => JSON.parse(Buffer.from(jwt.split('.')[0]!, 'base64url').toString()).kid;
