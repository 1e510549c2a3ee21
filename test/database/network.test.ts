// PostgreSQL behind a network that fails: connections that go silent, that are cut, servers that are away for a moment.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { engines, postgres } from '../support/engines.ts';
import { type Forwarder, startForwarder, through } from '../support/forwarder.ts';
import { freePort } from '../support/ports.ts';
import { endsWithUs } from '../support/process-end.ts';

const signet = fileURLToPath(new URL('../../signet.js', import.meta.url));

describe.runIf(engines.includes(postgres))('a network that fails', () => {
  let url: string;
  beforeAll(async () => {
    url = await postgres.freshUrl();
    const db = await openDatabase(url);
    await migrate(db);
    await db.query('create table notes (id bigint primary key)');
    await db.close();
  });

  async function open(parameters: Record<string, string> = {}): Promise<{ db: Database; network: Forwarder }> {
    const network = await startForwarder(Number(new URL(url).port));
    const db = await openDatabase(through(network, url, parameters));
    onTestFinished(async () => {
      await db.close();
      await network.close();
    });
    return { db, network };
  }

  /** As many connections as `count` statements at once need. */
  const fill = (db: Database, count: number) =>
    Promise.all(Array.from({ length: count }, () => db.query('select pg_sleep(0.05)')));

  test('that goes silent costs one bounded wait, and the connections of before are not asked again', async () => {
    const { db, network } = await open({ statement_timeout: '1000' });
    await fill(db, 5);
    network.silence();
    await expect(db.query('insert into notes (id) values (1)')).rejects.toMatchObject({
      code: 'database_unavailable',
      message: expect.stringContaining('does not answer'),
    });
    for (let id = 2; id < 8; id += 1) {
      const began = performance.now();
      await db.query('insert into notes (id) values ($1)', [id]);
      expect(performance.now() - began).toBeLessThan(3_000); // one more wait would be as long
    }
  });

  test('and falls silent under a listener is noticed: it hears what is announced afterwards', async () => {
    const { db, network } = await open();
    const elsewhere = await openDatabase(url);
    onTestFinished(() => elsewhere.close());
    let heard = 0;
    await db.listen('keys', () => {
      heard += 1;
    });
    network.silence();
    await vi.waitFor(() => expect(heard).toBe(1), { timeout: 20_000, interval: 100 }); // opened again: look once
    await elsewhere.announce('keys');
    await vi.waitFor(() => expect(heard).toBe(2), { timeout: 5_000 });
  });

  test('is no reason not to end: close() is done within seconds though nobody answers', async () => {
    const { db, network } = await open();
    await db.listen('keys', () => {});
    await fill(db, 3);
    network.silence();
    const unanswered = db.query('insert into notes (id) values (100)').catch((error: unknown) => error);
    const began = performance.now();
    await db.close();
    expect(performance.now() - began).toBeLessThan(8_000);
    expect(await unanswered).toMatchObject({ code: 'database_unavailable' });
    await vi.waitFor(() => expect(network.connections()).toBe(0)); // nor does a socket keep the process
  });

  test('and stays silent does not keep a server from stopping', async () => {
    const network = await startForwarder(Number(new URL(url).port));
    const port = await freePort();
    const home = mkdtempSync(join(tmpdir(), 'signet-silent-'));
    const child = endsWithUs(
      spawn(process.execPath, [signet, 'serve'], {
        cwd: home,
        stdio: ['ignore', 'pipe', 'inherit'],
        env: {
          PATH: process.env.PATH,
          SIGNET_LISTEN_PORT: String(port),
          SIGNET_LOG_LEVEL: 'silent',
          SIGNET_PASSWORDS_BCRYPT_COST: '4',
          SIGNET_DATABASE_URL: through(network, url),
        },
      }),
    );
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await network.close();
      rmSync(home, { recursive: true, force: true });
    });
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    await vi.waitFor(() => expect(said).toContain('Signet is running'), { timeout: 60_000 });
    expect((await fetch(`http://127.0.0.1:${port}/health/live`)).status).toBe(200); // and by now it heeds signals
    network.swallow();
    child.kill('SIGTERM');
    const began = performance.now();
    const [code] = await once(child, 'exit');
    expect(code).toBe(0);
    expect(performance.now() - began).toBeLessThan(20_000);
  }, 120_000);

  test('is cut for a moment: what is asked meanwhile waits, and is answered', async () => {
    const { db, network } = await open();
    await fill(db, 3);
    await network.cut();
    await new Promise((resolve) => setTimeout(resolve, 50)); // the ends of the connections arrive here
    const asked = [
      db.query('select 1 as one'),
      db.query('insert into notes (id) values (200)'),
      db.transaction((tx) => tx.query('insert into notes (id) values (201)')),
    ];
    const settled = Promise.allSettled(asked);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await network.resume();
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
    expect((await db.query('select id from notes where id >= 200')).rowCount).toBe(2);
  });

  test('is cut for longer: what is asked fails after a bounded wait, and of many waiters the later ones at once', async () => {
    const { db, network } = await open();
    await network.cut();
    const ends: number[] = [];
    const began = performance.now();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 700 }, () =>
        db.query('select 1').finally(() => {
          ends.push(performance.now() - began);
        }),
      ),
    );
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    expect(Math.max(...ends)).toBeLessThan(15_000);
    // Whoever is held is held for five seconds; those beyond 500 hear as soon as they were tried once.
    expect(ends.filter((end) => end < 4_800).length).toBeGreaterThanOrEqual(20);
  });
});
