// From `npm start` to the first 200 on discovery: a first start in an empty directory, with nothing compiled before,
// and later ones; each beside a process that only loads koa and oidc-provider and listens. In turns, in this one run:
// read the ratios. npm's own time, before it starts node, is in neither.
//
//   npm run bench:start [-- rounds]

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
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
const signet = async (cwd: string, cold: boolean) =>
  start({ path: '../signet.js', args: ['serve'], cwd, port: await freePort(), cold });
async function bare(cold: boolean): Promise<Start> {
  const port = await freePort();
  return start({ path: './bare-start.ts', args: [String(port), compiled], cwd: folder, port, cold });
}

const none = () => ({ signet: [] as Start[], bare: [] as Start[] });
const results = { cold: none(), warm: none() };
const home = mkdtempSync(join(folder, 'home-'));
await signet(home, false);
await bare(false);
for (let round = 0; round < rounds; round += 1) {
  results.cold.signet.push(await signet(mkdtempSync(join(folder, 'first-')), true));
  results.cold.bare.push(await bare(true));
  results.warm.signet.push(await signet(home, false));
  results.warm.bare.push(await bare(false));
}
rmSync(folder, { recursive: true, force: true });

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const figures = (starts: Start[]) =>
  `${median(starts.map(({ elapsed }) => elapsed))
    .toFixed(0)
    .padStart(5)} ms ` +
  `${median(starts.map(({ cpu }) => cpu))
    .toFixed(0)
    .padStart(5)} CPU-ms`;

console.log(`first 200 on discovery, medians of ${rounds}\n`);
console.log('                signet                koa + oidc-provider      ratio, time   ratio, CPU');
for (const [name, { signet: ours, bare: theirs }] of Object.entries(results)) {
  const ratio = (part: keyof Start) =>
    median(ours.map((one, round) => one[part] / theirs[round]![part]))
      .toFixed(2)
      .padStart(11);
  console.log(`${name} start      ${figures(ours)}      ${figures(theirs)}     ${ratio('elapsed')}  ${ratio('cpu')}`);
}
