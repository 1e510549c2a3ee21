import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Audit } from '../../src/audit/audit.ts';
import { createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { hasSigningKeys } from '../../src/keys/key-rows.ts';
import type { Keyring } from '../../src/keys/keyring.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import type { MasterKeys, Seal } from '../../src/keys/seal.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { silentLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { fromTestKeys, policy, testKeys } from '../support/keys.ts';
import { startAnew } from '../support/stored.ts';

const day = 86_400_000;
const afterlife = 360_000;
const start = Date.parse('2030-01-01T00:00:00Z');
const masterKeys: MasterKeys = [randomBytes(32)];

describe.each(engines)('signing keys on $name', ({ freshUrl }) => {
  let db: Database;
  let other: Database;
  let audit: Audit;
  let clock: number;
  let keyring: Keyring;
  let generate: ReturnType<typeof fromTestKeys>;

  const open = (on: Database, seal: Seal = createSeal(masterKeys), more = policy) =>
    createKeyring({ db: on, seal, audit, policy: more, now: () => clock, generate });

  beforeAll(async () => {
    const url = await freshUrl();
    db = await openDatabase(url);
    await migrate(db);
    other = await openDatabase(url);
  });
  afterAll(async () => {
    await other.close();
    await db.close();
  });
  beforeEach(async () => {
    await startAnew(db, 'signing_keys');
    clock = start;
    audit = createAudit(db, { log: silentLog, now: () => clock });
    generate = fromTestKeys();
    keyring = open(db);
  });

  const states = async () => Object.fromEntries((await keyring.list()).map(({ kid, state }) => [kid, state]));
  const events = async () => (await audit.list()).map(({ event, subject, actor }) => ({ event, subject, actor }));
  const everything = async () =>
    JSON.stringify([
      (await db.query('select * from signing_keys order by kid')).rows,
      (await db.query('select * from audit_events order by seq')).rows,
    ]);
  /** One active key, another prepared and ready. */
  async function readyToRotate(): Promise<{ a: string; b: string }> {
    const a = await keyring.bootstrap();
    const b = await keyring.prepare();
    clock += day;
    return { a, b };
  }
  const outcome = (settled: PromiseSettledResult<unknown>[]) => {
    const refused = settled.filter((one) => one.status === 'rejected');
    return { won: settled.length - refused.length, codes: [...new Set(refused.map(({ reason }) => reason.code))] };
  };

  describe('an ordinary life', () => {
    test('the first key signs at once', async () => {
      expect(await hasSigningKeys(db)).toBe(false);
      await expect(keyring.signingKeys()).rejects.toMatchObject({ code: 'no_active_key' });
      const kid = await keyring.bootstrap();
      expect(await states()).toEqual({ [kid]: 'active' });
      expect((await keyring.signingKeys()).active.kid).toBe(kid);
      expect(await hasSigningKeys(db)).toBe(true);
    });

    test('the next key is published, signs, is retired and leaves, and every step is in the audit trail', async () => {
      const { a, b } = await readyToRotate();
      await keyring.activate(b, { actor: 'somebody' });
      expect(await states()).toEqual({ [a]: 'retired', [b]: 'active' });
      clock += 14 * day + afterlife;
      await keyring.destroy(a);
      expect(await states()).toEqual({ [a]: 'destroyed', [b]: 'active' });
      expect((await events()).reverse()).toEqual([
        { event: 'key.activated', subject: a, actor: 'schedule' },
        { event: 'key.prepared', subject: b, actor: 'schedule' },
        { event: 'key.retired', subject: a, actor: 'somebody' },
        { event: 'key.activated', subject: b, actor: 'somebody' },
        { event: 'key.destroyed', subject: a, actor: 'schedule' },
      ]);
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 5 });
    });

    test('the JWKS has the active key first, then the retired, then the prepared, each with alg and use', async () => {
      const { a, b } = await readyToRotate();
      await keyring.activate(b);
      const c = await keyring.prepare();
      const { published } = await keyring.signingKeys();
      expect(published.map(({ kid }) => kid)).toEqual([b, a, c]);
      expect(published.every(({ alg, use, kty }) => alg === 'RS256' && use === 'sig' && kty === 'RSA')).toBe(true);
    });

    test('the version changes with every visible change, and with nothing else', async () => {
      const versions: string[] = [];
      const note = async () => versions.push((await keyring.signingKeys()).version);
      const a = await keyring.bootstrap();
      await note();
      await note();
      const b = await keyring.prepare();
      await note();
      clock += day;
      await keyring.activate(b);
      await note();
      await keyring.recordLife(30 * 86_400);
      await note();
      clock += 14 * day + afterlife;
      await keyring.destroy(a);
      await note();
      expect(versions.map((version) => versions.indexOf(version))).toEqual([0, 0, 2, 3, 3, 5]);
    });

    test('retiring hands over to the prepared key, and without one is refused', async () => {
      const a = await keyring.bootstrap();
      await expect(keyring.retire(a)).rejects.toMatchObject({ code: 'key_without_successor', status: 409 });
      const b = await keyring.prepare();
      await expect(keyring.retire(a)).rejects.toMatchObject({ code: 'key_step_unsafe' });
      await expect(keyring.retire(b)).rejects.toMatchObject({ code: 'key_not_active' });
      clock += day;
      await keyring.retire(a);
      expect(await states()).toEqual({ [a]: 'retired', [b]: 'active' });
    });
  });

  describe('a step that would break a verifier', () => {
    test('a key that was not published for long enough does not sign, to the millisecond', async () => {
      const { a, b } = await readyToRotate();
      clock -= 1;
      await expect(keyring.activate(b)).rejects.toMatchObject({
        code: 'key_step_unsafe',
        status: 409,
        message: expect.stringContaining('until 2030-01-02T00:00:00.000Z'),
      });
      expect(await states()).toEqual({ [a]: 'active', [b]: 'prepared' });
      expect(await events()).toHaveLength(2);
      clock += 1;
      await keyring.activate(b);
    });

    test('a key whose tokens may be alive does not leave, to the millisecond', async () => {
      const { a, b } = await readyToRotate();
      await keyring.activate(b);
      clock += 14 * day + afterlife - 1;
      await expect(keyring.destroy(a)).rejects.toMatchObject({ code: 'key_step_unsafe', status: 409 });
      clock += 1;
      await keyring.destroy(a);
    });

    test('can be forced with a reason, which the audit trail keeps', async () => {
      const a = await keyring.bootstrap();
      const b = await keyring.prepare();
      await keyring.activate(b, { actor: 'somebody', force: 'nobody uses it yet' });
      await keyring.destroy(a, { actor: 'somebody', force: 'nobody uses it yet' });
      expect(await states()).toEqual({ [a]: 'destroyed', [b]: 'active' });
      expect((await audit.list({ event: 'key.destroyed' }))[0]).toMatchObject({
        actor: 'somebody',
        subject: a,
        detail: { forced: 'nobody uses it yet' },
      });
    });

    test('needs a longer wait once a longer life was recorded, which is never lowered', async () => {
      const { a, b } = await readyToRotate();
      expect(await keyring.recordLife(30 * 86_400)).toBe(true);
      expect(await keyring.recordLife(30 * 86_400)).toBe(false);
      expect(await keyring.recordLife(60)).toBe(false);
      await keyring.activate(b);
      clock += 30 * day + afterlife - 1;
      await expect(keyring.destroy(a)).rejects.toMatchObject({ code: 'key_step_unsafe' });
      clock += 1;
      await keyring.destroy(a);
    });

    test('a key takes the longest life of the moment when it starts to sign', async () => {
      const { b } = await readyToRotate();
      await open(db, createSeal(masterKeys), { ...policy, longestLife: 20 * 86_400 }).activate(b);
      expect((await keyring.list()).find(({ kid }) => kid === b)?.longestLife).toBe(20 * 86_400);
    });
  });

  describe('a step in the wrong state', () => {
    test('is refused with the state it is in', async () => {
      const { a, b } = await readyToRotate();
      await expect(keyring.activate(a)).rejects.toMatchObject({
        code: 'key_not_prepared',
        status: 409,
        message: `key ${a} is active; only a prepared key can be activated`,
      });
      await expect(keyring.destroy(b)).rejects.toMatchObject({ code: 'key_not_retired', status: 409 });
      await expect(keyring.prepare()).rejects.toMatchObject({ code: 'key_already_prepared', status: 409 });
      await expect(keyring.bootstrap()).rejects.toMatchObject({ code: 'key_already_active', status: 409 });
      for (const act of [keyring.activate, keyring.retire, keyring.destroy]) {
        await expect(act('nothing')).rejects.toMatchObject({ code: 'key_unknown', status: 404 });
      }
      await expect(keyring.revoke('nothing', 'why')).rejects.toMatchObject({ code: 'key_unknown', status: 404 });
      expect(await states()).toEqual({ [a]: 'active', [b]: 'prepared' });
      expect(await events()).toHaveLength(2);
    });
  });

  describe('an emergency', () => {
    test('revoking the active key lets the prepared one sign, although it is young, in the same act', async () => {
      const a = await keyring.bootstrap();
      const b = await keyring.prepare();
      await keyring.revoke(a, 'seen on a laptop', { actor: 'somebody' });
      expect(await states()).toEqual({ [a]: 'revoked', [b]: 'active' });
      const { active, published } = await keyring.signingKeys();
      expect([active.kid, published.map(({ kid }) => kid)]).toEqual([b, [b]]);
      const [incident, activated, revoked] = await audit.list({ limit: 3 });
      expect(revoked).toMatchObject({
        event: 'key.revoked',
        subject: a,
        actor: 'somebody',
        detail: { reason: 'seen on a laptop', was: 'active' },
      });
      expect(activated).toMatchObject({
        event: 'key.activated',
        subject: b,
        actor: 'somebody',
        detail: { previous: a, emergency: true },
      });
      expect(incident).toMatchObject({
        event: 'key.incident',
        subject: a,
        actor: 'somebody',
        detail: {
          reason: 'seen on a laptop',
          was: 'active',
          successor: b,
          verifiersFollowBy: new Date(clock + 330_000).toISOString(),
          signedValidUntil: new Date(clock + 14 * day).toISOString(),
        },
      });
    });

    test('cuts sessions in the same transaction, and the incident says how many', async () => {
      const { a } = await readyToRotate();
      const failing = { cutSessions: () => Promise.reject(new Error('not now')) };
      const before = await everything();
      await expect(keyring.revoke(a, 'why', failing)).rejects.toThrow('not now');
      expect(await everything()).toBe(before);
      await keyring.revoke(a, 'why', { cutSessions: async () => 12 });
      expect(await audit.list({ event: 'key.incident' })).toMatchObject([{ detail: { sessionsCut: 12 } }]);
    });

    test('revoking the only key makes a new one', async () => {
      const a = await keyring.bootstrap();
      await keyring.revoke(a, 'why');
      const { active, published } = await keyring.signingKeys();
      expect(active.kid).not.toBe(a);
      expect(published).toEqual([active.publicJwk]);
    });

    test('revoking a retired or a prepared key leaves the active one alone', async () => {
      const { a, b } = await readyToRotate();
      await keyring.activate(b);
      const c = await keyring.prepare();
      await keyring.revoke(a, 'old');
      await keyring.revoke(c, 'young');
      expect(await states()).toEqual({ [a]: 'revoked', [b]: 'active', [c]: 'revoked' });
      // What never signed is no incident.
      expect((await audit.list({ event: 'key.incident' })).map(({ subject }) => subject)).toEqual([a]);
      await expect(keyring.revoke(a, 'again')).rejects.toMatchObject({ code: 'key_already_gone', status: 409 });
      const d = await keyring.prepare();
      expect((await states())[d]).toBe('prepared');
    });
  });

  describe('two replicas at the same moment', () => {
    test('make one first key, prepare one key, rotate once', async () => {
      const replicas = [keyring, open(other)];
      const together = async (act: (replica: Keyring) => Promise<unknown>) =>
        outcome(await Promise.allSettled(Array.from({ length: 10 }, (_, index) => act(replicas[index % 2]!))));
      // Ten want a key, and one of them keeps it.
      let handedOut = 0;
      generate = async () => testKeys[handedOut++ % testKeys.length]!;
      replicas[0] = open(db);
      replicas[1] = open(other);

      expect(await together((replica) => replica.bootstrap())).toEqual({ won: 1, codes: ['key_already_active'] });
      expect(await together((replica) => replica.prepare())).toEqual({ won: 1, codes: ['key_already_prepared'] });
      clock += day;
      const { kid: next } = (await keyring.list()).find(({ state }) => state === 'prepared')!;
      expect(await together((replica) => replica.activate(next))).toEqual({ won: 1, codes: ['key_not_prepared'] });
      clock += 14 * day + afterlife;
      const { kid: spent } = (await keyring.list()).find(({ state }) => state === 'retired')!;
      expect(await together((replica) => replica.destroy(spent))).toEqual({ won: 1, codes: ['key_not_retired'] });

      expect(Object.values(await states()).sort()).toEqual(['active', 'destroyed']);
      expect(await events()).toHaveLength(5);
      expect(await audit.verify()).toMatchObject({ ok: true, checked: 5 });
    });

    test('an emergency beside a rotation leaves one key signing, whoever comes first', async () => {
      for (let round = 0; round < 3; round += 1) {
        if (round === 0) await keyring.bootstrap();
        const { active } = await keyring.signingKeys();
        const next = await keyring.prepare();
        clock += day;
        await Promise.allSettled([open(other).activate(next), keyring.revoke(active.kid, 'why')]);
        const all = Object.entries(await states());
        expect(all.filter(([, state]) => state === 'active')).toEqual([[next, 'active']]);
        expect(Object.fromEntries(all)[active.kid]).toBe('revoked');
      }
    });

    test('both keys revoked at once leave a third one signing', async () => {
      const { a, b } = await readyToRotate();
      await Promise.all([open(other).revoke(b, 'why'), keyring.revoke(a, 'why')]);
      expect(Object.values(await states()).sort()).toEqual(['active', 'revoked', 'revoked']);
    });

    test('one hears of what the other did', async () => {
      const { b } = await readyToRotate();
      let heard = () => {};
      const news = new Promise<void>((resolve) => {
        heard = resolve;
      });
      const unlisten = await other.listen('signet_keys', () => heard());
      await keyring.activate(b);
      await news;
      await unlisten();
    });
  });

  test('the private half is destroyed at retirement, at revocation, and never shown', async () => {
    const { a, b } = await readyToRotate();
    await keyring.activate(b);
    const c = await keyring.prepare();
    await keyring.revoke(c, 'why');
    const { rows } = await db.query<{ kid: string }>('select kid from signing_keys where sealed_private is not null');
    expect(rows.map(({ kid }) => kid)).toEqual([b]);

    const shown = [await keyring.list(), await keyring.signingKeys(), await audit.list(), await everything()];
    expect(JSON.stringify(shown)).not.toMatch(/"(d|p|q|dp|dq|qi)\\?":/);
    for (const kid of [a, b, c]) {
      const { pkcs8 } = testKeys.find((key) => key.publicJwk.kid === kid)!;
      // The middle of a PKCS #8 text is its private exponent and primes.
      const telling = pkcs8.subarray(600, 660).toString('base64').slice(0, 60);
      expect(JSON.stringify(shown)).not.toContain(telling);
    }
  });
});
