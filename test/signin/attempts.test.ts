import { beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { createAttempts, type Attempts } from '../../src/signin/attempts.ts';
import { addressPrefixes } from '../../src/web/guard.ts';
import { engines } from '../support/engines.ts';

const home = '198.51.100.7';
const ada = 'ada@example.com';

describe.each(engines)('passwords are guessed, on $name', ({ freshDatabase }) => {
  let db: Database;
  let attempts: Attempts;
  let now: number;

  beforeEach(async () => {
    db = await freshDatabase();
    now = 1_800_000_000_000;
    attempts = createAttempts(db, () => now);
    return () => db.close();
  });

  const wait = async (emailKey: string, address: string, more: { network?: string; device?: string } = {}) =>
    (await attempts.begin({ emailKey, address, ...more })).waitSeconds;
  const passSeconds = (seconds: number) => { now += seconds * 1000; };
  const signIn = async (who: string, where: string) => {
    const attempt = await attempts.begin({ emailKey: who, address: where });
    expect(attempt.waitSeconds).toBe(0);
    await attempt.succeeded();
  };

  test('a few mistakes cost nothing; then the wait doubles, up to a quarter of an hour', async () => {
    for (let mistake = 1; mistake <= 5; mistake += 1) expect(await wait(ada, home)).toBe(0);
    const waits: number[] = [];
    for (let more = 0; more < 16; more += 1) {
      const seconds = await wait(ada, home);
      waits.push(seconds);
      passSeconds(seconds);
      expect(await wait(ada, home)).toBe(0);
    }
    expect(waits.slice(0, 11)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]);
    expect(new Set(waits.slice(10))).toEqual(new Set([900]));
  });

  test('the wait counts down, in whole seconds and never 0, and trying meanwhile does not lengthen it', async () => {
    for (let mistake = 0; mistake < 8; mistake += 1) passSeconds(await wait(ada, home));
    passSeconds(await wait(ada, home));
    for (let again = 0; again < 5; again += 1) await wait(ada, home);
    const first = await wait(ada, home);
    passSeconds(first - 1);
    expect(await wait(ada, home)).toBe(1);
    now += 999;
    expect(await wait(ada, home)).toBe(1);
    now += 1;
    expect(await wait(ada, home)).toBe(0);
  });

  test('100 guesses in one moment are as many as 100 in a row: five', async () => {
    const waits = await Promise.all(Array.from({ length: 100 }, () => wait(ada, home)));
    expect(waits.filter((seconds) => seconds === 0)).toHaveLength(5);
  });

  test('guesses from a hundred addresses get what the account allows, and then one in five seconds', async () => {
    const waits = await Promise.all(Array.from({ length: 100 }, (_, index) => wait(ada, `203.0.113.${index}`)));
    expect(waits.filter((seconds) => seconds === 0)).toHaveLength(21);
    let looked = 0;
    for (let second = 0; second < 60; second += 1) {
      passSeconds(1);
      for (let each = 0; each < 3; each += 1) {
        if ((await wait(ada, `192.0.2.${second * 3 + each}`)) === 0) looked += 1;
      }
    }
    expect(looked).toBeLessThanOrEqual(15);
  });

  test('the account as a whole is never held up for longer than five seconds', async () => {
    for (let guess = 0; guess < 60; guess += 1) {
      const seconds = await wait(ada, `203.0.113.${guess}`);
      expect(seconds).toBeLessThanOrEqual(5);
      passSeconds(seconds);
    }
  });

  test('a person at an address of their own does not notice what others do to the account elsewhere', async () => {
    await signIn(ada, home);
    await Promise.all(Array.from({ length: 200 }, (_, index) => wait(ada, `203.0.113.${index}`)));
    expect(await wait(ada, home)).toBe(0);
    passSeconds(89 * 86_400);
    await Promise.all(Array.from({ length: 200 }, (_, index) => wait(ada, `203.0.113.${index}`)));
    expect(await wait(ada, home)).toBe(0);
  });

  test('an own address is no licence to guess: there, too, five and then the wait', async () => {
    await signIn(ada, home);
    const waits = await Promise.all(Array.from({ length: 50 }, () => wait(ada, home)));
    expect(waits.filter((seconds) => seconds === 0)).toHaveLength(5);
  });

  test('an own address is own to one person alone', async () => {
    await signIn('mallory@example.com', '203.0.113.1');
    const waits = await Promise.all(Array.from({ length: 50 }, () => wait(ada, '203.0.113.1')));
    expect(waits.filter((seconds) => seconds === 0)).toHaveLength(5);
  });

  test('a colleague at the same address cannot keep somebody out', async () => {
    await signIn(ada, home);
    for (let guess = 0; guess < 101; guess += 1) passSeconds(await wait(ada, home));
    expect(await wait(ada, home)).toBeGreaterThan(0);
    expect(await wait(ada, home)).toBeLessThanOrEqual(60);
    expect(await wait(ada, home, { device: 'her browser' })).toBe(0);
  });

  test('a browser has a counter of its own, whatever the address, and no other', async () => {
    const guess = (address: string) => wait(ada, address, { device: 'stolen' });
    for (let time = 0; time < 5; time += 1) expect(await guess(`203.0.113.${time}`)).toBe(0);
    expect(await guess('203.0.113.9')).toBe(1);
    expect(await wait(ada, '203.0.113.9', { device: 'her browser' })).toBe(0);
    expect(await wait(ada, '203.0.113.9')).toBe(0);
    passSeconds(1);
    for (let time = 0; time < 21; time += 1) passSeconds(await guess(home));
    expect(await guess(home)).toBeGreaterThan(500);
    const own = await attempts.begin({ emailKey: ada, address: home, device: 'her browser' });
    await own.succeeded();
    for (let time = 0; time < 5; time += 1) expect(await wait(ada, home, { device: 'her browser' })).toBe(0);
  });

  test('who was told to come back later has not failed', async () => {
    for (let time = 0; time < 25; time += 1) {
      const attempt = await attempts.begin({ emailKey: ada, address: home });
      expect(attempt.waitSeconds).toBe(0);
      await attempt.takeBack();
    }
  });

  test('a /48 is one neighbour', async () => {
    let looked = 0;
    for (let at = 0; at < 240; at += 1) {
      const { address, network } = addressPrefixes(`2001:db8:1:${(at % 20).toString(16)}::1`);
      if ((await wait(`person-${at}@example.com`, address, { network })) === 0) looked += 1;
    }
    expect(looked).toBe(201);
    const { address, network } = addressPrefixes('2001:db8:2::1');
    expect(await wait(ada, address, { network })).toBe(0);
  });

  describe('one address, many accounts', () => {
    test('is slowed down, and an office behind it waits a minute at most', async () => {
      const waits = await Promise.all(Array.from({ length: 80 }, (_, index) =>
        wait(`person-${index}@example.com`, home)));
      expect(waits.filter((seconds) => seconds === 0)).toHaveLength(51);
      for (let guess = 0; guess < 20; guess += 1) {
        const seconds = await wait(`other-${guess}@example.com`, home);
        expect(seconds).toBeLessThanOrEqual(60);
        passSeconds(seconds);
      }
    });

    test('an office of two hundred signs in in one morning, and nobody waits', async () => {
      for (let colleague = 0; colleague < 200; colleague += 1) await signIn(`colleague-${colleague}@example.com`, home);
      expect(await wait('the-last-one@example.com', home)).toBe(0);
    });

    test('one colleague who keeps pressing the button holds up nobody but the own account', async () => {
      for (let press = 0; press < 200; press += 1) await wait(ada, home);
      expect(await wait('colleague@example.com', home)).toBe(0);
    });

    test('an own account to sign in to between the guesses does not buy more of them', async () => {
      let looked = 0;
      for (let round = 0; round < 100; round += 1) {
        const own = await attempts.begin({ emailKey: 'mallory@example.com', address: home });
        if ((await wait(`victim-${round}@example.com`, home)) === 0) looked += 1;
        if (own.waitSeconds === 0) await own.succeeded();
      }
      expect(looked).toBeLessThanOrEqual(51);
    });
  });

  test('success forgets the mistakes before it', async () => {
    for (let day = 0; day < 10; day += 1) {
      for (let mistake = 0; mistake < 4; mistake += 1) expect(await wait(ada, home)).toBe(0);
      await signIn(ada, home);
    }
  });

  test('being held up is not counted: whoever waits it out is looked at', async () => {
    for (let mistake = 0; mistake < 5; mistake += 1) await wait(ada, home);
    for (let press = 0; press < 50; press += 1) expect(await wait(ada, home)).toBe(1);
    passSeconds(1);
    expect(await wait(ada, home)).toBe(0);
  });

  test('a day after the last mistake all is forgotten, an own address after ninety', async () => {
    await signIn(ada, home);
    for (let mistake = 0; mistake < 5; mistake += 1) await wait('eve@example.com', home);
    expect(await attempts.sweepExpired(now, 100)).toBe(0);
    passSeconds(86_400);
    expect(await attempts.sweepExpired(now, 2)).toBe(2);
    while ((await attempts.sweepExpired(now, 100)) > 0);
    for (let mistake = 0; mistake < 5; mistake += 1) expect(await wait('eve@example.com', home)).toBe(0);
    const { rows } = await db.query(`select key from sign_in_attempts where key like 'own:%'`);
    expect(rows).toHaveLength(1);
    passSeconds(90 * 86_400);
    while ((await attempts.sweepExpired(now, 100)) > 0);
    expect((await db.query('select key from sign_in_attempts')).rows).toEqual([]);
  });

  test('a counter that grew for years still gives its longest wait', async () => {
    for (let mistake = 0; mistake < 5; mistake += 1) await wait(ada, home);
    passSeconds(1);
    await db.query(`update sign_in_attempts set failures = ${Number.MAX_SAFE_INTEGER - 10} where key like 'pair:%'`);
    expect(await wait(ada, home)).toBe(0);
    expect(await wait(ada, home)).toBe(900);
  });

  test('what was typed into the e-mail field is not kept: people type passwords there', async () => {
    await wait('hunter2 is my password', home);
    expect(JSON.stringify((await db.query('select * from sign_in_attempts')).rows)).not.toContain('hunter2');
  });
});
