import { beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { createLoginThrottle, type LoginThrottle } from '../../src/signin/login-throttle.ts';
import { addressPrefixes } from '../../src/web/address.ts';
import { engines, sqlite } from '../support/engines.ts';

const home = '198.51.100.7';
const ada = 'ada@example.com';

/** SQLite without a disk: what is told here is what is counted, and how a statement counts is told on both engines. */
async function unsyncedDatabase(): Promise<Database> {
  const db = await openSqlite((await sqlite.freshUrl()).slice('sqlite:'.length), { sync: async () => {} });
  await migrate(db);
  return db;
}

describe('passwords are guessed', () => {
  let db: Database;
  let throttle: LoginThrottle;
  let now: number;

  beforeEach(async () => {
    db = await unsyncedDatabase();
    now = 1_800_000_000_000;
    throttle = createLoginThrottle(db, () => now);
    return () => db.close();
  });

  const ask = async (emailKey: string, from: string, isRight: boolean, device?: string) => {
    const sender = { emailKey, ...addressPrefixes(from), device };
    return (await throttle.attempt(sender, async () => ({ isRight }))).waitSeconds;
  };
  /** Seconds to wait: 0 when the guess was looked at. */
  const guess = (emailKey: string, from: string, device?: string) => ask(emailKey, from, false, device);
  const passSeconds = (seconds: number) => {
    now += seconds * 1000;
  };
  const signIn = async (who: string, from: string, device?: string) =>
    expect(await ask(who, from, true, device)).toBe(0);
  const looked = (waits: number[]) => waits.filter((seconds) => seconds === 0).length;

  test('a few mistakes cost nothing; then the wait doubles, up to a quarter of an hour', async () => {
    for (let mistake = 1; mistake <= 5; mistake += 1) expect(await guess(ada, home)).toBe(0);
    const waits: number[] = [];
    for (let more = 0; more < 13; more += 1) {
      const seconds = await guess(ada, home);
      waits.push(seconds);
      passSeconds(seconds);
      expect(await guess(ada, home)).toBe(0);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
  });

  test('the wait counts down, in whole seconds and never 0, and trying meanwhile does not lengthen it', async () => {
    for (let mistake = 0; mistake < 8; mistake += 1) passSeconds(await guess(ada, home));
    passSeconds(await guess(ada, home));
    for (let again = 0; again < 5; again += 1) await guess(ada, home);
    const first = await guess(ada, home);
    passSeconds(first - 1);
    expect(await guess(ada, home)).toBe(1);
    now += 999;
    expect(await guess(ada, home)).toBe(1);
    now += 1;
    expect(await guess(ada, home)).toBe(0);
  });

  test('a check that could not be made was no failure', async () => {
    for (let time = 0; time < 25; time += 1) {
      const attempt = throttle.attempt({ emailKey: ada, ...addressPrefixes(home) }, () =>
        Promise.reject(new Error('busy')),
      );
      await expect(attempt).rejects.toThrow('busy');
    }
    expect((await db.query('select key from sign_in_attempts where expires_at > $1', [now])).rows).toEqual([]);
    expect(await guess(ada, home)).toBe(0);
  });

  describe('from many addresses at one account', () => {
    const attack = async () => {
      const waits = await Promise.all(Array.from({ length: 60 }, (_, index) => guess(ada, `203.0.113.${index}`)));
      expect(looked(waits)).toBe(20);
      return waits.filter((seconds) => seconds > 0);
    };

    test('all get what the account allows; the others a reservation that is good once, whatever the others do', async () => {
      expect(new Set(await attack())).toEqual(new Set([20]));
      expect(await ask(ada, home, true)).toBe(20);
      passSeconds(19);
      for (let index = 0; index < 30; index += 1) await guess(ada, `192.0.2.${index}`);
      expect(await ask(ada, home, true)).toBe(1);
      passSeconds(1);
      expect(await ask(ada, home, true)).toBe(0);
    });

    test('a reservation is not used up by a check that could not be made, however often', async () => {
      await attack();
      expect(await ask(ada, home, true)).toBe(20);
      passSeconds(20);
      const busy = () =>
        throttle.attempt({ emailKey: ada, ...addressPrefixes(home) }, () => Promise.reject(new Error('busy')));
      for (let time = 0; time < 10; time += 1) {
        // Whatever the account allows goes to others.
        for (let other = 0; other < 2; other += 1) await guess(ada, `192.0.2.${10 * other + time}`);
        await expect(busy()).rejects.toThrow('busy');
        passSeconds(10);
      }
      for (let other = 0; other < 2; other += 1) await guess(ada, `192.0.2.${100 + other}`);
      expect(await ask(ada, home, true)).toBe(0);
    });

    test('a reservation is used once, and three are made in a day', async () => {
      await attack();
      const [at, other] = ['192.0.2.1', '192.0.2.2'];
      let uses = 0;
      for (let second = 0; second < 300; second += 5) {
        // Whatever the account allows goes to others.
        while ((await guess(ada, `192.0.2.${100 + Math.floor(second / 10)}`)) === 0);
        if ((await guess(ada, at)) === 0) uses += 1;
        passSeconds(5);
      }
      expect(uses).toBe(3);
      expect(await guess(ada, other)).toBeLessThanOrEqual(20);
    });

    test('who asks before the time has the same reservation; who does not come has lost it', async () => {
      await attack();
      expect(await guess(ada, home)).toBe(20);
      for (let second = 0; second < 3; second += 1) expect(await guess(ada, home)).toBe(20);
      passSeconds(141);
      while ((await guess(ada, '192.0.2.200')) === 0);
      for (let index = 0; index < 20; index += 1) await guess(ada, `192.0.2.${index}`);
      expect(await guess(ada, home)).toBeGreaterThan(0);
    });

    test('of one network few have reservations, and a newcomer’s is not one of them', async () => {
      for (let index = 0; index < 20; index += 1) await guess(ada, `203.0.113.${index}`);
      let ofNetwork = 0;
      for (let subnet = 0; subnet < 60; subnet += 1) {
        if ((await guess(ada, `2001:db8:1:${subnet.toString(16)}::1`)) === 20) ofNetwork += 1;
      }
      expect(ofNetwork).toBe(30);
      expect(await ask(ada, '2001:db8:2::1', true)).toBe(20);
      passSeconds(20);
      expect(await ask(ada, '2001:db8:2::1', true)).toBe(0);
    });

    test('a person at an address of their own, or in a browser of theirs, does not notice', async () => {
      await signIn(ada, home);
      await attack();
      expect(await ask(ada, home, true)).toBe(0);
      expect(await ask(ada, '192.0.2.77', true, 'her browser')).toBe(0);
      passSeconds(89 * 86_400);
      await attack();
      expect(await ask(ada, home, true)).toBe(0);
    });
  });

  test('an own address is no licence to guess: there, too, five and then the wait', async () => {
    await signIn(ada, home);
    expect(looked(await Promise.all(Array.from({ length: 50 }, () => guess(ada, home))))).toBe(5);
  });

  test('an own address is own to one person alone', async () => {
    await signIn('mallory@example.com', '203.0.113.1');
    expect(looked(await Promise.all(Array.from({ length: 50 }, () => guess(ada, '203.0.113.1'))))).toBe(5);
  });

  test('a colleague at the same address cannot keep somebody out', async () => {
    await signIn(ada, home);
    for (let time = 0; time < 101; time += 1) passSeconds(await guess(ada, home));
    expect(await guess(ada, home)).toBeGreaterThan(0);
    expect(await guess(ada, home)).toBeLessThanOrEqual(60);
    expect(await ask(ada, home, true, 'her browser')).toBe(0);
  });

  test('a browser has a counter of its own, whatever the address, and no other', async () => {
    const guessThere = (from: string) => guess(ada, from, 'stolen');
    for (let time = 0; time < 5; time += 1) expect(await guessThere(`203.0.113.${time}`)).toBe(0);
    expect(await guessThere('203.0.113.9')).toBe(1);
    expect(await guess(ada, '203.0.113.9', 'her browser')).toBe(0);
    expect(await guess(ada, '203.0.113.9')).toBe(0);
    passSeconds(1);
    for (let time = 0; time < 21; time += 1) passSeconds(await guessThere(home));
    expect(await guessThere(home)).toBeGreaterThan(500);
    await signIn(ada, home, 'her browser');
    for (let time = 0; time < 5; time += 1) expect(await guess(ada, home, 'her browser')).toBe(0);
  });

  test('a /48 is one neighbour', async () => {
    let total = 0;
    for (let at = 0; at < 240; at += 1) {
      if ((await guess(`person-${at}@example.com`, `2001:db8:1:${(at % 20).toString(16)}::1`)) === 0) total += 1;
    }
    expect(total).toBe(200);
    expect(await guess(ada, '2001:db8:2::1')).toBe(0);
  });

  describe('one address, many accounts', () => {
    const people = Array.from({ length: 58 }, (_, index) => `colleague-${index}@example.com`);

    test('is slowed down: a hundred, and then one a minute', async () => {
      expect(
        looked(
          await Promise.all(Array.from({ length: 180 }, (_, index) => guess(`person-${index}@example.com`, home))),
        ),
      ).toBe(100);
      let more = 0;
      for (let second = 0; second < 600; second += 10) {
        passSeconds(10);
        if ((await guess(`other-${second}@example.com`, home)) === 0) more += 1;
      }
      expect(more).toBe(10);
    });

    test('also where everybody of them signed in before', async () => {
      for (const one of people) await signIn(one, home);
      const waits: number[] = [];
      for (let round = 0; round < 3; round += 1) for (const one of people) waits.push(await guess(one, home));
      expect(looked(waits)).toBe(100);
      // And a colleague of theirs, in a new browser, is in within a minute.
      expect(await ask(people[57]!, home, true)).toBe(45);
      passSeconds(45);
      expect(await ask(people[57]!, home, true)).toBe(0);
      // In half an hour, whatever is tried: one a minute, and two reservations for each.
      let later = 0;
      for (let second = 0; second < 1_800; second += 15) {
        for (const one of people.slice(0, 10)) if ((await guess(one, home)) === 0) later += 1;
        passSeconds(15);
      }
      expect(later).toBeLessThanOrEqual(30 + 10 * 2);
    });

    test('an office of sixty, half of whom make three mistakes, signs in in one morning, and nobody waits', async () => {
      for (let colleague = 0; colleague < 60; colleague += 1) {
        const one = `colleague-${colleague}@example.com`;
        for (let mistake = 0; mistake < 3 * (colleague % 2); mistake += 1) expect(await guess(one, home)).toBe(0);
        await signIn(one, home);
      }
    });

    test('an office of two hundred who make no mistakes does not wait either', async () => {
      for (let colleague = 0; colleague < 200; colleague += 1) await signIn(`colleague-${colleague}@example.com`, home);
      await signIn('the-last-one@example.com', home);
    });

    test('one colleague who keeps pressing the button holds up nobody but the own account', async () => {
      for (let press = 0; press < 200; press += 1) await guess(ada, home);
      expect(await ask('colleague@example.com', home, true)).toBe(0);
    });

    test('an own account to sign in to between the guesses does not buy more of them', async () => {
      let total = 0;
      for (let round = 0; round < 200; round += 1) {
        await ask('mallory@example.com', home, true);
        if ((await guess(`victim-${round}@example.com`, home)) === 0) total += 1;
      }
      expect(total).toBeLessThanOrEqual(100);
    });
  });

  test('success forgets the mistakes before it', async () => {
    for (let time = 0; time < 10; time += 1) {
      for (let mistake = 0; mistake < 4; mistake += 1) expect(await guess(ada, home)).toBe(0);
      await signIn(ada, home);
    }
  });

  test('a day after the last mistake all is forgotten, an own address after ninety', async () => {
    await signIn(ada, home);
    for (let mistake = 0; mistake < 5; mistake += 1) await guess('eve@example.com', home);
    expect(await throttle.sweepExpired(now, 100)).toBeLessThanOrEqual(1);
    passSeconds(86_400);
    while ((await throttle.sweepExpired(now, 2)) > 0);
    for (let mistake = 0; mistake < 5; mistake += 1) expect(await guess('eve@example.com', home)).toBe(0);
    const { rows } = await db.query(`select key from sign_in_attempts where key like 'own:%'`);
    expect(rows).toHaveLength(1);
    passSeconds(90 * 86_400);
    while ((await throttle.sweepExpired(now, 100)) > 0);
    expect((await db.query('select key from sign_in_attempts')).rows).toEqual([]);
  });

  test('a flood of refusals leaves no rows behind: an address fills what its failures fill, and no more', async () => {
    for (let index = 0; index < 400; index += 1) await guess(`invented-${index}@example.com`, home);
    const { rows } = await db.query('select key from sign_in_attempts');
    // For each of a hundred failures the account, and the account there; and the address.
    expect(rows.length).toBeLessThanOrEqual(201);
  });

  test('a counter that grew for years still gives its longest wait', async () => {
    for (let mistake = 0; mistake < 5; mistake += 1) await guess(ada, home);
    passSeconds(1);
    await db.query(`update sign_in_attempts set failures = ${Number.MAX_SAFE_INTEGER - 10} where key like 'pair:%'`);
    expect(await guess(ada, home)).toBe(0);
    expect(await guess(ada, home)).toBe(900);
  });

  test('what was typed into the e-mail field is not kept: people type passwords there', async () => {
    await guess('hunter2 is my password', home);
    expect(JSON.stringify((await db.query('select * from sign_in_attempts')).rows)).not.toContain('hunter2');
  });
});

describe.each(engines)('many come at the same moment, on $name', ({ freshDatabase }) => {
  let db: Database;
  let replicas: LoginThrottle[];
  let now: number;

  beforeEach(async () => {
    db = await freshDatabase();
    now = 1_800_000_000_000;
    replicas = [1, 2].map(() => createLoginThrottle(db, () => now));
    return () => db.close();
  });

  const ask = async (emailKey: string, from: string, isRight: boolean, { device, at = 0 }: Asking = {}) =>
    (await replicas[at]!.attempt({ emailKey, ...addressPrefixes(from), device }, async () => ({ isRight })))
      .waitSeconds;
  const together = (count: number, one: (index: number) => Promise<number>) =>
    Promise.all(Array.from({ length: count }, (_, index) => one(index)));
  const looked = (waits: number[]) => waits.filter((seconds) => seconds === 0).length;

  test('hundreds of guesses are as many as in a row, wherever they arrive: five', async () => {
    expect(looked(await together(300, (index) => ask(ada, home, false, { at: index % 2 })))).toBe(5);
  });

  test.each([
    ['from one address', (): Asking => ({}), () => home, 40],
    ['in a browser that is known', (): Asking => ({ device: 'hers' }), () => home, 40],
    ['from everywhere', (): Asking => ({}), (index: number) => `203.0.113.${index}`, 40],
  ])('whoever is right is let in: one account %s', async (_where, asking, from, count) => {
    const waits = await together(count, (index) => ask(ada, from(index), true, asking()));
    expect(waits).toEqual(Array(count).fill(0));
  });

  test('whoever is right is let in: an office', async () => {
    const waits = await together(130, (index) => ask(`colleague-${index}@example.com`, home, true));
    expect(waits).toEqual(Array(130).fill(0));
  });

  test('a reservation is used once, wherever it is used', async () => {
    await together(20, (index) => ask(ada, `203.0.113.${index}`, false));
    expect(await ask(ada, home, false)).toBe(20);
    now += 20_000;
    // Two by the account's own pace.
    await together(2, (index) => ask(ada, `203.0.113.${100 + index}`, false));
    expect(looked(await together(20, (index) => ask(ada, home, false, { at: index % 2 })))).toBe(1);
  });

  test('one neighbour’s failures are counted once each', async () => {
    expect(
      looked(await together(150, (index) => ask(`person-${index}@example.com`, home, false, { at: index % 2 }))),
    ).toBe(100);
    now += 120_000;
    expect(looked(await together(10, (index) => ask(`other-${index}@example.com`, home, false)))).toBe(2);
  });
});

interface Asking {
  device?: string;
  /** Which of two servers is asked. */
  at?: number;
}
