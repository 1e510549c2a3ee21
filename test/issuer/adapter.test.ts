import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAudit } from '../../src/audit/audit.ts';
import { createLogoutQueue } from '../../src/backchannel-logout/queue.ts';
import { createClients } from '../../src/clients/clients.ts';
import type { Database } from '../../src/database/database.ts';
import { createGrantEnding, type GrantEnding } from '../../src/grants/ending.ts';
import { cutSessions, endGrants, endSessionsOf } from '../../src/grants/grant-rows.ts';
import { createModels, type Models } from '../../src/issuer/adapter.ts';
import { createLog } from '../../src/log.ts';
import { createStatusIndexes, type StatusIndex } from '../../src/status-list/indexes.ts';
import { createRevokedStatuses, type RevokedStatuses } from '../../src/status-list/revoked.ts';
import { engines } from '../support/engines.ts';

const hour = 3600;
const start = Date.parse('2030-01-01T00:00:00Z');

describe.each(engines)('what the issuer stores, on $name', ({ freshDatabase }) => {
  let db: Database;
  let models: Models;
  let ending: GrantEnding;
  let revoked: RevokedStatuses;
  let now = start;
  beforeAll(async () => {
    db = await freshDatabase();
    const audit = createAudit(db, { log: createLog('silent') });
    revoked = createRevokedStatuses(db, { clockSkew: 0 });
    ending = createGrantEnding({
      revoked,
      statusLists: { refresh: async () => {} },
      logoutQueue: createLogoutQueue(db, createClients(db, [], audit)),
    });
    models = createModels(
      db,
      async () => undefined,
      { ending, statusIndexes: createStatusIndexes(db, { longestHolderLife: hour }) },
      () => now,
    );
  });
  afterAll(() => db.close());

  async function storeRefreshToken(handle: string, lifeSeconds: number, grantId = `grant of ${handle}`): Promise<void> {
    const payload = { jti: handle, grantId, accountId: 'ada', clientId: 'spa', exp: now / 1000 + lifeSeconds };
    await models.adapter('Grant').upsert(grantId, { clientId: 'spa' }, 1000 * hour);
    await models.adapter('RefreshToken').upsert(handle, payload, lifeSeconds);
  }

  /** A handle of the chain that is called so. */
  const handleOf = (name: string, secret: string) =>
    `${name.replaceAll(' ', '-').padEnd(22, '_')}~zzzzzz~${secret.replaceAll(' ', '-').padEnd(43, '_')}`;
  const chain = (name: string) => handleOf(name, 'first');
  const successor = (name: string, heir: string, lifeSeconds: number) => ({
    handle: handleOf(name, heir),
    payload: { grantId: '', accountId: 'ada', clientId: 'spa', exp: now / 1000 + lifeSeconds },
    request: '[null,null]',
    network: '192.0.2.0/24',
  });

  test('a credential is found by its value and stored under its digest', async () => {
    await storeRefreshToken('handle-of-a-token', hour, 'a grant');
    expect(await models.adapter('RefreshToken').find('handle-of-a-token')).toMatchObject({ jti: 'handle-of-a-token' });
    const { rows } = await db.query('select * from refresh_tokens');
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain('handle-of-a-token');
  });

  test('a code is consumed once: the second caller is told', async () => {
    const codes = models.adapter('AuthorizationCode');
    await codes.upsert('code', { jti: 'code' }, 60);
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => codes.consume('code')));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await codes.find('code')).toMatchObject({ consumed: now / 1000 });
  });

  test('consuming what was never there is refused, like what was consumed', async () => {
    await expect(models.adapter('AuthorizationCode').consume('nothing')).rejects.toThrow('invalid_grant');
  });

  test('a session that ended is not written back by a request that had read it before', async () => {
    const sessions = models.adapter('Session');
    const payload = { jti: 'cookie', uid: 'uid of the session', accountId: 'ada' };
    await sessions.upsert('cookie', payload, hour);
    expect(await sessions.findByUid('uid of the session')).toMatchObject({ accountId: 'ada' });
    await sessions.destroy('cookie');
    await sessions.upsert('cookie', payload, hour);
    expect(await sessions.find('cookie')).toBeUndefined();
    expect(await sessions.findByUid('uid of the session')).toBeUndefined();
    const later = now + 2 * hour * 1000;
    expect(await models.sweep(later, 500)).toBeGreaterThan(0);
    expect((await db.query("select id from oidc_models where model = 'Session'")).rows).toEqual([]);
  });

  test('a refresh token has one successor, whoever asks', async () => {
    await storeRefreshToken(chain('contended'), hour);
    const won = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        models.rotate(chain('contended'), successor('contended', `heir ${index}`, hour), now),
      ),
    );
    expect(won.filter(Boolean)).toHaveLength(1);
    const stored = await models.findRefreshToken(chain('contended'));
    expect(stored).toMatchObject({ state: 'previous', rotation: { at: now, request: '[null,null]' } });
    const heir = handleOf('contended', `heir ${won.indexOf(true)}`);
    expect(await models.findRefreshToken(heir)).toMatchObject({ state: 'current' });
    expect(await models.findRefreshToken(handleOf('contended', 'invented'))).toMatchObject({ state: 'older' });
  });

  test('a refresh token that was revoked meanwhile has no successor', async () => {
    await storeRefreshToken(chain('revoked'), hour, 'revoked grant');
    await models.adapter('RefreshToken').revokeByGrantId('revoked grant');
    expect(await models.rotate(chain('revoked'), successor('revoked', 'orphan', hour), now)).toBe(false);
    expect(await models.findRefreshToken(handleOf('revoked', 'orphan'))).toBeUndefined();
  });

  test('a refresh token whose grant ended meanwhile has no successor: its tokens would be refused', async () => {
    await storeRefreshToken(chain('of an ended grant'), hour, 'ended grant');
    await db.transaction((tx) => endGrants(tx, { grantId: 'ended grant' }, ending, () => now));
    const stillborn = successor('of an ended grant', 'stillborn', hour);
    expect(await models.rotate(chain('of an ended grant'), stillborn, now)).toBe(false);
    expect(await models.findRefreshToken(stillborn.handle)).toMatchObject({ state: 'older' });
  });

  test('a spent refresh token stays spent while it could be used, also after lives were shortened', async () => {
    now = start;
    await storeRefreshToken(chain('long-lived'), 100 * hour);
    await models.rotate(chain('long-lived'), successor('long-lived', 'short-lived', hour), now);
    now += 30 * hour * 1000;
    await models.sweep(now, 500);
    expect(await models.findRefreshToken(chain('long-lived'))).toMatchObject({
      state: 'previous',
      rotation: { at: start },
    });
    now = start;
  });

  test('a spent refresh token ends when it says so itself, whatever became of its chain', async () => {
    const end = Math.floor(now / 1000) + 60;
    const handle = chain('ending').replace('zzzzzz', end.toString(36));
    await storeRefreshToken(handle, hour);
    await models.rotate(handle, successor('ending', 'heir', 100 * hour), now);
    expect((await models.findRefreshToken(handle))?.payload.exp).toBe(end);
  });

  test('the sweep takes what expired, a batch at a time, and leaves the rest', async () => {
    await db.query('delete from refresh_tokens');
    const day = 24 * hour;
    for (const [handle, life] of [
      ['gone-1', 1],
      ['gone-2', 2],
      ['gone-3', 3],
      ['stays', 3 * day],
    ] as const) {
      await storeRefreshToken(handle, life);
    }
    // To the day: see refresh-rows.ts.
    const later = now + day * 1000;
    expect(await models.sweep(later, 2)).toBe(2);
    expect(await models.sweep(later, 2)).toBe(1);
    expect(await models.sweep(later, 2)).toBe(0);
    expect(await models.adapter('RefreshToken').find('stays')).toBeDefined();
  });

  test('of everybody, where sessions are cut, and no request that was under way brings one back', async () => {
    const session = { jti: 'cookie of ada', uid: 'session of ada', accountId: 'ada' };
    await models.adapter('Session').upsert('cookie of ada', session, hour);
    await models.adapter('Grant').upsert('grant of ada', { accountId: 'ada' }, hour);
    await models.adapter('RefreshToken').upsert('token of ada', { grantId: 'grant of ada', accountId: 'ada' }, hour);
    expect(await db.transaction((tx) => cutSessions(tx, ending))).toBeGreaterThanOrEqual(3);
    await models.adapter('Session').upsert('cookie of ada', session, hour);
    expect(await models.adapter('Session').find('cookie of ada')).toBeUndefined();
    expect(await models.adapter('Session').findByUid('session of ada')).toBeUndefined();
    expect(await models.adapter('Grant').find('grant of ada')).toBeUndefined();
    expect(await models.adapter('RefreshToken').find('token of ada')).toBeUndefined();
  });

  test('of a person who is signed out, sessions and grants end, and each grant sets its bit', async () => {
    for (const who of ['gus', 'bob']) {
      await models.adapter('Session').upsert(`cookie of ${who}`, { accountId: who }, hour);
      for (const app of ['spa', 'web']) {
        await models.adapter('Grant').upsert(`${app} of ${who}`, { accountId: who, clientId: app }, hour);
      }
    }
    const indexes = await Promise.all(['spa of gus', 'web of gus', 'spa of bob'].map(indexOf));
    expect(new Set(indexes.map(({ list, idx }) => `${list} ${idx}`)).size).toBe(3);
    await db.transaction((tx) => endSessionsOf(tx, 'gus', ending));
    expect(await db.transaction((tx) => endGrants(tx, { accountId: 'gus' }, ending))).toBe(2);
    expect(await models.adapter('Session').find('cookie of gus')).toBeUndefined();
    expect(await models.adapter('Session').find('cookie of bob')).toBeDefined();
    expect(await Promise.all(indexes.map((index) => revoked.has(index)))).toEqual([true, true, false]);
  });

  test('a grant keeps its status index while it lives, and ended it is not brought back by who still holds it', async () => {
    const grants = models.adapter('Grant');
    await grants.upsert('g', { accountId: 'eve', clientId: 'spa', openid: { scope: 'openid' } }, hour);
    const index = await indexOf('g');
    const held = (await grants.find('g'))!;
    await grants.upsert('g', { ...held, openid: { scope: 'openid email' } }, hour);
    expect(await indexOf('g')).toEqual(index);
    await grants.destroy('g');
    await grants.upsert('g', held, hour);
    expect(await grants.find('g')).toBeUndefined();
    expect(await revoked.has(index)).toBe(true);
  });

  test('where the transaction of a cause fails, its grants go on and no bit is set', async () => {
    await models.adapter('Grant').upsert('spared', { accountId: 'fay', clientId: 'spa' }, hour);
    await expect(
      db.transaction(async (tx) => {
        await endGrants(tx, { accountId: 'fay' }, ending);
        throw new Error('the cause fell through');
      }),
    ).rejects.toThrow('fell through');
    expect(await revoked.has(await indexOf('spared'))).toBe(false);
  });

  test('of more grants than one statement takes, every one ends', async () => {
    await db.query(`insert into oidc_models (model, id, payload, client_id, status_list, status_idx, expires_at)
      with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < 20500)
      select 'Grant', 'many ' || n, '{}', 'popular', 1000, n, ${now + 3_600_000} from numbers`);
    expect(await db.transaction((tx) => endGrants(tx, { clientId: 'popular' }, ending))).toBe(20_500);
    const {
      rows: [row],
    } = await db.query<{ count: number }>(
      "select count(*) as count from revoked_statuses where grant_id like 'many %'",
    );
    expect(Number(row!.count)).toBe(20_500);
  });

  async function indexOf(grantId: string): Promise<StatusIndex> {
    return (await models.adapter('Grant').find(grantId))!.status as StatusIndex;
  }

  test('an application is never written through the protocol', async () => {
    await expect(async () => models.adapter('Client').upsert('new', {}, hour)).rejects.toThrow('clients.ts alone');
  });
});
