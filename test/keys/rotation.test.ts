import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Audit } from '../../src/audit/audit.ts';
import { createAudit } from '../../src/audit/audit.ts';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openDatabase } from '../../src/database/open.ts';
import { AppError } from '../../src/errors.ts';
import type { SigningKeys } from '../../src/keys/keyring.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import type { RotationOptions } from '../../src/keys/rotation.ts';
import { startRotation } from '../../src/keys/rotation.ts';
import { createSeal } from '../../src/keys/seal.ts';
import { createLog } from '../../src/log.ts';
import { engines } from '../support/engines.ts';
import { fromTestKeys, policy, testKeys } from '../support/keys.ts';
import { startAnew } from '../support/stored.ts';

const day = 86_400_000;
const afterlife = 360_000;
const start = Date.parse('2030-01-01T00:00:00Z');
const seal = createSeal([randomBytes(32)]);

describe.each(engines)('the clock of rotation on $name', ({ freshUrl }) => {
  let url: string;
  let db: Database;
  let audit: Audit;
  let clock: number;
  let generate: ReturnType<typeof fromTestKeys>;
  let lines: { level: string; event: string; [fact: string]: unknown }[];
  let closers: (() => Promise<void>)[];
  const log = createLog('debug', (line) => lines.push(JSON.parse(line)));

  beforeAll(async () => {
    url = await freshUrl();
    db = await openDatabase(url);
    await migrate(db);
  });
  afterAll(() => db.close());
  beforeEach(async () => {
    await startAnew(db, 'signing_keys');
    closers = [];
    clock = start;
    lines = [];
    generate = fromTestKeys();
    audit = createAudit(db, { log, now: () => clock });
  });
  afterEach(async () => {
    for (const close of closers.reverse()) await close();
  });

  const openKeyring = (on: Database, more: Partial<Parameters<typeof createKeyring>[0]> = {}) =>
    createKeyring({ db: on, seal, audit, policy, now: () => clock, generate, ...more });

  /** What has started; the tick that is then under way has not ended. */
  async function open({ apply, ...more }: Partial<RotationOptions> & { apply?: (keys: SigningKeys) => void } = {}) {
    const applied: SigningKeys[] = [];
    const keyring = more.keyring ?? openKeyring(db);
    const rotation = await startRotation({
      keyring,
      db,
      policy,
      log,
      now: () => clock,
      everyMs: 3_600_000,
      ...more,
    });
    closers.push(() => rotation.stop());
    const takeOver = apply ?? ((keys: SigningKeys) => void applied.push(keys));
    takeOver(rotation.firstKeys);
    await rotation.run(takeOver);
    return { rotation, applied, keyring };
  }
  /** What has started and made its first tick. */
  async function begin(more: Parameters<typeof open>[0] = {}) {
    const begun = await open(more);
    await begun.rotation.tick();
    return begun;
  }
  const events = () => lines.filter(({ level }) => level !== 'debug').map(({ event }) => event);

  describe('a whole life', () => {
    test('the first start makes a key, hands it on and resolves; making the next one is the first tick', async () => {
      let made = 0;
      let goOn = () => {};
      const { rotation, applied } = await open({
        keyring: openKeyring(db, {
          generate: async () => {
            if (made++ > 0)
              await new Promise<void>((resolve) => {
                goOn = resolve;
              });
            return generate();
          },
        }),
      });
      const active = applied[0]!.active.kid;
      expect(applied.map(({ published }) => published.map(({ kid }) => kid))).toEqual([[active]]);
      expect(rotation.health()).toMatchObject({ ok: true, activeKid: active, failure: null, next: null });
      await vi.waitFor(() => expect(made).toBe(2));
      goOn();
      await rotation.tick();
      expect(applied).toHaveLength(2);
      expect(applied[1]).toMatchObject({ active: { kid: active }, published: [{ kid: active }, {}] });
      expect(rotation.health()).toMatchObject({ next: { step: 'activate', at: start + 90 * day } });
    });

    test('a later start takes the keys that are there', async () => {
      const first = await begin();
      const second = await begin();
      expect(second.applied.map(({ version }) => version)).toEqual([first.applied.at(-1)!.version]);
    });

    test('keys are published, sign, are retired and leave, each at its moment and not before', async () => {
      const { rotation, applied } = await begin();
      const at = async (moment: number) => {
        clock = moment;
        await rotation.tick();
        const { active, published } = applied.at(-1)!;
        const name = (kid: string) => 'abcdef'[testKeys.findIndex((key) => key.publicJwk.kid === kid)];
        return `${name(active.kid)}: ${published.map(({ kid }) => name(kid)).join(' ')}`;
      };
      const leaves = 90 * day + 14 * day + afterlife;
      expect(await at(start)).toBe('a: a b');
      expect(await at(start + 90 * day - 1)).toBe('a: a b');
      expect(await at(start + 90 * day)).toBe('b: b a c');
      expect(await at(start + leaves - 1)).toBe('b: b a c');
      expect(await at(start + leaves)).toBe('b: b c');
      expect(await at(start + 180 * day)).toBe('c: c b d');
      expect(applied).toHaveLength(7); // a hand-over and the next key are two
      expect(await audit.verify()).toMatchObject({ ok: true });
    });

    test('a server that slept through it all hands over at once: the next key was published in time', async () => {
      const { rotation, applied } = await begin();
      const next = applied.at(-1)!.published[1]!.kid;
      clock += 400 * day;
      await rotation.tick();
      expect(applied.at(-1)!.active.kid).toBe(next);
    });

    test('a revocation is followed at once, before the next key is made', async () => {
      let making = () => {};
      let gate: Promise<void> | undefined;
      const gated = openKeyring(db, {
        generate: async () => {
          await gate;
          return generate();
        },
      });
      const { rotation, applied } = await begin({ keyring: gated });
      const [active, next] = applied.at(-1)!.published.map(({ kid }) => kid);
      gate = new Promise((resolve) => {
        making = resolve;
      });
      await openKeyring(db).revoke(active!, 'why');
      const ticked = rotation.tick();
      await vi.waitFor(() => expect(applied.at(-1)!.published.map(({ kid }) => kid)).toEqual([next]));
      making();
      await ticked;
      await rotation.tick();
      expect(applied.at(-1)!.published).toMatchObject([{ kid: next }, {}]);
    });

    test('a longer life is recorded on the active key before the start resolves', async () => {
      await begin();
      const longer = { ...policy, longestLife: 30 * 86_400 };
      const { keyring } = await begin({ policy: longer });
      const active = (await keyring.list()).find(({ state }) => state === 'active');
      expect(active).toMatchObject({ longestLife: 30 * 86_400 });
      expect(await audit.list({ event: 'key.life_raised' })).toHaveLength(1);
    });
  });

  describe('a key that waits until it was seen', () => {
    const patient = { ...policy, patience: 7 * 86_400 };

    test('signs when the last one has it, and those who were missing are told meanwhile', async () => {
      const missing = new Map([['orders (192.0.2.1)', true]]);
      const asked: string[] = [];
      const { rotation, applied } = await begin({
        policy: patient,
        unseenBy: async ({ kid }) => {
          asked.push(kid);
          return [...missing.keys()];
        },
      });
      const first = applied[0]!.active.kid;
      clock = start + 90 * day - 1;
      await rotation.tick();
      expect(asked).toEqual([]);
      clock = start + 90 * day;
      await rotation.tick();
      expect(applied.at(-1)!.active.kid).toBe(first);
      expect(rotation.health()).toMatchObject({
        ok: true,
        next: { step: 'activate', at: start + 97 * day, waitingFor: ['orders (192.0.2.1)'] },
      });
      missing.clear();
      await rotation.tick();
      expect(applied.at(-1)!.active.kid).toBe(asked[0]);
      expect(asked[0]).not.toBe(first);
    });

    test('signs at its limit all the same', async () => {
      const { rotation, applied } = await begin({ policy: patient, unseenBy: async () => ['orders'] });
      for (const moment of [90 * day, 97 * day - 1]) {
        clock = start + moment;
        await rotation.tick();
        expect(applied.at(-1)!.active.kid).toBe(applied[0]!.active.kid);
      }
      clock = start + 97 * day;
      await rotation.tick();
      expect(applied.at(-1)!.active.kid).not.toBe(applied[0]!.active.kid);
    });

    test('nobody is asked where time is enough', async () => {
      const { rotation } = await begin({ unseenBy: () => Promise.reject(new Error('asked')) });
      clock = start + 90 * day;
      await rotation.tick();
      expect(rotation.health().ok).toBe(true);
    });
  });

  describe('two servers', () => {
    test('rotate once, whichever ticks, and both sign with the new key', async () => {
      const other = await openDatabase(url);
      closers.push(() => other.close());
      const one = await begin();
      const two = await begin({ keyring: openKeyring(other), db: other });
      for (const moment of [90 * day, 105 * day]) {
        clock = start + moment;
        await Promise.all([one.rotation.tick(), two.rotation.tick(), one.rotation.tick()]);
        await Promise.all([one.rotation.tick(), two.rotation.tick()]);
      }
      expect(one.applied.at(-1)!.version).toBe(two.applied.at(-1)!.version);
      expect((await one.keyring.list()).map(({ state }) => state).sort()).toEqual(['active', 'destroyed', 'prepared']);
      expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
    });

    test('what one does, or the command line, the other notices without being asked', async () => {
      const other = await openDatabase(url);
      closers.push(() => other.close());
      let noticed = (_keys: SigningKeys) => {};
      const news = new Promise<SigningKeys>((resolve) => {
        noticed = resolve;
      });
      const { keyring } = await begin();
      const first = (await keyring.signingKeys()).active.kid;
      await begin({
        keyring: openKeyring(other),
        db: other,
        apply: (keys) => {
          if (keys.active.kid !== first) noticed(keys);
        },
      });
      await keyring.revoke(first, 'seen on a laptop', { actor: 'cli' });
      expect((await news).published.map(({ kid }) => kid)).not.toContain(first);
    });
  });

  describe('when something fails', () => {
    const flaky = (): { db: Database; away: boolean } => {
      const state: { db: Database; away: boolean } = {
        away: false,
        db: {
          ...db,
          query: (text, values) => (state.away ? Promise.reject(gone()) : db.query(text, values)),
          transaction: (work) => (state.away ? Promise.reject(gone()) : db.transaction(work)),
        },
      };
      return state;
    };
    const gone = () => new AppError('database_unavailable', 503, 'the database is away');

    test('a server whose database is away keeps signing, says so once, and recovers by itself', async () => {
      const state = flaky();
      const { rotation, applied } = await begin({ keyring: openKeyring(state.db) });
      state.away = true;
      await rotation.tick();
      await rotation.tick();
      await rotation.tick();
      expect(rotation.health()).toMatchObject({
        ok: false,
        failure: 'database_unavailable',
        activeKid: applied[0]!.active.kid,
      });
      expect(rotation.health().failingSince).toBeTypeOf('number');
      expect(events().filter((event) => event === 'rotation.failed')).toHaveLength(1);
      expect(await applied[0]!.active.sign(Buffer.from('still here'))).toHaveLength(256);

      state.away = false;
      clock += 90 * day;
      await rotation.tick();
      expect(rotation.health()).toMatchObject({ ok: true, failure: null, failingSince: null });
      expect(applied.at(-1)!.published).toHaveLength(3);
      expect(events()).toContain('rotation.recovered');
    });

    test('a start without its database, or with a wrong master key, fails and touches nothing', async () => {
      const state = flaky();
      state.away = true;
      await expect(begin({ keyring: openKeyring(state.db) })).rejects.toMatchObject({ code: 'database_unavailable' });
      await begin();
      const before = (await db.query('select * from signing_keys')).rows;
      clock += 100 * day;
      const wrong = openKeyring(db, { seal: createSeal([randomBytes(32)]) });
      await expect(begin({ keyring: wrong })).rejects.toMatchObject({ code: 'master_key_wrong' });
      expect((await db.query('select * from signing_keys')).rows).toEqual(before);
    });

    test('a policy that would break verifiers stops the start, and nothing is touched', async () => {
      const hasty = { ...policy, publishAhead: 60 };
      await expect(begin({ policy: hasty })).rejects.toMatchObject({
        code: 'key_policy_unsafe',
        message: expect.stringContaining('300 + 30 + 30 = 360'),
      });
      expect((await db.query('select * from signing_keys')).rows).toEqual([]);
    });

    test('a step that cannot be taken does not hide a revocation', async () => {
      const keyring = { ...openKeyring(db) };
      const { rotation, applied } = await begin({ keyring });
      const first = applied[0]!.active.kid;
      clock += 90 * day;
      await rotation.tick();
      await openKeyring(db).revoke(first, 'why');
      keyring.activate = () => Promise.reject(new Error('not now'));
      clock += 90 * day;
      await rotation.tick();
      expect(applied.at(-1)!.published.map(({ kid }) => kid)).not.toContain(first);
      expect(rotation.health()).toMatchObject({ ok: false, failure: 'Error' });
    });

    test('a next key that cannot be made fails the tick, and the one that signs goes on', async () => {
      let broken = false;
      const failing = () => (broken ? Promise.reject(new Error('no entropy')) : generate());
      const { rotation, applied } = await begin({ keyring: openKeyring(db, { generate: failing }) });
      const [active, next] = applied.at(-1)!.published.map(({ kid }) => kid);
      broken = true;
      await openKeyring(db).revoke(active!, 'why');
      await rotation.tick();
      expect(applied.at(-1)).toMatchObject({ active: { kid: next }, published: [{ kid: next }] });
      expect(rotation.health()).toMatchObject({ ok: false, failure: 'Error' });
      broken = false;
      await rotation.tick();
      expect(applied.at(-1)!.published).toHaveLength(2);
      expect(rotation.health().ok).toBe(true);
    });

    test('keys that could not be applied are handed on again at the next tick', async () => {
      const seen: string[] = [];
      let refuse = false;
      const { rotation, keyring } = await begin({
        apply: ({ version }) => {
          if (refuse) throw new Error('not now');
          seen.push(version);
        },
      });
      refuse = true;
      clock += 90 * day;
      await rotation.tick();
      expect(rotation.health().ok).toBe(false);
      refuse = false;
      await rotation.tick();
      expect(seen.at(-1)).toBe((await keyring.signingKeys()).version);
      expect(rotation.health().ok).toBe(true);
    });

    test('a clock that is off by more than the allowed skew is told once, and when it is right again', async () => {
      let off = 0;
      const { rotation } = await begin({ db: { ...db, now: async () => Date.now() + off } });
      expect(rotation.health().ok).toBe(true);
      off = 60_000;
      await rotation.tick();
      await rotation.tick();
      const { ok, clockOffset } = rotation.health();
      expect(ok).toBe(false);
      expect(Math.abs(clockOffset + 60_000)).toBeLessThan(1_000);
      const warnings = lines.filter(({ event }) => event === 'rotation.clock_off');
      expect(warnings).toMatchObject([{ level: 'warn', allowedMs: 30_000 }]);
      off = 0;
      await rotation.tick();
      expect(rotation.health().ok).toBe(true);
      expect(events()).toContain('rotation.clock_right');
    });
  });

  describe('ticks', () => {
    test('never overlap, and whoever asks meanwhile gets one that began later', async () => {
      let inside = 0;
      let most = 0;
      let looks = 0;
      const keyring = openKeyring(db);
      const { rotation } = await begin({
        keyring: {
          ...keyring,
          async list() {
            looks += 1;
            most = Math.max(most, (inside += 1));
            const keys = await keyring.list();
            inside -= 1;
            return keys;
          },
        },
      });
      looks = 0;
      await Promise.all([rotation.tick(), rotation.tick(), rotation.tick(), rotation.tick()]);
      expect({ most, looks }).toEqual({ most: 1, looks: 2 });
    });

    test('end with stop, which waits for the one under way', async () => {
      const { rotation, applied } = await begin();
      clock += 90 * day;
      const under = rotation.tick();
      await rotation.stop();
      expect(applied).toHaveLength(4);
      await under;
      clock += 90 * day;
      await rotation.tick();
      expect(applied).toHaveLength(4);
    });
  });
});
