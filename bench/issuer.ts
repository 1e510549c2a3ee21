// What an operation of Signet costs, in CPU time of the server's process: beside bare oidc-provider in memory with the same
// token formats, beside one RSA-2048 signature, and beside another checkout of Signet. All run in this one run, in turns, so that
// what the machine does otherwise falls on all: read the ratios, each beside its target.
//
//   npm run bench [-- seconds per round] [--beside <checkout>] [--database <postgres URL>]

import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createDatabase } from '../test/support/postgres.ts';
import {
  clientCredentials,
  codeFlow,
  concurrency,
  document,
  introspection,
  type Operation,
  refresh,
  signedIn,
} from './operations.ts';
import { type MeasuredProcess, postgresCpuMs, startMeasured } from './process.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { beside: { type: 'string' }, database: { type: 'string' } },
});
const seconds = Number(positionals[0] ?? 3);
const rounds = 5;

interface Measurement {
  perSecond: number;
  cpuMs: number;
}

async function measure(server: MeasuredProcess, operation: Operation, workers: number): Promise<Measurement> {
  const cpu = async () => (await server.usage()).cpuMs + (values.database ? postgresCpuMs() : 0);
  const before = await cpu();
  const started = performance.now();
  const end = started + seconds * 1000;
  let done = 0;
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      while (performance.now() < end) {
        await operation(worker);
        done += 1;
      }
    }),
  );
  const perSecond = (done * 1000) / (performance.now() - started);
  return { perSecond, cpuMs: ((await cpu()) - before) / done };
}

async function signature(signer: MeasuredProcess): Promise<Measurement> {
  const count = Math.round(seconds * 400);
  const before = await signer.usage();
  const started = performance.now();
  await signer.seed(count);
  const perSecond = (count * 1000) / (performance.now() - started);
  return { perSecond, cpuMs: ((await signer.usage()).cpuMs - before.cpuMs) / count };
}

function opensslSignsPerSecond(): string {
  try {
    const text = execFileSync('openssl', ['speed', '-seconds', '2', 'rsa2048'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return `${/rsa\s+2048 bits\s+\S+\s+\S+\s+([\d.]+)/.exec(text)?.[1] ?? '?'} signatures/s on one core`;
  } catch {
    return 'openssl is not on this machine';
  }
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
/** A database of its own on the server that was named, for each. */
const database = async () => (values.database ? [await createDatabase(values.database)] : []);

const signet = await startMeasured('./signet-server.ts', ...(await database()));
const bare = await startMeasured('./bare-provider.ts');
const signer = await startMeasured('./signature.ts');
const before =
  values.beside && (await startMeasured(resolve(values.beside, 'bench/signet-server.ts'), ...(await database())));

interface Row {
  name: string;
  ours: (url: string, world: Awaited<ReturnType<typeof signedIn>>) => Operation | Promise<Operation>;
  bare?: Operation;
  /** Targets: of ours ÷ bare, ours ÷ signature, ours ÷ the checkout beside. */
  targets: { bare?: number; signature?: number; beside?: number };
  workers?: number;
}

const bareJwks = await document(`${bare.url}/jwks`, 'without');
const fromDiscovery = '/.well-known/openid-configuration';
const rows: Row[] = [
  {
    name: 'client_credentials',
    ours: clientCredentials,
    bare: clientCredentials(bare.url),
    targets: { bare: 0.65, signature: 1.45 },
  },
  {
    name: 'refresh, 3 × RS256',
    ours: (url, { refreshTokens }) => refresh(url, refreshTokens),
    bare: refresh(bare.url, await bare.seed(concurrency)),
    targets: { bare: 0.85, beside: values.database ? 0.6 : 0.65 },
  },
  {
    name: 'refresh, one at a time',
    ours: (url, { refreshTokens }) => refresh(url, refreshTokens),
    targets: {},
    workers: 1,
  },
  { name: 'code + PKCE, signed in', ours: (url, { browser }) => codeFlow(url, browser), targets: { beside: 0.6 } },
  { name: 'introspection', ours: (url, { accessToken }) => introspection(url, accessToken), targets: {} },
  ...['/jwks', fromDiscovery, '/status-lists/1'].flatMap((path): Row[] =>
    (['without', 'with'] as const).map((etag) => ({
      name: `${path.split('/').at(-1) === '1' ? 'status list' : path.split('/').at(-1)}${etag === 'with' ? ', 304' : ''}`,
      ours: (url) => document(url + path, etag),
      bare: bareJwks,
      targets: { bare: 0.3 },
    })),
  ),
];

console.log(`openssl speed rsa2048: ${opensslSignsPerSecond()}; node ${process.version}`);
console.log(
  `${concurrency} connections, ${rounds} rounds of ${seconds} s each, in turns; medians of CPU-ms an operation`,
);
console.log(`documents are beside the JWKS of bare oidc-provider${values.database ? '; with the database’s' : ''}\n`);
console.log(`${''.padEnd(26)}  rate/s  CPU-ms   ÷ bare         ÷ signature    ÷ beside`);

const worlds = { signet: await signedIn(signet.url), before: before ? await signedIn(before.url) : undefined };

for (const { name, ours, bare: theirs, targets, workers = concurrency } of rows) {
  const operation = await ours(signet.url, worlds.signet);
  const operationBefore = before && worlds.before && (await ours(before.url, worlds.before));
  const all = { ours: [] as Measurement[], bare: [] as number[], signature: [] as number[], beside: [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    const here = await measure(signet, operation, workers);
    const there = theirs && (await measure(bare, theirs, workers));
    const alone = targets.signature !== undefined ? await signature(signer) : undefined;
    const then = operationBefore && before ? await measure(before, operationBefore, workers) : undefined;
    if (round === 0) continue; // warm-up
    all.ours.push(here);
    if (there) all.bare.push(here.cpuMs / there.cpuMs);
    if (alone) all.signature.push(here.cpuMs / alone.cpuMs);
    if (then) all.beside.push(here.cpuMs / then.cpuMs);
  }
  const ratio = (of: number[], target: number | undefined) => {
    if (of.length === 0) return '–'.padEnd(13);
    const value = median(of);
    const verdict = target === undefined ? '' : `${value <= target ? '≤' : '>'} ${target}`;
    return `${value.toFixed(2)} ${verdict}`.padEnd(13);
  };
  const figures = [
    median(all.ours.map((one) => one.perSecond))
      .toFixed(0)
      .padStart(6),
  ];
  figures.push(
    median(all.ours.map((one) => one.cpuMs))
      .toFixed(3)
      .padStart(6),
  );
  figures.push(` ${ratio(all.bare, targets.bare)}`, ratio(all.signature, targets.signature));
  console.log(`${name.padEnd(26)}  ${figures.join('  ')}  ${ratio(all.beside, targets.beside)}`);
}

console.log('\nstart, memory, workers and growth: npm run bench:start, bench:memory, bench:workers, bench:growth');
for (const server of [signet, bare, signer]) server.stop();
if (before) before.stop();
process.exit(0);
