import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Audit, AuditQuery } from '../../src/audit/audit.ts';
import { createAudit } from '../../src/audit/audit.ts';
import { createRefusals } from '../../src/audit/refusals.ts';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { createLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { startAnew } from '../support/stored.ts';

const start = Date.parse('2030-01-01T00:00:00Z');

describe.each(engines)('the audit trail on $name', ({ freshUrl }) => {
  let url: string;
  let db: Database;
  let audit: Audit;
  let clock: number;
  let lines: string[];
  const log = createLog('debug', (line) => lines.push(line));

  beforeAll(async () => {
    url = await freshUrl();
    db = await openDatabase(url);
    await migrate(db);
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await startAnew(db);
    clock = start;
    lines = [];
    audit = createAudit(db, { log, now: () => clock });
  });

  const act = (subject: string, detail?: Record<string, unknown>) =>
    db.transaction((tx) => audit.append(tx, { event: 'account.disabled', actor: 'admin', subject, detail }));
  const acts = async (count: number) => {
    for (let index = 1; index <= count; index += 1) await act(`person ${index}`);
  };
  const rowCount = async () => (await db.query<{ n: number }>('select count(*) as n from audit_events')).rows[0]!.n;
  const logged = (event: string) => lines.map((line) => JSON.parse(line)).filter((line) => line.event === event);
  /** The database, of which writing fails while `away`. */
  const flaky = (): { db: Database; away: boolean } => {
    const state: { db: Database; away: boolean } = {
      away: true,
      db: {
        ...db,
        query: (text, values) => (state.away ? Promise.reject(new Error('away')) : db.query(text, values)),
      },
    };
    return state;
  };

  describe('administrative events', () => {
    test('are read back as they happened, newest first', async () => {
      await act('one', { reason: 'left', fields: ['name'] });
      clock += 1000;
      await db.transaction((tx) =>
        audit.append(tx, {
          event: 'application.registered',
          actor: 'admin',
          subject: 'spa',
          clientId: 'console',
          requestId: 'r1',
          address: '::1',
        }),
      );
      expect(await audit.list()).toMatchObject([
        {
          seq: 2,
          at: start + 1000,
          event: 'application.registered',
          actor: 'admin',
          subject: 'spa',
          clientId: 'console',
          requestId: 'r1',
          address: '::1',
          detail: {},
        },
        { seq: 1, at: start, event: 'account.disabled', subject: 'one', detail: { reason: 'left', fields: ['name'] } },
      ]);
    });

    test('are gone where the act itself was rolled back, and leave no gap', async () => {
      await act('one');
      await expect(
        db.transaction(async (tx) => {
          await audit.append(tx, { event: 'account.disabled', subject: 'two' });
          throw new Error('the act failed');
        }),
      ).rejects.toThrow('the act failed');
      await act('three');
      expect((await audit.list()).map(({ subject, seq }) => [subject, seq])).toEqual([
        ['three', 2],
        ['one', 1],
      ]);
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 2 });
    });

    test('form one chain, however many processes append together', async () => {
      const other = await openDatabase(url);
      const elsewhere = createAudit(other, { log });
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          index % 2 === 0
            ? act(`person ${index}`)
            : other.transaction((tx) =>
                elsewhere.append(tx, { event: 'account.disabled', subject: `person ${index}` }),
              ),
        ),
      );
      await other.close();
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 20 });
    });

    test('can be filtered by time, event and subject', async () => {
      await acts(3);
      clock += 60_000;
      await acts(2);
      const subjects = async (query: AuditQuery) => (await audit.list(query)).map(({ subject }) => subject);
      expect(await subjects({ since: start + 60_000 })).toEqual(['person 2', 'person 1']);
      expect(await subjects({ until: start + 60_000 })).toEqual(['person 3', 'person 2', 'person 1']);
      expect(await subjects({ subject: 'person 1', event: 'account.disabled' })).toEqual(['person 1', 'person 1']);
      expect(await subjects({ event: 'nothing' })).toEqual([]);
      expect(await subjects({ limit: 1 })).toEqual(['person 2']);
    });
  });

  describe('a chain that somebody has worked on', () => {
    const sql = (text: string) => async () => void (await db.query(text));
    const swap = (a: number, b: number) => async () => {
      await db.query(`update audit_events set seq = -1 where seq = ${a}`);
      await db.query(`update audit_events set seq = ${a} where seq = ${b}`);
      await db.query(`update audit_events set seq = ${b} where seq = -1`);
    };
    test('is whole where nobody has', async () => {
      expect(await audit.verify()).toEqual({ ok: true, checked: 0, head: '' });
      await acts(6);
      expect(await audit.verify()).toEqual({ ok: true, checked: 6, head: expect.stringMatching(/^[\w-]{43}$/) });
    });

    test.each([
      ['id', 'x'],
      ['at', 5],
      ['event', 'x'],
      ['actor', 'x'],
      ['subject', 'x'],
      ['client_id', 'x'],
      ['request_id', 'x'],
      ['address', 'x'],
      ['detail', '{"x":1}'],
      ['previous_hash', 'x'],
      ['hash', 'x'],
    ])('a changed %s is found', async (column, value) => {
      await acts(6);
      await db.query(`update audit_events set ${column} = $1 where seq = 4`, [value]);
      expect(await audit.verify()).toEqual({ ok: false, seq: 4, problem: 'changed' });
    });

    test.each<[what: string, work: () => Promise<void>, seq: number, problem: string]>([
      ['the first row removed', sql('delete from audit_events where seq = 1'), 1, 'removed'],
      ['a row removed', sql('delete from audit_events where seq = 3'), 3, 'removed'],
      ['the last row removed', sql('delete from audit_events where seq = 6'), 6, 'removed'],
      ['every row removed', sql('delete from audit_events'), 1, 'removed'],
      ['a row taken out of the chain', sql('update audit_events set seq = null where seq = 3'), 3, 'removed'],
      ['neighbours exchanged', swap(3, 4), 3, 'reordered'],
      ['distant rows exchanged', swap(2, 6), 2, 'reordered'],
      [
        'a row removed and the gap closed',
        async () => {
          await db.query('delete from audit_events where seq = 3');
          for (const seq of [4, 5, 6]) await db.query('update audit_events set seq = $1 - 1 where seq = $1', [seq]);
          await db.query('update audit_head set seq = 5');
        },
        3,
        'removed',
      ],
      [
        'a row put at the end',
        sql(`insert into audit_events (id, at, event, detail, seq, previous_hash, hash)
        values ('x', 1, 'x', '{}', 7, 'x', 'x')`),
        7,
        'changed',
      ],
      ['the last row forgotten by the head', sql('update audit_head set seq = 5'), 6, 'added'],
      ['a forged head', sql(`update audit_head set hash = 'x'`), 6, 'changed'],
    ])('%s is found, and where', async (_what, work, seq, problem) => {
      await acts(6);
      await work();
      expect(await audit.verify()).toEqual({ ok: false, seq, problem });
    });

    test('a row rewritten together with its own hash is found as that row, not as the next', async () => {
      await acts(6);
      // A forger who knows the method lets the code itself append a row, and puts it in the place of another.
      const forged = await openDatabase(await freshUrl());
      await migrate(forged);
      const forger = createAudit(forged, { log, now: () => clock });
      const {
        rows: [third],
      } = await db.query<{ hash: string }>('select hash from audit_events where seq = 3');
      await forged.query('update audit_head set seq = 3, hash = $1', [third!.hash]);
      await forged.transaction((tx) => forger.append(tx, { event: 'account.disabled', subject: 'somebody else' }));
      const {
        rows: [row],
      } = await forged.query('select id, actor, subject, hash from audit_events');
      await forged.close();
      await db.query('update audit_events set id = $1, actor = $2, subject = $3, hash = $4 where seq = 4', [
        row!.id!,
        row!.actor!,
        row!.subject!,
        row!.hash!,
      ]);
      expect(await audit.verify()).toEqual({ ok: false, seq: 4, problem: 'changed' });
    });

    test('longer than a page is walked to its end', async () => {
      await db.transaction(async (tx) => {
        for (let index = 0; index < 1_010; index += 1)
          await audit.append(tx, { event: 'account.enabled', subject: `${index}` });
      });
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 1_010 });
      await swap(499, 1_003)();
      expect(await audit.verify()).toEqual({ ok: false, seq: 499, problem: 'reordered' });
    });
  });

  describe('activity', () => {
    test('returns at once and is written behind the request, in order, outside the chain', async () => {
      for (const subject of ['one', 'two', 'three']) audit.record({ event: 'signin.succeeded', subject });
      expect(await rowCount()).toBe(0);
      const rows = (await audit.list()).map(({ subject, seq }) => [subject, seq]);
      expect(rows).toEqual([
        ['three', null],
        ['two', null],
        ['one', null],
      ]);
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 0 });
    });

    test('in any amount is written once, and what is left is written at close', async () => {
      for (let index = 0; index < 1_250; index += 1) audit.record({ event: 'token.issued', subject: `${index}` });
      await audit.close();
      expect(await rowCount()).toBe(1_250);
      audit.record({ event: 'token.issued' });
      await audit.close();
      expect(await rowCount()).toBe(1_250);
    });

    test('is not lost while the database is away, does not fail the request, and is complained of once', async () => {
      const state = flaky();
      const behind = createAudit(state.db, { log });
      behind.record({ event: 'signin.succeeded', subject: 'one' });
      await expect(behind.list()).rejects.toThrow('away');
      behind.record({ event: 'signin.succeeded', subject: 'two' });
      await expect(behind.list()).rejects.toThrow('away');
      expect(logged('audit.write_failed')).toHaveLength(1);
      state.away = false;
      expect((await behind.list()).map(({ subject }) => subject)).toEqual(['two', 'one']);
      await behind.close();
    });

    test('that could not be written until the end is counted and said', async () => {
      const behind = createAudit(flaky().db, { log });
      for (let index = 0; index < 3; index += 1) behind.record({ event: 'token.issued' });
      await behind.close();
      expect(logged('audit.events_dropped')).toMatchObject([{ dropped: 3 }]);
    });

    test('beyond what memory may hold is counted and said', async () => {
      const state = flaky();
      const behind = createAudit(state.db, { log });
      for (let index = 0; index < 20_007; index += 1) behind.record({ event: 'token.issued' });
      state.away = false;
      await behind.close();
      expect(await rowCount()).toBe(20_000);
      expect(logged('audit.events_dropped')).toMatchObject([{ dropped: 7 }]);
    });

    test('that a thousand strangers cause is a handful of rows, and a sign-in among them is recorded', async () => {
      const refusal = {
        event: 'token.refused' as const,
        detail: { error: 'invalid_client', description: 'x'.repeat(12_000) },
      };
      for (let index = 0; index < 1_000; index += 1) {
        audit.record({ ...refusal, address: '192.0.2.1', requestId: `r${index}` });
        if (index === 500) audit.record({ event: 'signin.refused', subject: 'ada', address: '192.0.2.1' });
      }
      await audit.close();
      const rows = await createAudit(db, { log }).list();
      expect(
        rows.map(({ event, subject, requestId, address, detail }) => [
          event,
          subject,
          requestId,
          address,
          detail.error,
          detail.times,
        ]),
      ).toEqual([
        ['token.refused', undefined, undefined, '192.0.2.1', 'invalid_client', 999],
        ['signin.refused', 'ada', undefined, '192.0.2.1', undefined, undefined],
        ['token.refused', undefined, 'r0', '192.0.2.1', 'invalid_client', undefined],
      ]);
      expect(JSON.stringify(rows).length).toBeLessThan(2_000);
    });

    test('in the name of an application is told in rows for a minute’s mistakes, and then counted', async () => {
      for (let index = 0; index < 1_000; index += 1) {
        const detail = { error: 'invalid_grant' };
        audit.record({ event: 'token.refused', clientId: 'spa', address: '192.0.2.1', detail });
      }
      await audit.close();
      const rows = await createAudit(db, { log }).list();
      expect(rows).toHaveLength(61);
      expect(rows.filter(({ detail }) => detail.times)).toMatchObject([{ clientId: 'spa', detail: { times: 940 } }]);
    });

    test('that they cause from all over one network is rows for a minute’s mistakes, whatever the kinds', async () => {
      const networked = createAudit(db, { log, networkOf: (address) => address.split('::')[0]! });
      for (let index = 0; index < 3_000; index += 1) {
        networked.record({
          event: (['userinfo.refused', 'token.refused', 'authorization.refused'] as const)[index % 3]!,
          clientId: `app${index % 7}`,
          address: `2001:db8::${index}`,
          detail: { error: `e${index % 5}` },
        });
      }
      await networked.close();
      const rows = await createAudit(db, { log }).list({ limit: 1000 });
      const plain = rows.filter(({ detail }) => !detail.times);
      expect(plain).toHaveLength(60);
      expect(rows.length).toBeLessThanOrEqual(60 + 10 + 3);
      const times = rows.reduce((sum, { detail }) => sum + Number(detail.times ?? 1), 0);
      expect(times).toBe(3_000);
    });

    test('that they cause from ever other networks, for days, fills nothing; one who comes later has a row', async () => {
      let now = start;
      const minutes = 3 * 1440;
      const behind = createRefusals({ now: () => now });
      let rows = 0;
      for (let minute = 0; minute < minutes; minute += 1) {
        for (let index = 0; index < 40; index += 1) {
          const admitted = behind.admits({
            event: 'token.refused',
            clientId: 'spa',
            address: `${minute} ${index}`,
            detail: { error: `${index}` },
          });
          if (admitted) rows += 1;
        }
        now += 60_000;
        rows += behind.take().length;
      }
      expect(rows).toBeLessThan(600 + minutes * (10 + 10 + 1));
      now += 60_000;
      expect(behind.admits({ event: 'token.refused', address: 'quiet', detail: { error: 'x' } })).toBe(true);
    });

    test('that one network causes leaves room for the others', async () => {
      const behind = createRefusals({ now: () => start });
      const refused = (address: string, error: string) =>
        behind.admits({ event: 'token.refused', address, detail: { error } });
      // Many networks, each as much as it gets: half of all is gone, and who comes next has rows all the same.
      for (let network = 0; network < 1_000; network += 1) {
        for (let index = 0; index < 80; index += 1) refused(`attacker ${network % 8}`, `e${network} ${index}`);
      }
      expect(refused('honest', 'invalid_grant')).toBe(true);
      expect(refused('honest', 'invalid_client')).toBe(true);
    });

    test('that they cause is counted by the minute', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      onTestFinished(() => {
        vi.useRealTimers();
      });
      for (let minute = 0; minute < 2; minute += 1) {
        for (let index = 0; index < 10; index += 1) audit.record({ event: 'userinfo.refused', address: '192.0.2.1' });
        vi.advanceTimersByTime(60_000);
      }
      vi.useRealTimers();
      expect((await audit.list()).map(({ detail }) => detail.times)).toEqual([9, undefined, 9, undefined]);
    });

    test('of people has room that refusals of strangers do not take', async () => {
      const state = flaky();
      const behind = createAudit(state.db, { log });
      for (let index = 0; index < 12_000; index += 1) {
        behind.record({ event: 'token.refused', clientId: `${index}`, address: '192.0.2.1' });
      }
      behind.record({ event: 'signin.succeeded', subject: 'ada' });
      state.away = false;
      await behind.close();
      expect(await rowCount()).toBeLessThan(100);
      expect(await audit.list({ event: 'signin.succeeded' })).toHaveLength(1);
    });
  });

  describe('a secret in the detail', () => {
    test.each([
      [{ password: 'x' }],
      [{ client_secret: 'x' }],
      [{ accessToken: 'x' }],
      [{ refresh_tokens: ['x'] }],
      [{ code: 'x' }],
      [{ Cookie: 'x' }],
      [{ jwk: { kty: 'RSA', n: 'x', d: 'x' } }],
      [{ keys: [{ qi: 'x' }] }],
      [{ a: { b: [{ 'set-cookie': 'x' }] } }],
    ])('%j is refused before anything is written', async (detail) => {
      await expect(act('somebody', detail)).rejects.toThrow(TypeError);
      expect(await rowCount()).toBe(0);
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 0 });
    });

    test('of activity is left out, and the mistake is logged without it', async () => {
      audit.record({ event: 'signin.refused', subject: 'one', detail: { password: 'correct horse' } });
      expect(await audit.list()).toMatchObject([{ event: 'signin.refused', subject: 'one', detail: {} }]);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain('audit.detail_refused');
      expect(lines[0]).not.toContain('correct horse');
    });

    test('is told from facts about secrets', async () => {
      await act('somebody', { token_type: 'Bearer', codeChallengeMethod: 'S256', passwordMustChange: true, key: 'k' });
      expect(await rowCount()).toBe(1);
    });
  });
});
