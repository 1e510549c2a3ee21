import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Audit } from '../../src/audit/audit.ts';
import { createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import type { JwksClients } from '../../src/keys/jwks-clients.ts';
import { createJwksClients } from '../../src/keys/jwks-clients.ts';
import type { Keyring } from '../../src/keys/keyring.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import type { KeyOperations } from '../../src/keys/operations.ts';
import { createKeyOperations, forceOf, UnsafeStep } from '../../src/keys/operations.ts';
import type { KeyPolicy } from '../../src/keys/policy.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { silentLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { fromTestKeys, policy } from '../support/keys.ts';
import { startAnew } from '../support/stored.ts';

const hour = 3_600_000;
const day = 24 * hour;
const start = Date.parse('2030-01-01T00:00:00Z');
const seal = createSeal([randomBytes(32)]);
const by = { actor: 'somebody' };

describe.each(engines)('an administrator on $name', ({ freshDatabase }) => {
  let db: Database;
  let audit: Audit;
  let clock: number;
  let keyring: Keyring;
  let consumers: JwksClients;
  let keys: KeyOperations;

  beforeAll(async () => {
    db = await freshDatabase();
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await startAnew(db, 'signing_keys', 'jwks_consumers', 'oidc_models');
    clock = start;
    audit = createAudit(db, { log: silentLog, now: () => clock });
    keyring = createKeyring({ db, seal, audit, policy, now: () => clock, generate: fromTestKeys() });
    consumers = createJwksClients(db, { log: silentLog, now: () => clock, flushEveryMs: hour, isDeclared: () => true });
    keys = open(policy);
  });

  const open = (with_: KeyPolicy) =>
    createKeyOperations({
      db,
      keyring,
      jwksClients: consumers,
      policy: with_,
      accessTokenLife: 1800,
      now: () => clock,
      cutSessions: async (tx) => (await tx.query('delete from oidc_models')).rowCount,
    });
  const states = async () => Object.fromEntries((await keyring.list()).map(({ kid, state }) => [kid, state]));
  const refusal = (work: Promise<unknown>): Promise<UnsafeStep> =>
    work.then(
      () => {
        throw new Error('was not refused');
      },
      (error: unknown) => {
        expect(error).toBeInstanceOf(UnsafeStep);
        return error as UnsafeStep;
      },
    );
  /** "orders" comes every hour; what it was given last. */
  async function ordersFetches(newestPreparedAt: number): Promise<void> {
    const now = clock;
    for (clock = now - 3 * hour; clock <= now; clock += hour) {
      consumers.seen({ userAgent: 'signet-verifier/0.1.0 (orders)', address: '192.0.2.1', newestPreparedAt });
    }
    clock = now;
  }

  describe('who rotates', () => {
    test('is told when the new key may sign, and hands over then', async () => {
      const a = await keyring.bootstrap();
      clock += 10 * day;
      const begun = await keys.rotate(by);
      expect(begun).toEqual({ kid: expect.any(String), state: 'prepared', signsFrom: new Date(clock + day) });
      clock += day - 1;
      await refusal(keys.rotate(by));
      clock += 1;
      expect(await keys.rotate(by)).toEqual({ kid: begun.kid, state: 'active', previousKid: a });
      expect(await states()).toEqual({ [a]: 'retired', [begun.kid]: 'active' });
    });

    test('by force, signs with a new key at once', async () => {
      const a = await keyring.bootstrap();
      const { kid, state } = await keys.rotate({ ...by, force: 'hurry' });
      expect([state, await states()]).toEqual(['active', { [a]: 'retired', [kid]: 'active' }]);
      expect(await audit.list({ event: 'key.activated' })).toMatchObject([
        { subject: kid, actor: 'somebody', detail: { forced: 'hurry' } },
        { subject: a },
      ]);
    });

    test('on paper, changes nothing', async () => {
      await keyring.bootstrap();
      const before = [await states(), await audit.list()];
      const plan = await keys.planRotation();
      expect(plan).toMatchObject({ unseenBy: [], timeline: [{ event: 'published' }, { event: 'signs' }, {}, {}, {}] });
      expect([await states(), await audit.list()]).toEqual(before);
    });

    test('on paper, sees who has not fetched the prepared key', async () => {
      await keyring.bootstrap();
      await ordersFetches(start);
      clock += hour;
      await keys.prepare(by);
      expect(await keys.planRotation()).toMatchObject({ unseenBy: ['orders (192.0.2.1)'] });
    });
  });

  describe('an unsafe step', () => {
    test('says until when, whose caches would refuse, and who has not fetched the key', async () => {
      await keyring.bootstrap();
      await ordersFetches(start);
      clock += hour;
      const { kid } = await keys.prepare(by);
      const error = await refusal(keys.activate(kid, by));
      expect(error).toMatchObject({ code: 'key_step_unsafe', status: 409 });
      expect(error.wouldBreak).toMatchObject({ until: new Date(clock + day), consumers: ['orders (192.0.2.1)'] });
      const broken = error.wouldBreak.verifiers.map(({ verifier }) => verifier);
      expect(broken).toContain('one-hour cache, no refetch');
      expect(broken).not.toContain('fetched once at start'); // it would refuse in a day as well
      expect(error.message).toContain('orders (192.0.2.1)');
      expect(error.hint).toContain(new Date(clock + day).toISOString());
    });

    test('of destroying says that, too', async () => {
      const a = await keyring.bootstrap();
      clock += day;
      const retiredAt = clock;
      await keys.rotate({ ...by, force: 'hurry' });
      clock += 60_000;
      const error = await refusal(keys.destroy(a, by));
      expect(error.wouldBreak.until).toEqual(new Date(retiredAt + 14 * day + 360_000));
      expect(error.wouldBreak.verifiers[0]).toEqual({
        verifier: '@signet-idp/verifier (our max-age)',
        refuses: [{ kid: a, from: new Date(clock), until: new Date(retiredAt + 1_800_000) }],
      });
      clock = retiredAt + 14 * day + 360_000;
      expect(await keys.destroy(a, by)).toEqual({ kid: a, state: 'destroyed' });
    });

    test('is not what a wrong command is', async () => {
      const a = await keyring.bootstrap();
      await expect(keys.activate(a, by)).rejects.toMatchObject({ code: 'key_not_prepared' });
      await expect(keys.activate('nobody', by)).rejects.toMatchObject({ code: 'key_unknown' });
      await expect(keys.retire(a, by)).rejects.toMatchObject({ code: 'key_without_successor' });
      await expect(keys.destroy(a, by)).rejects.toMatchObject({ code: 'key_not_retired' });
    });

    test('is forced with a reason, and never with half of it', () => {
      expect(forceOf({})).toBeUndefined();
      expect(forceOf({ force: false })).toBeUndefined();
      expect(forceOf({ force: true, reason: ' hurry ' })).toBe('hurry');
      const empty = { force: true, reason: '  ' };
      const endless = { force: true, reason: 'x'.repeat(501) };
      for (const half of [{ force: true }, { reason: 'why' }, empty, endless]) {
        expect(() => forceOf(half)).toThrow(expect.objectContaining({ code: 'reason_missing', status: 400 }));
      }
    });
  });

  describe('where a key waits until it was seen', () => {
    const patient = { ...policy, patience: 7 * 86_400 };

    async function readyButUnseen(): Promise<string> {
      keys = open(patient);
      await keyring.bootstrap();
      clock += hour;
      const { kid } = await keys.prepare(by);
      clock += day;
      await ordersFetches(start);
      return kid;
    }

    test('nobody signs with it before those who fetch regularly have it, except by force', async () => {
      const kid = await readyButUnseen();
      const error = await refusal(keys.rotate(by));
      expect(error.wouldBreak).toEqual({
        until: new Date(clock + 7 * day),
        verifiers: [],
        consumers: ['orders (192.0.2.1)'],
      });
      await ordersFetches(clock - day);
      expect(await keys.rotate(by)).toMatchObject({ kid, state: 'active' });
    });

    test('what a stranger claims to be holds nobody up', async () => {
      consumers = createJwksClients(db, { log: silentLog, now: () => clock, flushEveryMs: hour });
      await readyButUnseen();
      expect((await keys.status()).propagation).toMatchObject({ unseenBy: ['orders (192.0.2.1)'] });
      expect(await keys.rotate(by)).toMatchObject({ state: 'active' });
    });

    test('force and the limit go past that', async () => {
      const kid = await readyButUnseen();
      expect(await keys.activate(kid, { ...by, force: 'orders is switched off' })).toMatchObject({ state: 'active' });
      const next = await keys.prepare(by);
      clock += day + 7 * day;
      await ordersFetches(start);
      expect(await keys.activate(next.kid, by)).toMatchObject({ state: 'active' });
    });

    test('the status says for whom it waits and until when', async () => {
      const kid = await readyButUnseen();
      clock = start + 90 * day;
      await ordersFetches(start);
      const { next, propagation, keys: shown } = await keys.status();
      expect(next).toEqual({ step: 'activate', at: new Date(start + 97 * day), waitingFor: ['orders (192.0.2.1)'] });
      expect(propagation).toEqual({ kid, seenBy: [], unseenBy: ['orders (192.0.2.1)'] });
      await ordersFetches(start + hour);
      expect((await keys.status()).propagation).toEqual({ kid, seenBy: ['orders (192.0.2.1)'], unseenBy: [] });
      expect(shown.map((key) => key.next)).toEqual([
        { becomes: 'active', at: new Date(start + 97 * day) },
        { becomes: 'retired', at: new Date(start + 97 * day) },
      ]);
    });
  });

  describe('the status', () => {
    test('of a fresh installation is short', async () => {
      expect(await keys.status()).toEqual({
        keys: [],
        next: { step: 'bootstrap', at: new Date(start), waitingFor: [] },
        propagation: null,
      });
      expect(await keys.jwksClients()).toEqual({ key: null, seenBy: [], unseenBy: [], silent: [] });
    });

    test('tells of every key since when it is what it is, and what it becomes', async () => {
      const a = await keyring.bootstrap();
      clock += day;
      const { kid: b } = await keys.rotate({ ...by, force: 'hurry' });
      clock += hour;
      const { kid: c } = await keys.prepare(by);
      await keys.revoke(c, 'a mistake', by);
      const { keys: shown, next } = await keys.status();
      const spent = new Date(start + 15 * day + 360_000);
      expect(shown.map(({ kid, state, ageSeconds, next: then }) => ({ kid, state, ageSeconds, next: then }))).toEqual([
        { kid: c, state: 'revoked', ageSeconds: 0, next: null },
        { kid: b, state: 'active', ageSeconds: 3600, next: { becomes: 'retired', at: new Date(clock + day) } },
        { kid: a, state: 'retired', ageSeconds: 3600, next: { becomes: 'destroyed', at: spent } },
      ]);
      expect(next).toEqual({ step: 'prepare', at: new Date(clock), waitingFor: [] });
      await keys.prepare(by);
      expect((await keys.status()).next).toEqual({ step: 'activate', at: new Date(clock + day), waitingFor: [] });
    });
  });

  describe('an emergency', () => {
    test('answers what signs now and by when verifiers follow', async () => {
      const a = await keyring.bootstrap();
      clock += day;
      const revoked = await keys.revoke(a, ' seen on a laptop ', by);
      expect(revoked).toEqual({
        kid: a,
        state: 'revoked',
        reason: 'seen on a laptop',
        activeKid: expect.any(String),
        sessionsCut: null,
        alsoRevokedKid: null,
        unopenedKid: null,
        verifiersFollowBy: new Date(clock + 330_000),
        signedValidUntil: new Date(clock + 14 * day),
        knownKeysDroppedBy: null,
      });
      expect(await states()).toEqual({ [a]: 'revoked', [revoked.activeKid!]: 'active' });
    });

    test('says until when those believe the key who fetch for an unknown one alone: its successor they know', async () => {
      const a = await keyring.bootstrap();
      await keys.prepare(by);
      clock += 10 * day;
      const made = clock + policy.pollEvery * 1000;
      expect(await keys.revoke(a, 'stolen', by)).toMatchObject({ knownKeysDroppedBy: new Date(made + day) });
      await keys.prepare(by);
      expect((await keys.status()).next).toMatchObject({ step: 'activate', at: new Date(clock + day) });
    });

    test('ends sessions where told so, and only then', async () => {
      const a = await keyring.bootstrap();
      await db.query(`insert into oidc_models (model, id, payload, expires_at) values ('Grant', 'g', '{}', 0)`);
      const { activeKid } = await keys.revoke(a, 'why', by);
      expect((await db.query('select id from oidc_models')).rowCount).toBe(1);
      expect(await keys.revoke(activeKid!, 'why', by, { cutSessions: true })).toMatchObject({ sessionsCut: 1 });
      expect((await db.query('select id from oidc_models')).rowCount).toBe(0);
    });

    test('needs a reason', async () => {
      const a = await keyring.bootstrap();
      await expect(keys.revoke(a, ' ', by)).rejects.toMatchObject({ code: 'reason_missing' });
      expect(await states()).toEqual({ [a]: 'active' });
    });
  });
});
