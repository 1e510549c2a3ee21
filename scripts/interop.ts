// `npm run test:interop`: resource servers in other languages against a live server, through good and bad tokens, a
// rotation, a revoked grant and a revoked key. Runs those whose toolchain is on this machine, prints the matrix, and
// writes it into docs/interop.md; with words after it, only those whose names have one, and nothing is written. Before
// them, Wycheproof's vectors against the verifier, and Kubernetes, which needs a server of its own. Exits with 1 where
// something is not as expected.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ordersApi } from '../test/support/signet.ts';
import { decode } from '../test/support/user-agent.ts';
import { apaches } from './interop/apache.ts';
import { type Contender, programs, type Running } from './interop/contenders.ts';
import { kubernetes } from './interop/kubernetes.ts';
import { nginx } from './interop/nginx.ts';
import { oauth2Proxy } from './interop/oauth2-proxy.ts';
import { type Cell, type Column, document, table } from './interop/report.ts';
import { startLive } from './interop/server.ts';
import { makeTokens, personsTokens } from './interop/tokens.ts';
import { wycheproof } from './interop/wycheproof.ts';

const keysSeconds = 30;
// What comes on top of a bound: the server's own look at its keys, one request, and a machine with other work to do.
const graceSeconds = 5;
const statusTtlSeconds = 15;

const atOnce = () => 0;
const statusBound = () => statusTtlSeconds + graceSeconds;
const keysBound = (contender: Contender) => keysSecondsOf(contender) + graceSeconds;
const isLetIn = (status: number) => status === 200;
const isRefused = (status: number) => status === 401;

const vectors = await wycheproof();
console.log(vectors.absent ?? `${vectors.version}: ${JSON.stringify(vectors.counts)}`);
for (const failure of vectors.failures) console.log(`NOT Wycheproof: ${failure}`);
const trial = await kubernetes();
for (const { check, got, ok } of trial.cells) console.log(`${ok ? '   ' : 'NOT'} Kubernetes: ${check}: ${got}`);
console.log(trial.absent ?? trial.version);

const server = await startLive({
  keys: { jwksMaxAge: `${keysSeconds}s`, pollEvery: '1s' },
  revocation: { ttl: `${statusTtlSeconds}s` },
});
const wanted = process.argv.slice(2);
const contenders = [...programs, nginx, ...apaches, oauth2Proxy].filter(({ name }) =>
  wanted.length === 0 || wanted.some((word) => name.includes(word)));
const columns: Column[] = [];
const running: Array<{ contender: Contender; column: Column; at: Running }> = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stop().finally(() => process.exit(1)));
}
try {
  for (const contender of contenders) await begin(contender);
  await showTokens();
  await revokeGrant();
  await rotate();
  await revokeKey();
  await goAway();
} finally {
  await stop();
}
console.log(table(columns));
const target = fileURLToPath(new URL('../docs/interop.md', import.meta.url));
if (wanted.length === 0) writeFileSync(target, document(columns, { keysSeconds, statusTtlSeconds }, vectors, trial));
const cells = [...columns, trial].flatMap((column) => column.cells);
const failures = cells.filter(({ ok }) => !ok).length + vectors.failures.length;
console.log(failures === 0 ? 'everything is as it should be' : `${failures} answers are not as they should be`);
process.exitCode = failures > 0 ? 1 : 0;

async function stop(): Promise<void> {
  for (const { at } of running) await at.stop();
  await server.close();
}

function note(column: Column, cell: Cell): void {
  column.cells.push(cell);
  console.log(`${cell.ok ? '   ' : 'NOT'} ${column.name}: ${cell.check}: ${cell.got}`);
}

async function begin(contender: Contender): Promise<void> {
  const { name, gaps } = contender;
  const column: Column = { name, gaps, versions: undefined, absent: undefined, cells: [] };
  columns.push(column);
  try {
    column.versions = contender.prepare();
  } catch (error) {
    column.absent = (error as Error).message.split('\n')[0]!;
    console.log(`${name}: not here: ${column.absent}`);
    return;
  }
  const place = { issuer: server.issuer, audience: ordersApi, keysSeconds: keysSecondsOf(contender) };
  const at = await contender.start(place);
  running.push({ contender, column, at });
  console.log(`${name}: ${column.versions}`);
}

function keysSecondsOf({ keysSecondsAtLeast = 0 }: Contender): number {
  return Math.max(keysSeconds, keysSecondsAtLeast);
}

async function ask(at: Running, token: string): Promise<number> {
  const headers: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(at.url, { headers, redirect: 'manual' });
  await response.body?.cancel();
  return response.status;
}

async function showTokens(): Promise<void> {
  const { good, bad } = await makeTokens(server);
  for (const { contender, column, at } of running) {
    for (const [check, token] of Object.entries(good)) {
      const status = await ask(at, token);
      note(column, { check, got: String(status), ok: status === 200 });
    }
    for (const [check, token] of Object.entries(bad)) {
      const status = await ask(at, token);
      const isRefused = status >= 400 && status < 500;
      note(column, { check, got: String(status), ok: isRefused || contender.gaps[check] !== undefined });
    }
  }
}

/** Asks everybody every 250 ms until `token` is answered as it should be; notes after how many seconds. */
async function untilAnswered(
  check: string, token: string, isRight: (status: number) => boolean,
  boundSecondsOf: (contender: Contender) => number, whom = running,
): Promise<void> {
  const from = performance.now();
  await Promise.all(whom.map(async ({ contender, column, at }) => {
    for (;;) {
      const status = await ask(at, token);
      const seconds = (performance.now() - from) / 1000;
      const ok = isRight(status);
      if (ok || seconds > boundSecondsOf(contender)) {
        const got = ok ? `${seconds.toFixed(1)} s` : `${status} after ${seconds.toFixed(0)} s`;
        note(column, { check, got, ok: ok || contender.gaps[check] !== undefined });
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }));
}

async function revokeGrant(): Promise<void> {
  const [revoked, other] = [await personsTokens(server), await personsTokens(server)];
  if (!('status' in decode(revoked.access_token).payload)) throw new Error('the tokens of this server have no status');
  const readers = running.filter(({ contender }) => contender.readsStatusLists);
  // Seen good first, so that what is refused later is refused for the revocation.
  await untilAnswered('before its grant is revoked', revoked.access_token, isLetIn, atOnce);
  const { status } = await revoke(revoked.refresh_token);
  if (status !== 200) throw new Error(`the grant could not be revoked: ${status}`);
  await untilAnswered('refused after its grant was revoked', revoked.access_token, isRefused, statusBound, readers);
  for (const { contender: { readsStatusLists }, column } of running) {
    if (!readsStatusLists) note(column, { check: 'refused after its grant was revoked', got: 'no', ok: true });
  }
  await untilAnswered('another grant’s token', other.access_token, isLetIn, atOnce);
}

async function revoke(token: string) {
  const discovery = await fetch(`${server.issuer}/.well-known/openid-configuration`);
  const { revocation_endpoint: endpoint } = (await discovery.json()) as { revocation_endpoint: string };
  return fetch(endpoint, { method: 'POST', body: new URLSearchParams({ token, client_id: 'spa' }) });
}

// Without publishing ahead, which is what makes a rotation invisible: this is the harder case.
async function rotate(): Promise<void> {
  const { keyring } = server.store;
  const before = (await personsTokens(server)).access_token;
  await untilAnswered('before a rotation', before, isLetIn, atOnce);
  const prepared = (await keyring.list()).find(({ state }) => state === 'prepared');
  const kid = prepared?.kid ?? await keyring.prepare();
  await keyring.activate(kid, { force: 'the matrix does not wait until everybody has seen the key' });
  await untilSignedBy(kid);
  const after = (await personsTokens(server)).access_token;
  await untilAnswered('the new key, not published ahead', after, isLetIn, keysBound);
  await untilAnswered('the key before', before, isLetIn, atOnce);
}

async function revokeKey(): Promise<void> {
  const { keyring } = server.store;
  const before = (await personsTokens(server)).access_token;
  await untilAnswered('before an emergency', before, isLetIn, atOnce);
  const active = (await keyring.list()).find(({ state }) => state === 'active')!;
  await keyring.revoke(active.kid, 'the matrix');
  await untilSignedBy((await keyring.list()).find(({ state }) => state === 'active')!.kid);
  await untilAnswered('the revoked key, refused', before, isRefused, keysBound);
  await untilAnswered('the key that took over', (await personsTokens(server)).access_token, isLetIn, keysBound);
  await untilAnswered('the revoked key, after that', before, isRefused, atOnce);
}

// Verifying is offline: what is known of keys and lists serves on, also when it is due to be asked for again.
async function goAway(): Promise<void> {
  const token = (await personsTokens(server)).access_token;
  await untilAnswered('before the issuer stops', token, isLetIn, atOnce);
  await server.close();
  await new Promise((resolve) => setTimeout(resolve, statusTtlSeconds * 1000));
  await untilAnswered('the issuer is away', token, isLetIn, () => graceSeconds);
}

async function untilSignedBy(kid: string): Promise<void> {
  for (let tries = 0; tries < 150; tries += 1) {
    const { keys: [first] } = await (await fetch(`${server.issuer}/jwks`)).json() as { keys: Array<{ kid: string }> };
    if (first?.kid === kid) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`the server does not sign with ${kid}`);
}
