// Token throughput of Signet beside bare oidc-provider with the same token formats, and beside what one core can sign.
// Both run in this one run, in turns, so that what the machine does otherwise falls on both: read the ratios.
//
//   npm run bench [-- seconds per round]

import { execFileSync } from 'node:child_process';
import { Agent, request } from 'node:http';
import { type MeasuredProcess, startMeasured } from './process.ts';

const seconds = Number(process.argv[2] ?? 3);
const rounds = 5;
const concurrency = 32;
const authorization = (clientId: string) => `Basic ${btoa(`${clientId}:correct-horse-battery-staple-0123456789`)}`;
const agent = new Agent({ keepAlive: true, maxSockets: concurrency });

type Operation = (worker: number) => Promise<void>;

interface Measurement {
  perSecond: number;
  cpuMs: number;
}

function post(url: string, clientId: string, body: string): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${url}/token`,
      {
        agent,
        method: 'POST',
        headers: {
          'Content-Type': 'application/x-www-form-urlencoded',
          'Content-Length': body.length,
          Authorization: authorization(clientId),
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (incoming.statusCode === 200) resolve(JSON.parse(text));
          else reject(new Error(`${incoming.statusCode} ${text}`));
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function clientCredentials(url: string): Operation {
  return async () => {
    await post(url, 'service', 'grant_type=client_credentials&scope=orders%3Aread');
  };
}

/** Each worker has a grant of its own and always spends the newest token, as an application does. */
function refresh(url: string, tokens: string[]): Operation {
  return async (worker) => {
    const answer = await post(url, 'web', `grant_type=refresh_token&refresh_token=${tokens[worker]}`);
    tokens[worker] = answer.refresh_token!;
  };
}

async function measure(server: MeasuredProcess, operation: Operation): Promise<Measurement> {
  const before = await server.usage();
  const started = performance.now();
  const end = started + seconds * 1000;
  let done = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async (_, worker) => {
      while (performance.now() < end) {
        await operation(worker);
        done += 1;
      }
    }),
  );
  const elapsed = (performance.now() - started) / 1000;
  const after = await server.usage();
  return { perSecond: done / elapsed, cpuMs: (after.cpuMs - before.cpuMs) / done };
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

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

const servers = {
  signet: await startMeasured('./signet-server.ts', ...process.argv.slice(3, 4)),
  bare: await startMeasured('./bare-provider.ts'),
};

console.log(`openssl speed rsa2048: ${opensslSignsPerSecond()}`);
console.log(`${concurrency} connections, ${rounds} rounds of ${seconds} s each, in turns; medians\n`);
console.log('                        signet                   bare in-memory           ratio');

const operations = {
  client_credentials: { signet: clientCredentials(servers.signet.url), bare: clientCredentials(servers.bare.url) },
  refresh_token: {
    signet: refresh(servers.signet.url, await servers.signet.seed(concurrency)),
    bare: refresh(servers.bare.url, await servers.bare.seed(concurrency)),
  },
};

for (const [name, { signet, bare }] of Object.entries(operations)) {
  const results: Record<'signet' | 'bare', Measurement[]> = { signet: [], bare: [] };
  for (let round = 0; round <= rounds; round += 1) {
    const [ours, theirs] = [await measure(servers.signet, signet), await measure(servers.bare, bare)];
    if (round === 0) continue; // warm-up
    results.signet.push(ours);
    results.bare.push(theirs);
  }
  const figure = (of: Measurement[], part: keyof Measurement) => median(of.map((one) => one[part]));
  const row = (of: Measurement[]) =>
    `${figure(of, 'perSecond').toFixed(0).padStart(5)}/s ${figure(of, 'cpuMs').toFixed(2)} CPU-ms each   `;
  const ratios = results.signet.map(({ perSecond }, round) => perSecond / results.bare[round]!.perSecond);
  console.log(`${name.padEnd(22)} ${row(results.signet)} ${row(results.bare)} ${median(ratios).toFixed(2)}`);
}

const [ours, theirs] = [await servers.signet.usage(), await servers.bare.usage()];
const [ourMemory, theirMemory] = [ours, theirs].map(({ rssMiB }) => `${rssMiB.toFixed(0).padStart(5)} MiB`);
console.log(`${'memory'.padEnd(22)} ${ourMemory}                ${theirMemory}`);
servers.signet.stop();
servers.bare.stop();
process.exit(0);
