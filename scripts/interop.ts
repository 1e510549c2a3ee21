// `npm run test:interop`: what others wrote, against a live server. First the libraries that sign people in to
// applications (docs/interop-sign-in.md); then resource servers in other languages, through good and bad tokens, a
// rotation, a revoked grant and a revoked key, with Wycheproof's vectors against the verifier and Kubernetes, which needs
// a server of its own (docs/interop.md). Runs those whose toolchain is on this machine, prints what they answered and
// writes it there; with `-- --only NAME`, only those whose names have that, and nothing is written. Exits with 1 where
// something is not as expected, or where nothing has that name.

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
import { rotate, startLive, untilSignedBy } from './interop/server.ts';
import { libraries } from './interop/sign-in/libraries.ts';
import { signInDocument } from './interop/sign-in/report.ts';
import { signInLibraries } from './interop/sign-in/run.ts';
import { makeTokens, personsTokens } from './interop/tokens.ts';
import { allWanted, isWanted } from './interop/wanted.ts';
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

const signIns = libraries.filter(({ name }) => isWanted(`sign-in, ${name}`));
const signInColumns = await signInLibraries(signIns);
if (signIns.length === libraries.length) write('interop-sign-in.md', signInDocument(libraries, signInColumns));

const vectors = isWanted('Wycheproof') ? await wycheproof() : undefined;
if (vectors) console.log(vectors.absent ?? `${vectors.version}: ${JSON.stringify(vectors.counts)}`);
for (const failure of vectors?.failures ?? []) console.log(`NOT Wycheproof: ${failure}`);
const trial = isWanted('Kubernetes') ? await kubernetes() : undefined;
for (const { check, got, ok } of trial?.cells ?? []) console.log(`${ok ? '   ' : 'NOT'} Kubernetes: ${check}: ${got}`);
if (trial) console.log(trial.absent ?? trial.version);

const server = await startLive({
  keys: { jwksMaxAge: `${keysSeconds}s`, pollEvery: '1s' },
  revocation: { ttl: `${statusTtlSeconds}s` },
});
const contenders = [...programs, nginx, ...apaches, oauth2Proxy].filter(({ name }) => isWanted(name));
const columns: Column[] = [];
const running: Array<{ contender: Contender; column: Column; at: Running }> = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stop().finally(() => process.exit(1)));
}
try {
  for (const contender of contenders) await begin(contender);
  if (running.length > 0) await throughAll();
} finally {
  await stop();
}
if (contenders.length > 0) console.log(table(columns));
if (allWanted) write('interop.md', document(columns, { keysSeconds, statusTtlSeconds }, vectors!, trial!));
const cells = [...signInColumns, ...columns, ...(trial ? [trial] : [])].flatMap((column) => column.cells);
const failures = cells.filter(({ ok }) => !ok).length + (vectors?.failures.length ?? 0);
if (cells.length === 0 && !vectors) console.log('nothing was run: not on this machine, or nothing has that name');
else console.log(failures === 0 ? 'everything is as it should be' : `${failures} answers are not as they should be`);
process.exitCode = failures > 0 || (cells.length === 0 && !vectors) ? 1 : 0;

function write(name: string, text: string): void {
  writeFileSync(fileURLToPath(new URL(`../docs/${name}`, import.meta.url)), text);
}

async function throughAll(): Promise<void> {
  await showTokens();
  await revokeGrant();
  await rotateKeys();
  await revokeKey();
  await goAway();
}

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
  check: string,
  token: string,
  isRight: (status: number) => boolean,
  boundSecondsOf: (contender: Contender) => number,
  whom = running,
): Promise<void> {
  const from = performance.now();
  await Promise.all(
    whom.map(async ({ contender, column, at }) => {
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
    }),
  );
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
  for (const {
    contender: { readsStatusLists },
    column,
  } of running) {
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
async function rotateKeys(): Promise<void> {
  const before = (await personsTokens(server)).access_token;
  await untilAnswered('before a rotation', before, isLetIn, atOnce);
  await rotate(server);
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
  await untilSignedBy(server, (await keyring.list()).find(({ state }) => state === 'active')!.kid);
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
