// Memory of a running server: at rest, right after a burst of GETs, right after a spell of token requests, and a while
// later; then what an operation costs in CPU time, in short turns. Several ways to start it are compared: in a checkout,
// built (where there is a dist/), other trees, and each with options for node. Linux alone: the figures are the kernel's.
//
//   npm run bench:memory [-- --seconds 60 --rounds 5 --gets 9000 --program ../other/dist/main.js --with="--a-flag" …]

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import bcrypt from 'bcrypt';
import { loadConfig } from '../src/config/config.ts';
import { silentLog } from '../src/log.ts';
import { openStore } from '../src/store.ts';
import { freePort } from '../test/support/ports.ts';
import { declared, person, secret } from '../test/support/signet.ts';
import { signIn } from '../test/support/user-agent.ts';
import { cpuOf, memoryOf, type TreeMemory } from './process-tree.ts';

const { values: options } = parseArgs({
  options: {
    /** Of token requests before memory is read. */
    seconds: { type: 'string', default: '60' },
    gets: { type: 'string', default: '9000' },
    concurrency: { type: 'string', default: '16' },
    /** Turns of CPU time. */
    rounds: { type: 'string', default: '5' },
    turn: { type: 'string', default: '3' },
    /** What to start, instead of the checkout and its dist/. */
    program: { type: 'string', multiple: true, default: ['signet.js', 'dist/main.js'] },
    /** Options of node, measured beside none. */
    with: { type: 'string', multiple: true, default: [] },
  },
});
const number = (name: 'seconds' | 'gets' | 'concurrency' | 'rounds' | 'turn') => Number(options[name]);
const [seconds, gets, concurrency, rounds] = [
  number('seconds'),
  number('gets'),
  number('concurrency'),
  number('rounds'),
];

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'signet-bench-'));

interface Way {
  name: string;
  args: string[];
}

interface Memory {
  idle: TreeMemory;
  afterGets: TreeMemory;
  afterTokens: TreeMemory;
  later: TreeMemory;
}

const programs = options.program.map((path) => resolve(root, path)).filter((path) => existsSync(path));
const ways: Way[] = programs.flatMap((path) =>
  ['', ...options.with].map((flags) => ({
    name: `${relative(root, path)} ${flags}`,
    args: [...flags.split(' ').filter(Boolean), path, 'serve'],
  })),
);

interface Running {
  child: ChildProcess;
  url: string;
  refreshTokens: string[];
}

async function start({ args }: Way): Promise<Running> {
  const [cwd, port] = [mkdtempSync(join(folder, 'home-')), await freePort()];
  const values = {
    listen: { port, host: '127.0.0.1' },
    log: { level: 'warn' },
    passwords: { bcryptCost: 4 },
    tokens: { refreshSpacing: 0 },
    ...declared,
  };
  writeFileSync(join(cwd, 'signet.yaml'), JSON.stringify(values));
  const config = loadConfig({ env: {}, cwd, values });
  const store = await openStore(config, silentLog);
  const passwordHash = await bcrypt.hash(person.password, 4);
  await store.accounts.create({ email: person.email, roles: ['buyer'], passwordHash }, 'bench');
  await store.close();
  const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
  child.once('exit', (code) => {
    if (code) throw new Error(`${args.join(' ')} ended with ${code}`);
  });
  child.stdout!.resume();
  while (
    await ask(`${config.issuer}/health/live`).then(
      () => false,
      () => true,
    )
  )
    await pause(20);
  return { child, url: config.issuer, refreshTokens: [] };
}

const agent = new Agent({ keepAlive: true, maxSockets: concurrency });

function ask(url: string, form?: string, clientId?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = form && {
      'Content-Type': 'application/x-www-form-urlencoded',
      'Content-Length': form.length,
      Authorization: `Basic ${btoa(`${clientId}:${secret}`)}`,
    };
    const outgoing = request(url, { agent, method: form ? 'POST' : 'GET', headers: headers || {} }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (incoming.statusCode === 200) resolve(text);
        else reject(new Error(`${url}: ${incoming.statusCode} ${text}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(form);
  });
}

/** Runs `operation` on all workers while `goesOn`; answers CPU milliseconds of the server an operation. */
async function load(pid: number, operation: (turn: number, worker: number) => Promise<unknown>, goesOn: () => boolean) {
  const before = cpuOf(pid);
  let done = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async (_, worker) => {
      while (goesOn()) {
        done += 1;
        await operation(done, worker);
      }
    }),
  );
  return (cpuOf(pid) - before) / done;
}

const paths = ['/jwks', '/.well-known/openid-configuration', '/', '/health/live'];

async function getSeveral({ child, url }: Running, count: number): Promise<number> {
  let asked = 0;
  return load(
    child.pid!,
    (turn) => ask(url + paths[turn % paths.length]),
    () => asked++ < count,
  );
}

/** Client credentials and refresh, one after the other, each worker with a grant of its own. */
async function takeTokens({ child, url, refreshTokens }: Running, forMs: number): Promise<number> {
  while (refreshTokens.length < concurrency) {
    refreshTokens.push((await signIn(url, { clientId: 'web' })).tokens.refresh_token);
  }
  const end = performance.now() + forMs;
  return load(
    child.pid!,
    async (turn, worker) => {
      if (turn % 2) {
        await ask(`${url}/token`, 'grant_type=client_credentials&scope=orders%3Aread', 'service');
        return;
      }
      const form = `grant_type=refresh_token&refresh_token=${refreshTokens[worker]}`;
      refreshTokens[worker] = JSON.parse(await ask(`${url}/token`, form, 'web')).refresh_token;
    },
    () => performance.now() < end,
  );
}

async function measureMemory(way: Way): Promise<Memory> {
  const server = await start(way);
  const now = () => memoryOf(server.child.pid!);
  await pause(5000);
  const idle = now();
  await getSeveral(server, gets);
  const afterGets = now();
  await takeTokens(server, seconds * 1000);
  const afterTokens = now();
  await pause(Math.min(seconds, 30) * 1000);
  const later = now();
  await stop(server);
  return { idle, afterGets, afterTokens, later };
}

async function stop({ child }: Running): Promise<void> {
  child.kill();
  await once(child, 'exit');
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const wide = Math.max(...ways.map(({ name }) => name.length)) + 2;
const shown = ({ pss, anonymous }: TreeMemory) => `${pss.toFixed(0)} (${anonymous.toFixed(0)})`;
const row = (cells: (string | number)[]) => cells.map((cell) => String(cell).padStart(14)).join('');

console.log(`proportional set size, MiB (what of it no file backs); ${concurrency} connections\n`);
console.log(''.padEnd(wide) + row(['at rest', `${gets} GETs`, `${seconds} s tokens`, 'later']));
for (const way of ways) {
  const { idle, afterGets, afterTokens, later } = await measureMemory(way);
  console.log(way.name.padEnd(wide) + row([idle, afterGets, afterTokens, later].map(shown)));
}

const servers = await Promise.all(ways.map(start));
const costs = ways.map(() => ({ get: [] as number[], token: [] as number[] }));
for (let round = -1; round < rounds; round += 1) {
  for (const [index, server] of servers.entries()) {
    const get = await getSeveral(server, 1500);
    const token = await takeTokens(server, number('turn') * 1000);
    if (round < 0) continue; // warm-up
    costs[index]!.get.push(get);
    costs[index]!.token.push(token);
  }
}
await Promise.all(servers.map(stop));
agent.destroy();
rmSync(folder, { recursive: true, force: true });

console.log(`\nCPU-ms an operation, medians of ${rounds} turns, and the median ratio to the first\n`);
console.log(''.padEnd(wide) + row(['a GET', 'ratio', 'a token', 'ratio']));
for (const [index, { name }] of ways.entries()) {
  const cells = (['get', 'token'] as const).flatMap((part) => {
    const [own, first] = [costs[index]![part], costs[0]![part]];
    return [median(own).toFixed(3), median(own.map((cost, round) => cost / first[round]!)).toFixed(2)];
  });
  console.log(name.padEnd(wide) + row(cells));
}
