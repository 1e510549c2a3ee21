import { readFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { emailKey } from '../../src/accounts/account.ts';
import { type Accounts, createAccounts } from '../../src/accounts/accounts.ts';
import { type Audit, createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import { silentLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';

test.each([
  ['Ada@Example.COM', 'ada@example.com'],
  ['  ada@example.com\t', 'ada@example.com'],
  ['ÄNNE@example.com', 'änne@example.com'],
  ['a\u0308nne@example.com', 'änne@example.com'],
  ['ａｄａ@example.com', 'ada@example.com'],
  ['ada@B\u00fccher.example', 'ada@xn--bcher-kva.example'],
  ['"@"@b\u00fccher.example', '"@"@XN--BCHER-KVA.example'],
])('%j and %j are one mailbox', (one, other) => {
  expect(emailKey(one)).toBe(emailKey(other));
});

describe.each(engines)('accounts on $name', ({ freshDatabase }) => {
  let db: Database;
  let audit: Audit;
  let accounts: Accounts;
  let now: number;

  beforeEach(async () => {
    db = await freshDatabase();
    audit = createAudit(db, { log: silentLog });
    now = 1_800_000_000_000;
    accounts = createAccounts(db, audit, { now: () => now });
    return async () => {
      await audit.close();
      await db.close();
    };
  });

  test('a person is found by id, and by any spelling of the e-mail address', async () => {
    const ada = await accounts.create(
      { email: ' Ada@Example.com ', name: 'Ada', roles: ['buyer'], passwordHash: 'hash' },
      'admin',
    );
    expect(ada).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      email: 'Ada@Example.com',
      emailVerified: true,
      signsInByEmail: true,
      name: 'Ada',
      roles: ['buyer'],
      assignedRoles: ['buyer'],
      mappedRoles: [],
      passwordHash: 'hash',
      passwordMustChange: false,
      createdAt: new Date(now),
    });
    expect(await accounts.findByEmail('ADA@example.com')).toEqual(ada);
    expect(await accounts.find(ada.id)).toEqual(ada);
    expect(await accounts.find('ada@example.com')).toBeUndefined();
  });

  test('one mailbox has one account, however it is spelled, and whoever comes at the same moment', async () => {
    const made = await Promise.allSettled(
      ['ada@example.com', 'ADA@example.com', 'Ada@Example.Com '].map((email) =>
        accounts.create({ email, roles: [] }, 'admin'),
      ),
    );
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(made.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'account_exists', status: 409 },
    });
    expect(await accounts.list()).toHaveLength(1);
  });

  test('an address typed before is vouched for after an upgrade, unless somebody took that back', async () => {
    const sql = await readFile(
      new URL('../../src/database/migrations/0003_vouched_addresses.sql', import.meta.url),
      'utf8',
    );
    const made = await Promise.all(
      ['typed', 'doubted', 'both'].map((name) =>
        accounts.create({ email: `${name}@example.com`, emailVerified: false, roles: [] }, 'admin'),
      ),
    );
    const elsewhere = await db.transaction((tx) =>
      accounts.createElsewhere(tx, { email: 'typed@example.com', emailVerified: false }, [], 'entra'),
    );
    await accounts.setEmailVerified(made[1]!.id, false, 'admin');
    await db.query(sql);
    const now = await Promise.all([...made, elsewhere].map(({ id }) => accounts.find(id)));
    expect(now.map((one) => one!.emailVerified)).toEqual([true, false, true, false]);
  });

  test('names are set in part, and taken away; who has two of them is called by both', async () => {
    const { id } = await accounts.create(
      { email: 'ada@example.com', givenName: 'Ada', familyName: 'King', roles: [] },
      'admin',
    );
    expect(await accounts.find(id)).toMatchObject({ name: 'Ada King', givenName: 'Ada', familyName: 'King' });
    await accounts.setNames(id, { familyName: 'Lovelace', name: 'Countess' }, 'admin');
    expect(await accounts.find(id)).toMatchObject({ name: 'Countess', givenName: 'Ada', familyName: 'Lovelace' });
    await accounts.setNames(id, { name: '', familyName: '' }, 'admin');
    expect(await accounts.find(id)).toMatchObject({ name: 'Ada', givenName: 'Ada' });
    await expect(accounts.setNames(id, { name: 'A\nB' }, 'admin')).rejects.toMatchObject({ code: 'name_invalid' });
    await expect(accounts.setNames('nobody', { name: 'A' }, 'admin')).rejects.toMatchObject({
      code: 'account_unknown',
    });
  });

  test('what is no e-mail address is refused', async () => {
    for (const email of [
      '',
      'ada',
      '@example.com',
      'ada@',
      'a b@example.com',
      'ada@exam ple.com',
      'ada@a@b',
      '<ada@example.com>',
      '"ada@example.com',
      `${'a'.repeat(250)}@example.com`,
    ]) {
      await expect(accounts.create({ email, roles: [] }, 'admin'), email).rejects.toMatchObject({
        code: 'email_invalid',
        status: 400,
      });
    }
    expect(await accounts.list()).toEqual([]);
  });

  test('the first account is made once, however many servers start, and never where somebody is', async () => {
    const firsts = await Promise.all(
      Array.from({ length: 5 }, () => accounts.createFirst({ email: 'admin@localhost', roles: ['admin'] })),
    );
    expect(firsts.filter((account) => account !== undefined)).toHaveLength(1);
    expect(await accounts.createFirst({ email: 'other@localhost', roles: ['admin'] })).toBeUndefined();
    expect(await accounts.list()).toHaveLength(1);
  });

  test('a person is disabled and enabled again, with the moment of it', async () => {
    const { id } = await accounts.create({ email: 'ada@example.com', roles: [] }, 'admin');
    await accounts.setDisabled(id, true, 'admin');
    expect((await accounts.find(id))!.disabledAt).toEqual(new Date(now));
    await accounts.setDisabled(id, false, 'admin');
    expect((await accounts.find(id))!.disabledAt).toBeUndefined();
  });

  test('the choice of a password replaces the one-time password that was proved, and no other', async () => {
    const { id } = await accounts.create(
      { email: 'ada@example.com', roles: [], passwordHash: 'one-time', passwordMustChange: true },
      'admin',
    );
    expect(await accounts.choosePassword(id, 'an older one', 'thief', {})).toBeUndefined();
    const choices = ['first', 'second', 'third'];
    const won = await Promise.all(choices.map((choice) => accounts.choosePassword(id, 'one-time', choice, {})));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(await accounts.find(id)).toEqual(won.find(Boolean));
    const passwordHash = choices[won.findIndex(Boolean)];
    expect(await accounts.find(id)).toMatchObject({ passwordHash, passwordMustChange: false });
  });

  test('a new hash of the same password does not undo a password that was changed meanwhile', async () => {
    const { id } = await accounts.create({ email: 'ada@example.com', roles: [], passwordHash: 'old' }, 'admin');
    await accounts.setPassword(id, 'changed', { mustChange: false, actor: 'admin' });
    await accounts.rehash(id, 'old', 'old, costlier');
    expect((await accounts.find(id))!.passwordHash).toBe('changed');
    await accounts.rehash(id, 'changed', 'changed, costlier');
    expect((await accounts.find(id))!.passwordHash).toBe('changed, costlier');
  });

  test('a role that is lost elsewhere ends tokens once, however often it is said', async () => {
    let ended = 0;
    const telling = createAccounts(db, audit, { tokens: { end: async () => (ended += 1), ended: async () => {} } });
    const said = { name: 'Ada', emailVerified: false };
    const ada = await db.transaction((tx) => telling.createElsewhere(tx, said, ['clerk', 'reader'], 'test'));
    for (const mapped of [['clerk'], ['clerk'], ['clerk', 'writer']]) {
      await db.transaction((tx) => telling.updateFromElsewhere(tx, ada, said, mapped, 'test'));
      expect([ended, (await telling.find(ada.id))!.roles]).toEqual([1, mapped]);
    }
    expect(await audit.list({ event: 'account.mapped_roles_set' })).toHaveLength(2);
  });

  test('an account that is not there cannot be changed, and nothing is audited', async () => {
    for (const change of [
      () => accounts.setPassword('nobody', 'hash', { mustChange: true, actor: 'admin' }),
      () => accounts.setDisabled('nobody', true, 'admin'),
      () => accounts.setRoles('nobody', ['admin'], 'admin'),
    ])
      await expect(change()).rejects.toMatchObject({ code: 'account_unknown', status: 404 });
    expect(await audit.list()).toEqual([]);
  });

  describe('of administrators', () => {
    const admin = (email: string) =>
      accounts.create({ email, roles: ['admin', 'buyer'], passwordHash: 'hash' }, 'test');
    const refused = { code: 'last_administrator', status: 409, hint: expect.stringContaining('accounts roles') };

    test('the last who is enabled is neither disabled nor made anything else, and nothing is audited', async () => {
      const [ada, bob] = [await admin('ada@example.com'), await admin('bob@example.com')];
      await accounts.create({ email: 'eve@example.com', roles: ['admin:read', 'not-admin'] }, 'test');
      await accounts.setDisabled(bob.id, true, 'test');
      const before = await audit.list();
      await expect(accounts.setDisabled(ada.id, true, 'test')).rejects.toMatchObject(refused);
      await expect(accounts.setRoles(ada.id, ['buyer'], 'test')).rejects.toMatchObject(refused);
      expect(await accounts.find(ada.id)).toEqual(ada);
      expect(await audit.list()).toEqual(before);
      await accounts.setRoles(ada.id, ['admin'], 'test');
      await accounts.setRoles(bob.id, ['buyer'], 'test');
      expect(await accounts.find(bob.id)).toMatchObject({ roles: ['buyer'] });
    });

    test('whoever has another role of nearly that name is none', async () => {
      const ada = await admin('ada@example.com');
      for (const [at, role] of ['Admin', 'ADMIN', 'admins', 'x-admin'].entries()) {
        const { id } = await accounts.create(
          { email: `${at}@example.com`, roles: [role], passwordHash: 'hash' },
          'test',
        );
        await accounts.setRoles(id, [role], 'test');
      }
      await expect(accounts.setDisabled(ada.id, true, 'test')).rejects.toMatchObject(refused);
      await expect(accounts.setRoles(ada.id, ['Admin'], 'test')).rejects.toMatchObject(refused);
    });

    describe('one who could be kept out, or lose the role, from elsewhere does not count', () => {
      const fromElsewhere = (mappedRoles: string[]) =>
        db.transaction((tx) =>
          accounts.createElsewhere(tx, { name: 'Bob', emailVerified: false }, mappedRoles, 'test'),
        );

      test.each<[string, () => Promise<unknown>]>([
        ['who has the role by a mapping', () => fromElsewhere(['admin'])],
        [
          'who was given the role here, and signs in elsewhere alone',
          async () => {
            const { id } = await fromElsewhere([]);
            await accounts.setRoles(id, ['admin'], 'test');
          },
        ],
        [
          'who has a password besides, and no address to sign in by',
          async () => {
            const { id } = await fromElsewhere(['admin']);
            await accounts.setRoles(id, ['admin'], 'test');
            await accounts.setPassword(id, 'hash', { mustChange: false, actor: 'test' });
          },
        ],
        [
          'who has an address to sign in by, and no password',
          () => accounts.create({ email: 'bob@example.com', roles: ['admin'] }, 'test'),
        ],
        [
          'who has a password, and the role by a mapping',
          async () => {
            const bob = await accounts.create({ email: 'bob@example.com', roles: [], passwordHash: 'hash' }, 'test');
            await db.transaction((tx) => accounts.updateFromElsewhere(tx, bob, bob, ['admin'], 'test'));
          },
        ],
      ])('%s', async (_who, become) => {
        const ada = await admin('ada@example.com');
        await become();
        await expect(accounts.setDisabled(ada.id, true, 'test')).rejects.toMatchObject(refused);
        await expect(accounts.setRoles(ada.id, ['buyer'], 'test')).rejects.toMatchObject(refused);
        for (const { id } of await accounts.list()) if (id !== ada.id) await accounts.setDisabled(id, true, 'test');
      });
    });

    test('the last keeps the role that was given here, also where a mapping gives it besides', async () => {
      const ada = await admin('ada@example.com');
      await db.transaction((tx) => accounts.updateFromElsewhere(tx, ada, ada, ['admin'], 'test'));
      await expect(accounts.setRoles(ada.id, ['buyer'], 'test')).rejects.toMatchObject(refused);
      await admin('bob@example.com');
      await accounts.setRoles(ada.id, ['buyer'], 'test');
      expect(await accounts.find(ada.id)).toMatchObject({ roles: ['buyer', 'admin'], assignedRoles: ['buyer'] });
    });

    test('two who put out one another at the same moment leave one', async () => {
      const people = await Promise.all(['ada', 'bob'].map((name) => admin(`${name}@example.com`)));
      const done = await Promise.allSettled(
        people.map(({ id }, index) =>
          index === 0 ? accounts.setDisabled(id, true, 'test') : accounts.setRoles(id, [], 'test'),
        ),
      );
      expect(done.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect(done.find(({ status }) => status === 'rejected')).toMatchObject({ reason: refused });
    });
  });

  test('whether there is anybody is known without reading everybody', async () => {
    expect(await accounts.any()).toBe(false);
    await accounts.create({ email: 'ada@example.com', roles: [] }, 'test');
    expect(await accounts.any()).toBe(true);
  });

  test('each act is in the chain with its actor; a sign-in and a new hash are no acts', async () => {
    const { id } = await accounts.create({ email: 'ada@example.com', roles: ['buyer'], passwordHash: 'a' }, 'admin-1');
    await accounts.setPassword(id, 'b', { mustChange: true, actor: 'admin-2' });
    await accounts.choosePassword(id, 'b', 'c', { requestId: 'request-1', address: '192.0.2.1' });
    await accounts.setRoles(id, ['buyer', 'auditor'], 'admin-3');
    await accounts.setDisabled(id, true, 'admin-4');
    await accounts.signedIn(id);
    await accounts.rehash(id, 'c', 'd');
    const rows = (await audit.list()).reverse();
    expect(rows.map(({ event, actor, subject }) => [event, actor, subject])).toEqual([
      ['account.created', 'admin-1', id],
      ['account.password_set', 'admin-2', id],
      ['account.password_set', id, id],
      ['account.roles_set', 'admin-3', id],
      ['account.disabled', 'admin-4', id],
    ]);
    expect(rows[2]).toMatchObject({ requestId: 'request-1', address: '192.0.2.1' });
    expect(await audit.verify()).toMatchObject({ ok: true, checked: 5 });
  });
});
