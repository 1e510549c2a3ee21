// From `npm start` to the first 200 on discovery: a first start in an empty directory, with nothing compiled before,
// and later ones; in a checkout and, after `npm run build`, from dist/; beside a process that only loads koa and
// oidc-provider and listens. In turns, in this one run: read the ratios. npm's own time, before node, is in none.
//
//   npm run bench:start [-- rounds]

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/support/ports.ts';

const rounds = Number(process.argv[2] ?? 5);
const folder = mkdtempSync(join(tmpdir(), 'signet-bench-'));
const script = (path: string) => fileURLToPath(new URL(path, import.meta.url));

interface Start {
  /** Milliseconds from the birth of the process to the first 200. */
  elapsed: number;
  /** CPU time of the process up to then, all threads, milliseconds. */
  cpu: number;
}

interface Started {
  path: string;
  args?: string[];
  cwd: string;
  port: number;
  /** Without what earlier starts have compiled. */
  cold: boolean;
}

const tellUsage =
  'data:text/javascript,' + `process.once('message', () => process.send(process.cpuUsage())).channel.unref()`;

async function start({ path, args = [], cwd, port, cold }: Started): Promise<Start> {
  const began = performance.now();
  const child = fork(script(path), args, {
    cwd,
    execArgv: ['--import', tellUsage],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      ...process.env,
      SIGNET_LISTEN_PORT: String(port),
      SIGNET_LOG_LEVEL: 'warn',
      ...(cold ? { NODE_DISABLE_COMPILE_CACHE: '1' } : {}),
    },
  });
  const saysThatItRuns = once(child.stdout!, 'data');
  let complaints = '';
  child.stderr!.on('data', (text) => {
    complaints += text;
  });
  child.once('exit', (code) => {
    if (code) throw new Error(`${path} ended with ${code}: ${complaints}`);
  });
  while ((await statusOf(`http://127.0.0.1:${port}/.well-known/openid-configuration`)) !== 200) await pause(3);
  const elapsed = performance.now() - began;
  child.send('usage');
  const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage];
  await saysThatItRuns;
  child.kill(); // gently, and not before it listens to that: what was compiled is kept as the process ends
  await once(child, 'exit');
  return { elapsed, cpu: (user + system) / 1000 };
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).on('error', () => resolve(undefined)); // it does not listen yet
  });
}

const compiled = join(folder, 'compiled');
type Program = (cwd: string, cold: boolean) => Promise<Start>;
const signet =
  (path: string): Program =>
  async (cwd, cold) =>
    start({ path, args: ['serve'], cwd, port: await freePort(), cold });
const bare: Program = async (_cwd, cold) => {
  const port = await freePort();
  return start({ path: './bare-start.ts', args: [String(port), compiled], cwd: folder, port, cold });
};
const programs: Record<string, Program> = {
  'koa + oidc-provider': bare,
  checkout: signet('../signet.js'),
  ...(existsSync(script('../dist/main.js')) && { 'dist/': signet('../dist/main.js') }),
};

interface Turn {
  cold: Start;
  warm: Start;
}

const home = mkdtempSync(join(folder, 'home-'));
const results = new Map(Object.keys(programs).map((name) => [name, [] as Turn[]]));
for (let round = -1; round < rounds; round += 1) {
  for (const [name, program] of Object.entries(programs)) {
    const cold = await program(mkdtempSync(join(folder, 'first-')), true);
    const warm = await program(home, false);
    if (round >= 0) results.get(name)!.push({ cold, warm }); // before, nothing is compiled
  }
}
rmSync(folder, { recursive: true, force: true });

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const row = (cells: string[]) => cells.map((cell) => cell.padStart(14)).join('');
const baseline = results.get('koa + oidc-provider')!;

console.log(`first 200 on discovery, medians of ${rounds}; ratios to the first line, in CPU time`);
for (const kind of ['cold', 'warm'] as const) {
  console.log(`\n${`${kind} start`.padEnd(20)}${row(['ms', 'CPU-ms', 'ratio'])}`);
  for (const [name, turns] of results) {
    const figure = (part: keyof Start) => median(turns.map((turn) => turn[kind][part])).toFixed(0);
    const ratio = median(turns.map((turn, round) => turn[kind].cpu / baseline[round]![kind].cpu));
    console.log(name.padEnd(20) + row([figure('elapsed'), figure('cpu'), ratio.toFixed(2)]));
  }
}
