import { hash } from 'node:crypto';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type Audit, createAudit } from '../../src/audit/audit.ts';
import { type Clients, createClients, type NewClient, secretMatches } from '../../src/clients/clients.ts';
import { type ApplicationConfig, loadConfig } from '../../src/config/config.ts';
import type { Database } from '../../src/database/database.ts';
import { silentLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { declared as forms, secret } from '../support/signet.ts';

const declared: readonly ApplicationConfig[] = loadConfig({ env: {}, cwd: '/', values: forms }).applications;
const [spa, web] = declared;

function newApplication(values: Partial<NewClient> = {}, from: ApplicationConfig = web!): NewClient {
  const { clientId: _id, secretHash: _hash, ...metadata } = from;
  return { ...metadata, name: 'Registered', ...values };
}

describe.each(engines)('applications on $name', ({ freshDatabase }) => {
  let db: Database;
  let audit: Audit;
  let clients: Clients;
  let now: number;

  beforeEach(async () => {
    db = await freshDatabase();
    audit = createAudit(db, { log: silentLog });
    now = 1_800_000_000_000;
    clients = createClients(db, declared, audit, { now: () => now });
    return async () => {
      await audit.close();
      await db.close();
    };
  });

  describe('declared in signet.yaml', () => {
    test('are found in memory for some seconds, and are read-only here', async () => {
      await clients.find('web');
      const query = vi.spyOn(db, 'query');
      expect(await clients.find('web')).toEqual({ ...web, declared: true });
      expect(await clients.find('spa')).toEqual({ ...spa, declared: true });
      expect(query).not.toHaveBeenCalled();
      now += 5_000;
      await Promise.all(['web', 'spa', 'web'].map((clientId) => clients.find(clientId)));
      expect(query).toHaveBeenCalledTimes(1);
      for (const change of [
        () => clients.renewSecret('web', 'admin'),
        () => clients.register(newApplication({ clientId: 'web' }), 'admin'),
      ])
        await expect(change()).rejects.toMatchObject({ code: 'application_declared', status: 409 });
    });

    test('can be stopped in an emergency, whatever the file says, and let go again', async () => {
      const elsewhere = createClients(db, declared, audit, { now: () => now });
      await elsewhere.find('web');
      await clients.setDisabled('web', true, 'admin');
      await clients.setDisabled('web', true, 'admin');
      expect(await clients.find('web')).toBeUndefined();
      expect(await clients.find('spa')).toBeDefined();
      now += 5_000;
      expect(await elsewhere.find('web')).toBeUndefined();
      const after = createClients(db, declared, audit, { now: () => now });
      expect(await after.find('web')).toBeUndefined();
      expect((await after.list()).find(({ clientId }) => clientId === 'web')).toEqual({
        ...web,
        declared: true,
        disabledAt: new Date(now - 5_000),
      });
      await clients.setDisabled('web', false, 'admin');
      expect(await clients.find('web')).toEqual({ ...web, declared: true });
      expect((await audit.list()).map(({ event }) => event).sort()).toEqual([
        'application.disabled',
        'application.disabled',
        'application.enabled',
      ]);
    });

    test('stay stopped when they move between the file and the command line, until somebody enables them', async () => {
      const withoutFile = createClients(db, [], audit, { now: () => now });
      await withoutFile.register(newApplication({ clientId: 'web' }), 'admin');
      await withoutFile.setDisabled('web', true, 'admin');
      expect(await createClients(db, declared, audit, { now: () => now }).find('web')).toBeUndefined();
      await clients.setDisabled('web', false, 'admin');
      expect(await withoutFile.find('web')).toBeDefined();
      await clients.setDisabled('web', true, 'admin');
      const left = createClients(db, [], audit, { now: () => now });
      expect(await left.find('web')).toBeUndefined();
      await left.setDisabled('web', false, 'admin');
      expect(await left.find('web')).toBeDefined();
    });

    test('stay as they were known while the database is away', async () => {
      await clients.setDisabled('web', true, 'admin');
      await clients.find('web');
      vi.spyOn(db, 'query').mockRejectedValue(new Error('the database is gone'));
      now += 60_000;
      expect([await clients.find('web'), await clients.find('spa')]).toEqual([undefined, { ...spa, declared: true }]);
    });

    test('that are stopped are not told of a sign-out', async () => {
      const told = { ...web!, backchannelLogoutUri: 'https://app.example.com/logout' };
      const those = createClients(db, [told], audit, { now: () => now });
      const names = () =>
        db.transaction(async (tx) => (await those.notifiedOfLogout(tx, ['web'])).map(({ clientId }) => clientId));
      expect(await names()).toEqual(['web']);
      await those.setDisabled('web', true, 'admin');
      expect(await names()).toEqual([]);
    });

    test('hide one of the same name that was registered before: there is one, not two', async () => {
      await createClients(db, [], audit).register(newApplication({ clientId: 'web' }), 'admin');
      expect(await clients.find('web')).toMatchObject({ declared: true, name: 'Back office' });
      expect((await clients.list()).filter(({ clientId }) => clientId === 'web')).toEqual([{ ...web, declared: true }]);
    });
  });

  describe('registered by an administrator', () => {
    test('get a client id and a 256-bit secret, which is nowhere kept but as its digest', async () => {
      const { application, secret: made } = await clients.register(newApplication(), 'admin');
      expect(application.clientId).toMatch(/^[0-9a-f-]{36}$/);
      expect(Buffer.from(made!, 'base64url')).toHaveLength(32);
      expect(await clients.find(application.clientId)).toEqual({ ...application, declared: false });
      const stored = JSON.stringify([await db.query('select * from clients'), await audit.list()]);
      expect(stored).toContain(hash('sha256', made!, 'hex'));
      expect(stored).not.toContain(made);
    });

    test('of a public type get no secret, nor can one be made', async () => {
      const { application, secret: made } = await clients.register(newApplication({}, spa), 'admin');
      expect([made, application.secretHash]).toEqual([undefined, undefined]);
      await expect(clients.renewSecret(application.clientId, 'admin')).rejects.toMatchObject({
        code: 'application_public',
      });
    });

    test('have one client id each, also where two register it at the same moment', async () => {
      const made = await Promise.allSettled(
        [1, 2, 3].map(() => clients.register(newApplication({ clientId: 'mine' }), 'admin')),
      );
      expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(made.find(({ status }) => status === 'rejected')).toMatchObject({
        reason: { code: 'application_exists', status: 409 },
      });
    });

    test('have the old secret no longer when they have a new one', async () => {
      const { application, secret: old } = await clients.register(newApplication(), 'admin');
      await clients.find(application.clientId);
      const renewed = await clients.renewSecret(application.clientId, 'admin');
      const { secretHash } = (await clients.find(application.clientId))!;
      expect([secretMatches(secretHash!, old!), secretMatches(secretHash!, renewed)]).toEqual([false, true]);
    });

    test('are unknown while they are disabled, at once here and within seconds in every other process', async () => {
      const {
        application: { clientId },
      } = await clients.register(newApplication(), 'admin');
      const elsewhere = createClients(db, declared, audit, { now: () => now });
      expect(await elsewhere.find(clientId)).toBeDefined();
      await clients.setDisabled(clientId, true, 'admin');
      expect(await clients.find(clientId)).toBeUndefined();
      now += 5_000;
      expect(await elsewhere.find(clientId)).toBeUndefined();
      const listed = (await clients.list()).find((each) => each.clientId === clientId);
      expect(listed!.disabledAt).toEqual(new Date(now - 5_000));
      await clients.setDisabled(clientId, false, 'admin');
      expect(await clients.find(clientId)).toBeDefined();
    });

    test('are not remembered as they were before a change that came while they were read', async () => {
      const {
        application: { clientId },
      } = await clients.register(newApplication(), 'admin');
      const query = db.query;
      let changed = Promise.resolve();
      vi.spyOn(db, 'query').mockImplementationOnce(async (sql, values) => {
        const before = await query<never>(sql, values);
        changed = clients.setDisabled(clientId, true, 'admin');
        await changed;
        return before;
      });
      await clients.find(clientId);
      await changed;
      expect(await clients.find(clientId)).toBeUndefined();
    });

    test('are read again at word of a change, also of one that was taken back before anybody looked', async () => {
      const {
        application: { clientId },
      } = await clients.register(newApplication(), 'admin');
      let heard = () => {};
      const listen: Database['listen'] = async (_channel, listener) => {
        heard = listener;
        return async () => {};
      };
      const elsewhere = createClients({ ...db, listen }, declared, audit, { now: () => now });
      await elsewhere.subscribe();
      await clients.setDisabled(clientId, true, 'admin');
      expect(await elsewhere.find(clientId)).toBeUndefined();
      await clients.setDisabled(clientId, false, 'admin');
      expect(await elsewhere.find(clientId)).toBeUndefined();
      heard();
      expect(await elsewhere.find(clientId)).toBeDefined();
    });

    test('are found in memory for some seconds, so that issuing costs no query', async () => {
      const {
        application: { clientId },
      } = await clients.register(newApplication(), 'admin');
      const query = vi.spyOn(db, 'query');
      for (let time = 0; time < 10; time += 1) await clients.find(clientId);
      expect(query).toHaveBeenCalledTimes(1);
      now += 5_000;
      await clients.find(clientId);
      expect(query).toHaveBeenCalledTimes(2);
    });

    test('one registered elsewhere is found at once: that a name is unknown is not remembered', async () => {
      expect(await clients.find('late')).toBeUndefined();
      await createClients(db, declared, audit).register(newApplication({ clientId: 'late' }), 'admin');
      expect(await clients.find('late')).toBeDefined();
    });
  });

  test('what is not there cannot be changed, and nothing is audited', async () => {
    for (const change of [
      () => clients.renewSecret('nothing', 'admin'),
      () => clients.setDisabled('nothing', true, 'admin'),
    ]) {
      await expect(change()).rejects.toMatchObject({ code: 'application_unknown', status: 404 });
    }
    expect(await audit.list()).toEqual([]);
  });

  test('each act is in the chain with its actor', async () => {
    const {
      application: { clientId },
    } = await clients.register(newApplication(), 'admin-1');
    await clients.renewSecret(clientId, 'admin-2');
    await clients.setDisabled(clientId, true, 'admin-3');
    expect((await audit.list()).reverse().map((row) => [row.event, row.actor, row.clientId])).toEqual([
      ['application.registered', 'admin-1', clientId],
      ['application.secret_renewed', 'admin-2', clientId],
      ['application.disabled', 'admin-3', clientId],
    ]);
    expect(await audit.verify()).toMatchObject({ ok: true, checked: 3 });
  });
});

test.each([
  '',
  secret.slice(0, -1),
  `${secret} `,
  secret.toUpperCase(),
  hash('sha256', secret, 'hex'),
  'x'.repeat(99_999),
])('a secret is matched by itself alone, not by %.20s', (presented) => {
  expect(secretMatches(web!.secretHash!, presented)).toBe(false);
  expect(secretMatches(web!.secretHash!.toUpperCase(), secret)).toBe(true);
});
