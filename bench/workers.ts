// Two workers on two cores beside one process, on one core and on two: what a second core brings, and a second process. In
// this one run, in turns.
//
//   npm run bench:workers [-- seconds per round [postgres://… of a server on which databases may be made]]
//
// The load comes from the same machine. Of two cores it takes its part from the two workers, and from the process on one
// core nothing: so beside the rates stands what the processors' time says, as it would be with the load elsewhere.

import { availableParallelism } from 'node:os';
import { createDatabase } from '../test/support/postgres.ts';
import { secret } from '../test/support/signet.ts';
import { type Client, loadFor, openClient } from './load.ts';
import { type Served, serve } from './serve.ts';

const target = 1.85;
const seconds = Number(process.argv[2] ?? 3);
const postgres = process.argv[3];
const rounds = 7;
const connections = 8;
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

interface Load {
  clients: Client[];
  ask(client: Client, index: number): Promise<unknown>;
}

interface Measurement {
  perSecond: number;
  cpuMs: number;
}

async function clientsOf({ port }: Served, clientId: string): Promise<Client[]> {
  const authorization = `Basic ${btoa(`${clientId}:${secret}`)}`;
  return Promise.all(Array.from({ length: connections }, () => openClient(port, authorization)));
}

const loads: Record<string, (server: Served) => Promise<Load>> = {
  async client_credentials(server) {
    const ask = (client: Client) => client.post('grant_type=client_credentials&scope=orders%3Aread');
    return { clients: await clientsOf(server, 'service'), ask };
  },
  async refresh(server) {
    const tokens = await server.seed(connections);
    return {
      clients: await clientsOf(server, 'web'),
      async ask(client, index) {
        const answer = await client.post(`grant_type=refresh_token&refresh_token=${tokens[index]}`);
        tokens[index] = JSON.parse(answer).refresh_token;
      },
    };
  },
};

async function measure(server: Served, { clients, ask }: Load): Promise<Measurement> {
  const [cpu, started] = [await server.cpuMs(), performance.now()];
  const done = (await loadFor(seconds, clients, ask)).length;
  const perSecond = (done / (performance.now() - started)) * 1000;
  return { perSecond, cpuMs: ((await server.cpuMs()) - cpu) / done };
}

const columns = ['one process, one core', 'one process, two cores', 'two workers, two cores'];
console.log(
  `${availableParallelism()} cores; ${connections} connections, ${rounds} rounds of ${seconds} s, in turns; medians`,
);
console.log('CPU is of all processes of the server, for one answer, and without that of a PostgreSQL server.\n');
console.log(`${''.padEnd(31)}${columns.map((title) => title.padEnd(26)).join('')}÷ one  by CPU   ÷ two cores`);

for (const engine of postgres ? ['SQLite', 'PostgreSQL'] : ['SQLite']) {
  const database = async () => (engine === 'SQLite' ? undefined : createDatabase(postgres!));
  const servers = {
    one: await serve({ cores: '0', database: await database() }),
    wide: await serve({ cores: '0,1', database: await database() }),
    two: await serve({ cores: '0,1', database: await database(), workers: 2 }),
  };
  const ofEach = async <T>(work: (name: keyof typeof servers) => Promise<T>) => {
    return { one: await work('one'), wide: await work('wide'), two: await work('two') };
  };
  for (const [name, prepare] of Object.entries(loads)) {
    const prepared = await ofEach((server) => prepare(servers[server]));
    const results: Record<keyof typeof servers, Measurement>[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      const result = await ofEach((server) => measure(servers[server], prepared[server]));
      if (round > 0) results.push(result); // the first one warms up
    }
    for (const { clients } of Object.values(prepared)) for (const client of clients) client.end();
    const figures = (['one', 'wide', 'two'] as const).map((server) => {
      const perSecond = median(results.map((result) => result[server].perSecond)).toFixed(0);
      const cpuMs = median(results.map((result) => result[server].cpuMs)).toFixed(2);
      return `${perSecond.padStart(5)}/s ${cpuMs} CPU-ms`.padEnd(26);
    });
    const ratios = [
      results.map(({ one, two }) => two.perSecond / one.perSecond),
      results.map(({ one, two }) => (2 * one.cpuMs) / two.cpuMs),
      results.map(({ wide, two }) => two.perSecond / wide.perSecond),
    ].map((of) => median(of).toFixed(2));
    console.log(`${`${engine} ${name}`.padEnd(31)}${figures.join('')}${ratios.join('   ')}`);
  }
  for (const server of Object.values(servers)) await server.stop();
}
console.log(`\nThe target of client_credentials is ${target}, two workers ÷ one process on one core.`);
process.exit(0);
