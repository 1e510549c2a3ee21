import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import { AppError } from '../../src/errors.ts';
import type { JwksClients, JwksClientsOptions } from '../../src/keys/jwks-clients.ts';
import { createJwksClients, isRegular } from '../../src/keys/jwks-clients.ts';
import { createLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const start = Date.parse('2030-01-01T00:00:00Z');

describe.each(engines)('the consumers of the JWKS on $name', ({ freshDatabase }) => {
  let db: Database;
  let clock: number;
  let events: string[];
  let consumers: JwksClients;
  const log = createLog('debug', (line) => events.push(JSON.parse(line).event));
  const open = (options: Partial<JwksClientsOptions> = {}, on: Database = db) =>
    createJwksClients(on, { now: () => clock, flushEveryMs: 3_600_000, log, ...options });
  const orders = { userAgent: 'signet-verifier/0.1.0 (orders)', address: '192.0.2.1', newestPreparedAt: 1 };
  const names = async () => (await consumers.list()).map(({ name }) => name).sort();

  beforeAll(async () => {
    db = await freshDatabase();
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await db.query('delete from jwks_consumers');
    clock = start;
    events = [];
    consumers = open();
  });

  describe('a fetch', () => {
    test('counts for the service that the verifier names, at its address', async () => {
      consumers.seen(orders);
      clock += minute;
      consumers.seen({ ...orders, newestPreparedAt: 7 });
      expect(await consumers.list()).toEqual([
        {
          kind: 'service',
          name: 'orders',
          address: '192.0.2.1',
          declared: false,
          fetches: 2,
          firstSeenAt: start,
          lastSeenAt: start + minute,
          newestPreparedAt: 7,
        },
      ]);
    });

    test.each([
      ['python-requests/2.32', 'python-requests/2.32'],
      ['orders', 'orders'],
      ['signet-verifier/0.1.0', 'signet-verifier/0.1.0'],
      ['signet-verifier/0.1.0 (a) (b)', 'signet-verifier/0.1.0 (a) (b)'],
      ['evil\u001b[31m\tname', 'evil?[31m?name'],
      ['', 'unnamed'],
      ['x'.repeat(5_000), 'x'.repeat(100)],
    ])('of any other client counts for its User-Agent, cut and printable: %j', async (userAgent, name) => {
      consumers.seen({ ...orders, userAgent });
      expect(await consumers.list()).toMatchObject([{ kind: 'client', name, fetches: 1 }]);
    });

    test('is not confused with a client that calls itself what a service is called', async () => {
      consumers.seen(orders);
      consumers.seen({ ...orders, userAgent: 'orders' });
      consumers.seen({ ...orders, address: '192.0.2.2' });
      expect(await consumers.list()).toHaveLength(3);
    });

    test('costs no query: all are written together, and added to what is there', async () => {
      let queries = 0;
      const counted: Database = {
        ...db,
        query: (sql, values) => {
          queries += 1;
          return db.query(sql, values);
        },
      };
      consumers = open({}, counted);
      for (let index = 0; index < 5_000; index += 1) consumers.seen({ ...orders, address: `192.0.2.${index % 4}` });
      expect(queries).toBe(0);
      await consumers.close();
      expect(queries).toBe(2); // which names are known, and one statement
      consumers = open();
      consumers.seen({ ...orders, address: '192.0.2.0' });
      expect((await consumers.list()).map(({ fetches }) => fetches).sort()).toEqual([1250, 1250, 1250, 1251]);
    });

    test('is kept when the database is away, and told once', async () => {
      let away = true;
      const gone = new AppError('database_unavailable', 503, 'away');
      consumers = open({}, { ...db, query: (sql, values) => (away ? Promise.reject(gone) : db.query(sql, values)) });
      consumers.seen(orders);
      await expect(consumers.list()).rejects.toBe(gone);
      consumers.seen(orders);
      await expect(consumers.list()).rejects.toBe(gone);
      away = false;
      expect(await consumers.list()).toMatchObject([{ fetches: 2 }]);
      expect(events).toEqual(['jwks.consumers_not_written']);
    });

    test('is written at close, and not counted afterwards', async () => {
      consumers.seen(orders);
      await consumers.close();
      consumers.seen(orders);
      expect(await open().list()).toMatchObject([{ fetches: 1 }]);
    });
  });

  describe('a flood of invented names', () => {
    test('fills neither memory nor table; what is beyond is counted as others', async () => {
      consumers = open({ atMost: 20 });
      consumers.seen(orders);
      for (let round = 0; round < 3; round += 1) {
        for (let index = 0; index < 100; index += 1) {
          consumers.seen({ ...orders, userAgent: `bot ${round} ${index}`, address: `198.51.100.${index}` });
        }
        await consumers.list();
      }
      const all = await consumers.list();
      expect(all).toHaveLength(21);
      const others = all.find(({ kind }) => kind === 'others');
      expect(others).toMatchObject({ name: 'others', address: '', fetches: 301 - 20 });
    });

    test('inventing names at one address takes nobody else’s place', async () => {
      for (let index = 0; index < 510; index += 1) {
        consumers.seen({ ...orders, userAgent: `signet-verifier/0.1.0 (fake${index})`, address: '203.0.113.1' });
      }
      consumers.seen(orders);
      await consumers.list();
      consumers.seen({ ...orders, userAgent: 'signet-verifier/0.1.0 (stock)' });
      expect((await names()).filter((name) => !name.startsWith('fake'))).toEqual(['orders', 'others', 'stock']);
      expect(await names()).toHaveLength(20 + 3);
    });

    test('leaves room for who comes later: who came once goes first', async () => {
      consumers = open({ atMost: 10 });
      for (let index = 0; index < 9; index += 1) {
        consumers.seen({ ...orders, userAgent: `bot ${index}`, address: `203.0.113.${index}` });
        clock += 1;
      }
      for (let time = 0; time < 2; time += 1) consumers.seen({ ...orders, userAgent: 'signet-verifier/0.1.0 (stock)' });
      await consumers.list();
      consumers.seen(orders);
      const bots = Array.from({ length: 8 }, (_, at) => `bot ${at + 1}`);
      expect(await names()).toEqual([...bots, 'orders', 'others', 'stock']);
    });

    test('is nothing that a rotation may take for readiness: among the others may be anybody', async () => {
      consumers = open({ atMost: 1 });
      consumers.seen(orders);
      consumers.seen(orders);
      consumers.seen({ ...orders, address: '192.0.2.2', newestPreparedAt: 7 });
      const unseen = async () => (await consumers.readiness({ preparedAt: 7 })).unseenBy.map(({ name }) => name);
      expect(await unseen()).toEqual(['others']);
      clock += 7 * day + 1;
      expect(await unseen()).toEqual([]);
    });

    test('does not push out those who were known before, also after a restart', async () => {
      consumers.seen(orders);
      await consumers.close();
      consumers = open({ atMost: 5 });
      for (let index = 0; index < 4; index += 1) consumers.seen({ ...orders, userAgent: `bot ${index}` });
      consumers.seen(orders);
      const known = (await consumers.list()).find(({ name }) => name === 'orders');
      expect(known).toMatchObject({ fetches: 2 });
    });

    test('is forgotten: names that came once after two days, the others after thirty', async () => {
      consumers.seen({ ...orders, userAgent: 'once' });
      consumers.seen(orders);
      consumers.seen(orders);
      await consumers.list();
      expect(await consumers.sweep(start + 2 * day, 100)).toBe(0);
      expect(await consumers.sweep(start + 2 * day + 1, 100)).toBe(1);
      expect(await names()).toEqual(['orders']);
      expect(await consumers.sweep(start + 30 * day, 100)).toBe(0);
      expect(await consumers.sweep(start + 30 * day + 1, 100)).toBe(1);
    });
  });

  describe('what strangers say is hearsay', () => {
    const isDeclared = (address: string) => address.startsWith('10.');
    const declared = { ...orders, address: '10.0.0.7' };
    async function bothComeRegularly(): Promise<void> {
      for (clock = start; clock <= start + 2 * hour; clock += hour) {
        consumers.seen({ ...orders, userAgent: 'signet-verifier/1.0 (invented)' });
        consumers.seen(declared);
      }
      clock = start + 2 * hour;
    }

    test('and waited for by nobody: those from declared networks are', async () => {
      consumers = open({ isDeclared });
      await bothComeRegularly();
      const { unseenBy, waitedFor } = await consumers.readiness({ preparedAt: 7 });
      expect(unseenBy.map(({ name, declared: is }) => [name, is]).sort()).toEqual([
        ['invented', false],
        ['orders', true],
      ]);
      expect(waitedFor).toMatchObject([{ name: 'orders', address: '10.0.0.7' }]);
    });

    test('nobody is, where no network is declared', async () => {
      await bothComeRegularly();
      expect((await consumers.readiness({ preparedAt: 7 })).waitedFor).toEqual([]);
    });

    test('and takes no room of those from declared networks, who are too many by themselves alone', async () => {
      consumers = open({ isDeclared, atMost: 10, atMostPerAddress: 10 });
      for (let index = 0; index < 100; index += 1) {
        for (let time = 0; time < 2; time += 1) {
          consumers.seen({ ...orders, userAgent: `bot ${index}`, address: `203.0.113.${index}` });
        }
      }
      await consumers.list();
      for (let index = 0; index < 12; index += 1) consumers.seen({ ...declared, address: `10.0.0.${index}` });
      const ours = (await consumers.list()).filter((one) => one.declared).map(({ kind, address }) => [kind, address]);
      expect(ours).toHaveLength(11);
      expect(ours).toContainEqual(['others', 'declared networks']);
      // Who of ours could not be told apart may need the key, and is waited for.
      clock += hour;
      expect((await consumers.readiness({ preparedAt: 7 })).waitedFor).toMatchObject([{ kind: 'others' }]);
    });

    test('and is forgotten at a word, which is in the audit trail; ours by their name alone', async () => {
      const audit = createAudit(db, { log, now: () => clock });
      consumers = open({ isDeclared, audit });
      await bothComeRegularly();
      expect(await consumers.forget(undefined, { actor: 'cli:ada' })).toBe(1);
      expect(await names()).toEqual(['orders']);
      expect(await consumers.forget('nobody', { actor: 'cli:ada' })).toBe(0);
      expect(await consumers.forget('orders', { actor: 'cli:ada' })).toBe(1);
      expect(await names()).toEqual([]);
      expect(await audit.list({ event: 'key.clients_forgotten' })).toMatchObject([
        { actor: 'cli:ada', detail: { name: 'orders', forgotten: 1 } },
        { detail: { forgotten: 1 } },
      ]);
      consumers.seen(declared);
      expect(await consumers.list()).toMatchObject([{ name: 'orders', fetches: 1 }]);
    });
  });

  describe('a key that was prepared', () => {
    const key = { preparedAt: start + day };
    const regular = (name: string, newestPreparedAt: number) => {
      clock = start;
      consumers.seen({ ...orders, userAgent: `signet-verifier/0.1.0 (${name})`, newestPreparedAt });
      clock = start + day + hour;
      consumers.seen({ ...orders, userAgent: `signet-verifier/0.1.0 (${name})`, newestPreparedAt });
    };
    const shown = async () => {
      const { seenBy, unseenBy, silent } = await consumers.readiness(key);
      return [seenBy, unseenBy, silent].map((list) => list.map(({ name }) => name));
    };

    test('is had by those that were served it, and not by those that were served older keys later', async () => {
      regular('has it', key.preparedAt);
      regular('was served by a replica that is behind', key.preparedAt - 1);
      expect(await shown()).toEqual([['has it'], ['was served by a replica that is behind'], []]);
    });

    test('is had no more by one that was then served older keys', async () => {
      regular('orders', key.preparedAt);
      await consumers.list();
      clock += minute;
      consumers.seen({ ...orders, newestPreparedAt: key.preparedAt - 1 });
      expect(await shown()).toEqual([[], ['orders'], []]);
    });

    test('what an earlier moment knew does not undo a later one, whichever replica writes first', async () => {
      const slow = open();
      slow.seen({ ...orders, newestPreparedAt: 1 });
      clock += hour;
      consumers.seen({ ...orders, newestPreparedAt: key.preparedAt });
      await consumers.close();
      await slow.close();
      consumers = open();
      expect(await consumers.list()).toMatchObject([
        { fetches: 2, firstSeenAt: start, lastSeenAt: start + hour, newestPreparedAt: key.preparedAt },
      ]);
    });

    test('is not waited for by who came once or stopped coming', async () => {
      consumers.seen({ ...orders, userAgent: 'curl/8' });
      regular('gone', 1);
      clock += 3 * day;
      expect(await shown()).toEqual([[], [], ['gone', 'curl/8']]);
    });
  });
});

describe('who still comes', () => {
  const consumer = (visits: { first: number; last: number; fetches: number }) => ({
    kind: 'service' as const,
    name: 'orders',
    address: '',
    declared: true,
    newestPreparedAt: 0,
    firstSeenAt: visits.first,
    lastSeenAt: visits.last,
    fetches: visits.fetches,
  });
  test.each([
    ['came once', { first: 0, last: 0, fetches: 1 }, 0, false],
    ['came twice within a minute', { first: 0, last: minute - 1, fetches: 2 }, minute, false],
    ['comes every few minutes', { first: 0, last: day, fetches: 300 }, day + 25 * hour, true],
    [
      'came every few minutes, silent for a day and more',
      { first: 0, last: day, fetches: 300 },
      day + 25 * hour + 1,
      false,
    ],
    ['comes every second day', { first: 0, last: 4 * day, fetches: 3 }, 8 * day, true],
    ['came every second day, and missed two', { first: 0, last: 4 * day, fetches: 3 }, 8 * day + 1, false],
    ['comes once a month', { first: 0, last: 30 * day, fetches: 2 }, 37 * day, true],
    ['comes once a month, a week ago', { first: 0, last: 30 * day, fetches: 2 }, 37 * day + 1, false],
  ])('%s', (_who, visits, now, expected) => {
    expect(isRegular(consumer(visits), now)).toBe(expected);
  });
});
