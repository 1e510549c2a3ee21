// Who gets the next look at a password, with a simulated clock: attackers of 1 to 10,000 addresses who know the rules and
// come whenever it pays, and a person who comes once with the right password and then as the page says. What SECURITY.md
// states in numbers is held against every one of them.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { createLoginThrottle } from '../../src/signin/login-throttle.ts';
import { addressPrefixes } from '../../src/web/address.ts';
import { sqlite } from '../support/engines.ts';

let db: Database;
beforeAll(async () => {
  db = await openSqlite((await sqlite.freshUrl()).slice('sqlite:'.length), { sync: async () => {} });
  await migrate(db);
});
afterAll(() => db.close());

interface Attack {
  addresses: number;
  perSecond: number;
  seconds: number;
  /** The attacker's address of this number. */
  address(index: number): string;
  /** Comes back when told to, so that no reservation is lost; or takes one address after the other, whatever it was told. */
  isPatient: boolean;
}

const kinds = {
  'IPv4, all over the world': (index: number) =>
    `${1 + (index % 220)}.${(index * 7) % 256}.${index % 251}.${index % 253}`,
  'IPv4, one next to the other': (index: number) => `10.0.${index >> 8}.${index & 255}`,
  'IPv6, within one /64': (index: number) => `2001:db8:1:1::${(index + 1).toString(16)}`,
  'IPv6, within one /48': (index: number) => `2001:db8:1:${(index + 1).toString(16)}::1`,
  'IPv6, many /48s': (index: number) => `2001:db8:${(index + 1).toString(16)}::1`,
  'IPv6, many /32s': (index: number) => `2a00:${(index + 1).toString(16)}::1`,
};

let attacks = 0;

/** What the attacker had looked at, and how long a person waited who came after `personAt` seconds. */
async function simulate(attack: Attack, { personAt, from }: { personAt: number; from: string }) {
  const start = 1_800_000_000_000;
  let now = start;
  const throttle = createLoginThrottle(db, () => now);
  const account = `person-${(attacks += 1)}@example.com`;
  const ask = async (address: string, isRight: boolean) =>
    (await throttle.attempt({ emailKey: account, ...addressPrefixes(address) }, async () => ({ isRight }))).waitSeconds;

  const mayComeAt = new Map<number, number>();
  const lookedAt = new Map<string, number>();
  let next = 0;
  let looks = 0;
  let waited: number | undefined;
  let personComesAt = start + personAt * 1000;

  /** The address that asks next: a patient attacker's are asked when their time has come, the fresh ones in between. */
  function chooses(): number | undefined {
    for (let tries = 0; tries < attack.addresses; tries += 1) {
      const index = next;
      next = (next + 1) % attack.addresses;
      if (!attack.isPatient || (mayComeAt.get(index) ?? 0) <= now) return index;
      if (tries > 2_000) return undefined;
    }
    return undefined;
  }

  for (let second = 0; second < attack.seconds; second += 1) {
    now = start + second * 1000;
    for (let request = 0; request < attack.perSecond; request += 1) {
      const index = chooses();
      if (index === undefined) break;
      const wait = await ask(attack.address(index), false);
      mayComeAt.set(index, now + wait * 1000);
      if (wait > 0) continue;
      looks += 1;
      const { address } = addressPrefixes(attack.address(index));
      lookedAt.set(address, (lookedAt.get(address) ?? 0) + 1);
    }
    // Last in every second: whoever asks first and oftenest is the attacker.
    if (waited === undefined && now >= personComesAt) {
      const wait = await ask(from, true);
      if (wait === 0) waited = second - personAt;
      else personComesAt = now + wait * 1000;
    }
  }
  return { looks, waited, mostOfOne: Math.max(...lookedAt.values()) };
}

/** SECURITY.md: 20 at once and 360 an hour, and what is reserved. Of `groups` each has at most `each` reserved a day. */
const allowed = (seconds: number, groups: number, each = 3) => 20 + seconds / 10 + groups * each;
/** For one address: 5 at once, then waits of 1, 2, 4 … 900 seconds. */
const ofOneAddress = (seconds: number) => 5 + Math.ceil(Math.log2(seconds + 1)) + Math.floor(seconds / 900);

const few = [
  [200, 2, 150],
  [10_000, 30, 32],
];
const many = [
  [1, 1, 3_600],
  [20, 1, 3_600],
  [20, 20, 60],
  [200, 2, 150],
  [200, 20, 60],
  [6_400, 200, 32],
];

describe.each(Object.entries(kinds))('%s', (kind, address) => {
  const attacksOfKind = address === kinds['IPv4, all over the world'] ? many : few;
  test.each(attacksOfKind)(
    '%i addresses, %i requests a second',
    async (addresses, perSecond, seconds) => {
      for (const isPatient of addresses === 20 ? [true, false] : [true]) {
        const attack = { addresses, perSecond, seconds, address, isPatient };
        const { looks, waited, mostOfOne } = await simulate(attack, {
          personAt: Math.floor(seconds / 3),
          from: '198.51.100.7',
        });
        expect(waited).toBeLessThanOrEqual(20);
        expect(mostOfOne).toBeLessThanOrEqual(ofOneAddress(seconds));
        const [groups, each] = {
          'IPv6, within one /64': [1, 3],
          'IPv6, within one /48': [1, 30],
          'IPv6, many /48s': [1, 768],
          'IPv4, one next to the other': [1, 768],
        }[kind] ?? [addresses, 3];
        const reserved = Math.min(groups! * each!, addresses * 3);
        expect(looks).toBeLessThanOrEqual(allowed(seconds, 1, reserved));
      }
    },
    60_000,
  );
});

test('the person comes from the attacker’s own /24, or their provider’s /48s: two hundred of them hold nobody up', async () => {
  const four = {
    addresses: 200,
    perSecond: 5,
    seconds: 110,
    isPatient: true,
    address: (index: number) => `203.0.113.${index}`,
  };
  expect((await simulate(four, { personAt: 80, from: '203.0.113.250' })).waited).toBeLessThanOrEqual(20);
  const six = { ...four, address: kinds['IPv6, many /48s'] };
  expect((await simulate(six, { personAt: 80, from: '2001:db8:ffff::1' })).waited).toBeLessThanOrEqual(20);
});

test(
  'whenever the person comes, and however the attacker asks',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 0, max: 60 }),
        fc.boolean(),
        fc.constantFrom(...Object.values(kinds)),
        async (addresses, perSecond, personAt, isPatient, address) => {
          const seconds = personAt + 30;
          const attack = { addresses, perSecond, seconds, address, isPatient };
          const { looks, waited } = await simulate(attack, { personAt, from: '198.51.100.7' });
          expect(waited).toBeLessThanOrEqual(20);
          expect(looks).toBeLessThanOrEqual(allowed(seconds, addresses));
        },
      ),
      { numRuns: 12 },
    ),
  60_000,
);
