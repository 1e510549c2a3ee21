import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Audit } from '../../src/audit/audit.ts';
import { createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import type { AppError } from '../../src/errors.ts';
import type { Keyring } from '../../src/keys/keyring.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import type { MasterKeys } from '../../src/keys/seal.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { silentLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { fromTestKeys, policy } from '../support/keys.ts';
import { startAnew } from '../support/stored.ts';

const day = 86_400_000;
const start = Date.parse('2030-01-01T00:00:00Z');
const masterKeys: MasterKeys = [randomBytes(32)];

describe.each(engines)('the master key, on $name', ({ freshDatabase }) => {
  let db: Database;
  let audit: Audit;
  let clock: number;
  let keyring: Keyring;
  let generate: ReturnType<typeof fromTestKeys>;
  /** One active key, another prepared and ready. */
  let a: string;
  let b: string;

  const open = (seal = createSeal(masterKeys)) =>
    createKeyring({ db, seal, audit, policy, now: () => clock, generate });

  beforeAll(async () => {
    db = await freshDatabase();
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await startAnew(db, 'signing_keys');
    clock = start;
    audit = createAudit(db, { log: silentLog, now: () => clock });
    generate = fromTestKeys();
    keyring = open();
    a = await keyring.bootstrap();
    b = await keyring.prepare();
    clock += day;
  });

  const states = async () => Object.fromEntries((await keyring.list()).map(({ kid, state }) => [kid, state]));
  const events = async () => (await audit.list()).map(({ event, subject, actor }) => ({ event, subject, actor }));
  const everything = async () =>
    JSON.stringify([
      (await db.query('select * from signing_keys order by kid')).rows,
      (await db.query('select * from audit_events order by seq')).rows,
    ]);

  test('a wrong one is refused, and touches nothing', async () => {
    const before = await everything();
    const wrong = open(createSeal([randomBytes(32)]));
    const refused = { code: 'master_key_wrong', status: 500 };
    await expect(wrong.checkMasterKey()).rejects.toMatchObject(refused);
    await expect(wrong.signingKeys()).rejects.toMatchObject(refused);
    await expect(wrong.bootstrap()).rejects.toMatchObject(refused);
    await expect(wrong.prepare()).rejects.toMatchObject(refused);
    await expect(wrong.activate(b)).rejects.toMatchObject(refused);
    await expect(wrong.activate(b, { force: 'why' })).rejects.toMatchObject(refused);
    await expect(wrong.retire(a)).rejects.toMatchObject(refused);
    await expect(wrong.revoke(a, 'why')).rejects.toMatchObject(refused);
    await expect(wrong.rekey()).rejects.toMatchObject(refused);
    expect(await everything()).toBe(before);
  });

  describe('is lost', () => {
    const lost = { actor: 'somebody', force: 'the master key is lost' };
    let fresh: Keyring;
    beforeEach(() => {
      fresh = open(createSeal([randomBytes(32)]));
    });

    test('every refusal ends with the command that gives up what it sealed', async () => {
      const error = await fresh.checkMasterKey().catch((thrown: AppError) => thrown);
      expect(error).toMatchObject({
        code: 'master_key_wrong',
        hint: expect.stringMatching(/^start with the master key of this database, or /),
      });
      expect((error as AppError).hint).toContain(
        `Only if it is lost for good: signet keys retire ${a} --force --reason "master key lost"`,
      );
    });

    test('by force, the active key is retired, the prepared one given up and a new one signs, in one act', async () => {
      const { successor, alsoRevoked } = await fresh.retire(a, lost);
      expect(alsoRevoked).toBe(b);
      expect(await states()).toEqual({ [a]: 'retired', [b]: 'revoked', [successor]: 'active' });
      const { active, published } = await fresh.signingKeys();
      expect([active.kid, published.map(({ kid }) => kid)]).toEqual([successor, [successor, a]]);
      expect((await events()).slice(0, 3).reverse()).toEqual([
        { event: 'key.retired', subject: a, actor: 'somebody' },
        { event: 'key.revoked', subject: b, actor: 'somebody' },
        { event: 'key.activated', subject: successor, actor: 'somebody' },
      ]);
      expect(await audit.list({ event: 'key.revoked' })).toMatchObject([
        {
          detail: { was: 'prepared', forced: 'the master key is lost', reason: expect.stringContaining('not open') },
        },
      ]);
      await fresh.prepare();
      await fresh.checkMasterKey();
    });

    test('by force, the active key is revoked, the prepared one too, and a new one signs, in one act', async () => {
      const { successor, alsoRevoked, unopened } = await fresh.revoke(a, 'a box was stolen', lost);
      expect({ alsoRevoked, unopened }).toEqual({ alsoRevoked: b, unopened: undefined });
      expect(await states()).toEqual({ [a]: 'revoked', [b]: 'revoked', [successor!]: 'active' });
      expect((await fresh.signingKeys()).published.map(({ kid }) => kid)).toEqual([successor]);
      expect(await audit.list({ event: 'key.incident' })).toMatchObject([
        {
          subject: a,
          detail: { successor, alsoRevoked: b, reason: 'a box was stolen' },
        },
      ]);
    });

    test('whoever gives up the prepared key first is told that nothing can sign, and goes on from there', async () => {
      expect(await fresh.revoke(b, 'lost', lost)).toMatchObject({ was: 'prepared', unopened: [a] });
      const { successor } = await fresh.retire(a, lost);
      expect((await fresh.signingKeys()).active.kid).toBe(successor);
    });

    test('what already signs under the new one is not touched', async () => {
      const { successor } = await fresh.retire(a, lost);
      const c = await fresh.prepare();
      expect(await fresh.revoke(successor, 'a drill', { force: 'a drill' })).toMatchObject({ successor: c });
      expect(await states()).toEqual({ [a]: 'retired', [b]: 'revoked', [successor]: 'revoked', [c]: 'active' });
    });
  });

  test('is changed while old and new both open, after which the old one is not needed', async () => {
    const next: MasterKeys = [randomBytes(32)];
    const meanwhile = open(createSeal([...next, ...masterKeys]));
    expect(await meanwhile.rekey({ actor: 'somebody' })).toBe(2);
    expect(await meanwhile.rekey({ actor: 'somebody' })).toBe(0);
    await open(createSeal(next)).checkMasterKey();
    await expect(keyring.checkMasterKey()).rejects.toMatchObject({ code: 'master_key_wrong' });
    expect(await audit.list({ event: 'key.rekeyed' })).toHaveLength(1);
  });

  test('a prepared key that was damaged does not stand in the way of force', async () => {
    await db.query(`update signing_keys set sealed_private = 'v1.damaged' where kid = $1`, [b]);
    await expect(keyring.retire(a)).rejects.toMatchObject({ code: 'sealed_value_damaged' });
    const { successor } = await keyring.retire(a, { force: 'damaged' });
    expect(await states()).toEqual({ [a]: 'retired', [b]: 'revoked', [successor]: 'active' });
  });

  test('a private half moved into the row of another key does not open', async () => {
    await db.query(
      `update signing_keys set sealed_private = (select sealed_private from signing_keys where kid = $1)
       where kid = $2`,
      [a, b],
    );
    await expect(keyring.activate(b)).rejects.toMatchObject({ code: 'sealed_value_damaged' });
    expect(await states()).toEqual({ [a]: 'active', [b]: 'prepared' });
  });
});
