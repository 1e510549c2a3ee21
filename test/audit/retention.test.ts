// How long activity is kept, what a batch of the sweep costs, and what a row of `token.issued` takes.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAudit } from '../../src/audit/audit.ts';
import { briefJson, detailOf } from '../../src/audit/brief-details.ts';
import { createRetention } from '../../src/audit/retention.ts';
import { firstRowId, newRowId } from '../../src/audit/row-ids.ts';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { silentLog } from '../../src/log.ts';
import { newRequestId } from '../../src/web/request.ts';
import { engines } from '../support/engines.ts';
import { startAnew } from '../support/stored.ts';

const day = 86_400_000;
const start = Date.parse('2030-01-01T00:00:00Z');
const issued = {
  grantType: 'refresh_token',
  audience: 'https://api.example.com',
  scope: 'openid profile email offline_access',
  kinds: ['access', 'id', 'refresh'],
};

describe.each(engines)('activity on $name', ({ freshUrl }) => {
  let db: Database;
  let clock: number;
  const newAudit = (retention = {}) => createAudit(db, { log: silentLog, now: () => clock, retention });

  beforeAll(async () => {
    db = await openDatabase(await freshUrl());
    await migrate(db);
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await startAnew(db);
    clock = start;
  });

  async function sweepAll(sweep: (now: number, limit: number) => Promise<number>, now: number): Promise<void> {
    while ((await sweep(now, 10)) === 10);
  }
  const names = async (audit: ReturnType<typeof newAudit>) => (await audit.list()).map(({ event }) => event).sort();

  test('tokens issued are kept for a week, sign-ins for ninety days, what administrators do for ever', async () => {
    const audit = newAudit();
    await db.transaction((tx) => audit.append(tx, { event: 'account.disabled', subject: 'ada' }));
    for (let index = 0; index < 25; index += 1) {
      audit.record({ event: 'signin.succeeded' });
      audit.record({ event: 'token.issued', detail: issued });
      audit.record({ event: 'token.issued_again' });
    }
    audit.record({ event: 'token.issued_elsewhere' });
    const all = await names(audit);
    expect(all).toHaveLength(77);
    await sweepAll(audit.sweepExpired, start + 7 * day);
    expect(await names(audit)).toEqual(all);
    await sweepAll(audit.sweepExpired, start + 7 * day + 1);
    const rest = all.filter((event) => event !== 'token.issued' && event !== 'token.issued_again');
    expect(await names(audit)).toEqual(rest);
    await sweepAll(audit.sweepExpired, start + 90 * day);
    expect(await names(audit)).toEqual(rest);
    await sweepAll(audit.sweepExpired, start + 90 * day + 1);
    expect(await names(audit)).toEqual(['account.disabled']);
    expect(await audit.verify()).toMatchObject({ ok: true, checked: 1 });
  });

  test('what comes later goes when its own time is over, and a process that starts later finds all of it', async () => {
    const audit = newAudit({ tokens: 86_400 });
    audit.record({ event: 'token.issued', clientId: 'first' });
    await audit.list();
    await sweepAll(audit.sweepExpired, start + day + 1);
    expect(await audit.list()).toEqual([]);
    clock += 2 * day;
    audit.record({ event: 'token.issued', clientId: 'second' });
    await audit.list();
    await sweepAll(audit.sweepExpired, clock + day);
    expect(await audit.list()).toHaveLength(1);
    await sweepAll(newAudit({ tokens: 86_400 }).sweepExpired, clock + day + 1);
    expect(await audit.list()).toEqual([]);
  });

  test('tokens issued are never kept longer than other activity', async () => {
    const audit = newAudit({ activity: 86_400, tokens: 30 * 86_400 });
    audit.record({ event: 'token.issued' });
    await audit.list();
    await sweepAll(audit.sweepExpired, start + day + 1);
    expect(await audit.list()).toEqual([]);
  });

  test('a batch looks at as many rows as it may delete, and no batch at what an earlier one has passed', async () => {
    const audit = newAudit();
    for (let index = 0; index < 40; index += 1) audit.record({ event: 'signin.succeeded' });
    await audit.list();
    const looked: string[] = [];
    const counting = {
      query: async <Row>(sql: string, values?: readonly (string | number | null)[]) => {
        const result = await db.query<Row>(sql, values);
        for (const row of result.rows as Array<{ id: string }>) looked.push(row.id);
        return result;
      },
    };
    const sweep = createRetention(counting, {});
    expect(await sweep(start + 8 * day, 10)).toBe(10);
    expect(looked).toHaveLength(10);
    await sweepAll(sweep, start + 8 * day);
    await sweepAll(sweep, start + 9 * day);
    expect(new Set(looked).size).toBe(40);
    expect(looked).toHaveLength(40);
    expect(await audit.list()).toHaveLength(40);
  });

  test('between two moments is found by id, and is what lies between them', async () => {
    const audit = newAudit();
    for (let index = 0; index < 5; index += 1) {
      audit.record({ event: 'signin.succeeded', subject: String(index) });
      clock += 1;
    }
    const found = await audit.list({ since: start + 1, until: start + 4 });
    expect(found.map(({ subject, at }) => [subject, at - start])).toEqual([
      ['3', 3],
      ['2', 2],
      ['1', 1],
    ]);
  });

  test('a row of a refresh takes no more than 250 bytes, indexes included', async () => {
    const rows = 20_000;
    const audit = newAudit();
    const before = await bytesOf(db);
    for (let index = 0; index < rows; index += 1) {
      clock += 3;
      audit.record({
        event: 'token.issued',
        subject: randomUUID(),
        clientId: 'web-app',
        requestId: newRequestId(),
        address: '198.51.100.200',
        detail: issued,
      });
      if (index % 5000 === 4999) await audit.list({ limit: 1 });
    }
    expect((await audit.list({ limit: 1 }))[0]).toMatchObject({ event: 'token.issued', detail: issued });
    const each = ((await bytesOf(db)) - before) / rows;
    expect(each).toBeGreaterThan(100);
    expect(each).toBeLessThanOrEqual(250);
  });
});

async function bytesOf(db: Database): Promise<number> {
  if (db.engine === 'postgres') {
    await db.query('vacuum full audit_events'); // a table grows by many pages at a time: without those that are empty yet
    const { rows } = await db.query<{ bytes: number }>(`select pg_total_relation_size('audit_events') as bytes`);
    return rows[0]!.bytes;
  }
  const { rows } = await db.query<{ bytes: number }>(
    `select (select page_count from pragma_page_count) * (select page_size from pragma_page_size) as bytes`,
  );
  return rows[0]!.bytes;
}

describe('an id', () => {
  test('sorts by time, then by the order of events', () => {
    const ids = [start, start, start, start + 1, start + 4096].map(newRowId);
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
    expect(firstRowId(start) <= ids[0]!).toBe(true);
    expect(firstRowId(start + 1) > ids[2]!).toBe(true);
  });
});

describe('the detail of tokens issued', () => {
  test.each<[string, Record<string, unknown>]>([
    ['a refresh', issued],
    ['a code', { grantType: 'authorization_code', audience: 'a', scope: 'openid', kinds: ['access', 'id'] }],
    ['a service', { grantType: 'client_credentials', kinds: ['access'] }],
    ['several audiences', { grantType: 'refresh_token', audience: ['a', 'b'], kinds: [] }],
    ['another grant type', { grantType: 'urn:ietf:params:oauth:grant-type:device_code', kinds: ['access'] }],
    ['another kind of token', { grantType: 'refresh_token', kinds: ['access', 'device'] }],
    ['a further fact', { ...issued, delegated: true }],
    ['a fact that is null', { ...issued, scope: null }],
    ['nothing', {}],
    ['no scope at all', { grantType: 'refresh_token', scope: '', kinds: [] }],
    ['scopes of an API', { grantType: 'client_credentials', scope: 'orders:read orders:write', kinds: [] }],
    [
      'scopes of both kinds, in any order',
      { grantType: 'refresh_token', scope: 'openid e orders email  o', kinds: [] },
    ],
  ])('is read as it was recorded: %s', (_name, detail) => {
    expect(detailOf(briefJson(detail))).toEqual(detail);
  });

  test('is read as an object where an earlier release wrote it', () => {
    expect(detailOf(JSON.stringify(issued))).toEqual(issued);
  });
});
