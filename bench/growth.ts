// How the database grows, on SQLite: bytes kept for a further refresh and for a live sign-in, indexes included and after what is
// kept for a short while is gone. And what sweeping costs those who are served meanwhile: refreshes with and without 150,000
// expired rows that are being deleted.
//
//   npm run bench:growth [-- --seconds 20 --rows 150000 --settle 150 --only sweep --program ../other/signet.js]

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { secret } from '../test/support/signet.ts';
import { type Client, loadFor, openClient } from './load.ts';
import { type Served, serve } from './serve.ts';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    rows: { type: 'string', default: '150000' },
    /** Seconds until the copies of answers and the codes are gone: two rounds of the sweep after the grace. */
    settle: { type: 'string', default: '150' },
    only: { type: 'string' },
    program: { type: 'string' },
  },
});
const [seconds, rows, settle] = [Number(options.seconds), Number(options.rows), Number(options.settle)];
const concurrency = 8;
const signIns = 200;
const folder = mkdtempSync(join(tmpdir(), 'signet-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Bytes of each table with its indexes, as full as a fresh copy has them. */
function bytesByTable(file: string): Map<string, number> {
  const copy = join(folder, `${randomBytes(6).toString('hex')}.db`);
  using(file, (database) => database.exec(`vacuum into '${copy}'`));
  const found = using(copy, (database) =>
    database
      .prepare(
        `select s.tbl_name as name, sum(d.pgsize) as bytes from dbstat d join sqlite_schema s on s.name = d.name
         group by s.tbl_name`,
      )
      .all(),
  );
  rmSync(copy);
  return new Map(found.map(({ name, bytes }) => [String(name), Number(bytes)]));
}

function using<Result>(file: string, work: (database: DatabaseSync) => Result): Result {
  const database = new DatabaseSync(file, { timeout: 10_000 });
  try {
    return work(database);
  } finally {
    database.close();
  }
}

function grown(before: Map<string, number>, after: Map<string, number>, of: number): string {
  const each = (names: readonly string[]) =>
    names.reduce((sum, name) => sum + (after.get(name) ?? 0) - (before.get(name) ?? 0), 0) / of;
  const protocol = ['oidc_models', 'refresh_tokens'];
  return `${each(protocol).toFixed(0)} bytes, and ${each(['audit_events']).toFixed(0)} of audit trail`;
}

async function open(file: string): Promise<{ server: Served; clients: Client[]; tokens: string[] }> {
  const { program } = options;
  const server = await serve({ database: `sqlite:${file}`, ...(program && { program }) });
  const clients = await Promise.all(
    Array.from({ length: concurrency }, () => openClient(server.port, `Basic ${btoa(`web:${secret}`)}`)),
  );
  return { server, clients, tokens: await server.seed(concurrency) };
}

function refresh(tokens: string[]): (client: Client, index: number) => Promise<void> {
  return async (client, index) => {
    const answer = await client.post(`grant_type=refresh_token&refresh_token=${tokens[index]}`);
    tokens[index] = (JSON.parse(answer) as { refresh_token: string }).refresh_token;
  };
}

async function measureBytes(): Promise<void> {
  const file = join(folder, 'bytes.db');
  const { server, clients, tokens } = await open(file);
  await pause(settle * 1000);
  const atFirst = bytesByTable(file);
  await server.seed(signIns);
  await pause(settle * 1000);
  const signedIn = bytesByTable(file);
  console.log(`a live sign-in:    ${grown(atFirst, signedIn, signIns)}   (goal: 1500)`);
  const refreshes = (await loadFor(seconds, clients, refresh(tokens))).length;
  await pause(settle * 1000);
  console.log(`a further refresh: ${grown(signedIn, bytesByTable(file), refreshes)}   (goal: 250)`);
  for (const client of clients) client.end();
  await server.stop();
}

/** Rows of people who went away: each with what the indexes want of it. */
function insertExpired(file: string): void {
  using(file, (database) => {
    const insert = database.prepare(
      `insert into oidc_models (model, id, payload, grant_id, account_id, client_id, consumed_at, expires_at)
       values ('RefreshToken', ?, ?, ?, ?, 'web', 1, ?)`,
    );
    const random = () => randomBytes(24).toString('base64url');
    for (let from = 0; from < rows; from += 500) {
      database.exec('begin immediate');
      for (let at = from; at < Math.min(rows, from + 500); at += 1) {
        insert.run(random(), JSON.stringify({ scope: 'x'.repeat(400) }), random(), random(), 1000 + at);
      }
      database.exec('commit');
    }
  });
}

const expiredIn = (file: string) =>
  using(file, (database) =>
    Number(database.prepare('select count(*) as n from oidc_models where expires_at < ?').get(1000 + rows)?.['n']),
  );

async function measureSweep(): Promise<void> {
  const file = join(folder, 'sweep.db');
  const { server, clients, tokens } = await open(file);
  const ask = refresh(tokens);
  await loadFor(3, clients, ask); // warm-up
  const without = await loadFor(seconds, clients, ask);
  insertExpired(file);
  while (expiredIn(file) === rows) await pause(250);
  const before = expiredIn(file);
  const during = await loadFor(seconds, clients, ask);
  const left = expiredIn(file);
  report('without', without);
  report('sweeping', during);
  const at = (share: number) => (percentile(during, share) / percentile(without, share)).toFixed(2);
  console.log(`p50 × ${at(0.5)}, p99 × ${at(0.99)} (goal: 2); ${((before - left) / seconds).toFixed(0)} rows a second`);
  if (left === 0) console.log('the sweep ended before the load did: take fewer seconds, or more rows');
  for (const client of clients) client.end();
  await server.stop();
}

function percentile(took: readonly number[], share: number): number {
  return took.toSorted((a, b) => a - b)[Math.floor(took.length * share)]!;
}

function report(name: string, took: readonly number[]): void {
  const [p50, p99] = [percentile(took, 0.5).toFixed(1), percentile(took, 0.99).toFixed(1)];
  console.log(`${name.padEnd(9)} ${(took.length / seconds).toFixed(0)} refreshes/s, p50 ${p50} ms, p99 ${p99} ms`);
}

if (options.only !== 'bytes') await measureSweep();
if (options.only !== 'sweep') await measureBytes();
process.exit(0);
