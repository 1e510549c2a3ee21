// The JWKS while what the server stands on is broken: verifiers everywhere come for it, and some take whatever JSON
// they get for a set of keys, or follow a redirect to wherever it leads.

import { rm } from 'node:fs/promises';
import { get } from 'node:http';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { sqlite } from '../support/engines.ts';
import { startWatchedIssuer } from '../support/issuer.ts';
import { startPostgres } from '../support/postgres.ts';
import { startSignet, type TestServer } from '../support/signet.ts';

type Fault = (server: TestServer) => Promise<unknown>;

const soon = { keys: { pollEvery: '1s' } };

async function withSqlite(fault: Fault): Promise<TestServer> {
  const server = await startSignet({ database: await sqlite.freshUrl(), values: soon });
  await fault(server);
  return server;
}

async function withPostgres(): Promise<TestServer> {
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  const server = await startSignet({ database: await postgres.createDatabase(), values: soon });
  await postgres.stop();
  return server;
}

const fileOf = ({ config }: TestServer) => config.database.url.slice('sqlite:'.length);
const removed: Fault = (server) =>
  Promise.all(['', '-wal', '-shm'].map((suffix) => rm(fileOf(server) + suffix, { force: true })));
const withoutKeys: Fault = ({ store }) => store.db.query('alter table signing_keys rename to lost_keys');
const withoutAnything: Fault = async ({ store }) => {
  for (const table of ['signing_keys', 'jwks_consumers', 'oidc_models', 'audit_events', 'clients']) {
    await store.db.query(`alter table ${table} rename to lost_${table}`);
  }
};

const keysIn = (body: string) => (JSON.parse(body) as { keys: unknown[] }).keys.length;

const faults: Array<[what: string, start: () => Promise<TestServer>]> = [
  ['PostgreSQL is stopped', withPostgres],
  ['the file of SQLite is gone', () => withSqlite(removed)],
  ['the keys cannot be followed', () => withSqlite(withoutKeys)],
  ['nothing can be read or written', () => withSqlite(withoutAnything)],
];

describe.skipIf(process.env.SIGNET_TEST_NO_POSTGRES)('while', () => {
  const promise = '%s, the JWKS is served from memory, at once, and is never an error or a redirect';
  test.each(faults)(
    promise,
    async (_what, start) => {
      const server = await start();
      onTestFinished(() => server.close().catch(() => undefined));
      const before = Date.now();
      const whole = keysIn(await (await fetch(`${server.issuer}/jwks`)).text());
      expect(whole).toBe(2);

      const asked: string[] = [];
      async function askEverything(): Promise<void> {
        for (const method of ['GET', 'HEAD']) {
          for (const Accept of ['*/*', 'application/json', 'text/html', 'application/jwk-set+json', 'image/png']) {
            for (const query of ['', '?', '?kid=x', '?state=%E0%A4']) {
              const asking = { method, headers: { Accept }, redirect: 'manual' } as const;
              const answer = await fetch(`${server.issuer}/jwks${query}`, asking);
              const body = await answer.text();
              const keys = method === 'HEAD' ? whole : keysIn(body);
              const type = answer.headers.get('content-type');
              asked.push(`${answer.status} ${keys} ${type} ${answer.headers.get('cache-control')}`);
            }
          }
        }
        const known = (await fetch(`${server.issuer}/jwks`)).headers.get('etag')!;
        expect((await fetch(`${server.issuer}/jwks`, { headers: { 'If-None-Match': known } })).status).toBe(304);
      }

      await askEverything();
      // Also after the server has noticed, and after what it counted could not be written.
      await vi.waitFor(() => expect(server.logged()).toMatch(/rotation\.failed|database\./), {
        timeout: 40_000,
        interval: 100,
      });
      await askEverything();
      expect([...new Set(asked)]).toEqual([`200 ${whole} application/jwk-set+json; charset=utf-8 public, max-age=300`]);
      // In milliseconds: what waits for the database would take seconds each, on the busiest machine less than these all.
      expect(Date.now() - before).toBeLessThan(asked.length * 1_000);
    },
    90_000,
  );
});

test('a failure there, of whatever kind, is no JSON: nobody takes it for an empty set of keys', async () => {
  const issuer = await startWatchedIssuer({
    jwksServed: () => {
      throw new TypeError('of whatever kind');
    },
  });
  onTestFinished(() => issuer.close());
  for (const Accept of ['*/*', 'application/json', 'text/html']) {
    const answer = await fetch(`${issuer.url}/jwks`, { headers: { Accept }, redirect: 'manual' });
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('retry-after')]).toEqual([
      503,
      'text/plain; charset=utf-8',
      '5',
    ]);
    const body = await answer.text();
    expect(() => JSON.parse(body) as unknown).toThrow();
  }
});

test('a fetch waits for no query: a hundred at once are answered while the database is locked', async () => {
  const server = await startSignet({ database: await sqlite.freshUrl() });
  onTestFinished(() => server.close());
  const answers: number[] = [];
  await server.store.db.transaction(async (tx) => {
    await tx.query(`update audit_head set seq = seq where id = 1`);
    await Promise.all(
      Array.from(
        { length: 100 },
        () =>
          new Promise<void>((resolve, reject) => {
            get(`${server.issuer}/jwks`, (answer) => {
              answers.push(answer.statusCode!);
              answer.resume().once('end', resolve);
            }).once('error', reject);
          }),
      ),
    );
  });
  expect(answers).toEqual(Array(100).fill(200));
});
