// Guessing passwords is made slow; locking somebody out by guessing is not made easy. Owns the table sign_in_attempts.
//
// Counters, each with its own allowance and longest wait:
//   account and address together   the ordinary guesser: soon minutes
//   the account alone              many addresses, one victim: seconds at most, so that the victim is never shut out
//   the address alone              one address, many accounts: up to a minute (an office shares its address)
//   its network                    many addresses of one neighbour: likewise
//   account and browser together   in place of all others, where the person signed in in it before (device.ts)
// In a browser of their own, people are held up by nobody else. In another one, at an address from which they signed in
// before, by nobody elsewhere, and by whoever shares that address for a minute at most.
//
// An attempt is counted before the password is looked at, in the statement that also checks the wait: a thousand
// parallel guesses find one counter, not a thousand free ones. What turns out to be no failure is taken back.

import { hash } from 'node:crypto';
import type { Database } from '../database/database.ts';

export interface Attempts {
  /** Counts an attempt, unless it comes too early. */
  begin(who: Attempter): Promise<Attempt>;
  sweepExpired(now: number, limit: number): Promise<number>;
}

interface Attempter {
  emailKey: string;
  /** See addressPrefixes (web/guard.ts). */
  address: string;
  network?: string | undefined;
  /** The browser, where the person of the account signed in in it before. */
  device?: string | undefined;
}

interface Attempt {
  /** Seconds to wait: above 0, the password is not to be looked at. */
  waitSeconds: number;
  /** Forgets the failures of this account at this address, and remembers the address as the person's own. */
  succeeded(): Promise<void>;
  /** The password was not looked at after all: that was no failure. */
  takeBack(): Promise<void>;
}

interface Counter {
  kind: 'pair' | 'account' | 'address' | 'network' | 'device';
  /** Failures without any wait. */
  free: number;
  /** Seconds that the wait never exceeds. */
  longest: number;
}

const pair: Counter = { kind: 'pair', free: 4, longest: 900 };
const ownPair: Counter = { ...pair, longest: 60 };
const device: Counter = { kind: 'device', free: 4, longest: 900 };
const account: Counter = { kind: 'account', free: 20, longest: 5 };
const address: Counter = { kind: 'address', free: 50, longest: 60 };
const network: Counter = { kind: 'network', free: 200, longest: 60 };

const dayMs = 86_400_000;
const forgetAfterMs = dayMs;
const ownAddressMs = 90 * dayMs;

export function createAttempts(db: Database, now: () => number = Date.now): Attempts {
  /** Seconds to wait: 0 when the attempt was counted. */
  async function count({ free, longest }: Counter, key: string): Promise<number> {
    const at = now();
    // The wait doubles with each failure beyond the free ones: 1 s, 2 s, 4 s … `longest`.
    const { rowCount } = await db.query(
      `insert into sign_in_attempts (key, failures, blocked_until, expires_at)
       values ($1, 1, 0, cast($2 as bigint) + cast($3 as bigint))
       on conflict (key) do update set
         failures = sign_in_attempts.failures + 1,
         expires_at = excluded.expires_at,
         blocked_until = case
           when sign_in_attempts.failures + 1 <= $4 then 0
           when sign_in_attempts.failures + 1 - $4 > 12 then cast($2 as bigint) + cast($5 as bigint)
           when (1 << cast(sign_in_attempts.failures - $4 as integer)) * 1000 > $5
             then cast($2 as bigint) + cast($5 as bigint)
           else cast($2 as bigint) + (1 << cast(sign_in_attempts.failures - $4 as integer)) * 1000
         end
       where sign_in_attempts.blocked_until <= $2`,
      [key, at, forgetAfterMs, free, longest * 1000]);
    if (rowCount === 1) return 0;
    const { rows: [row] } = await db.query<{ blocked_until: number }>(
      'select blocked_until from sign_in_attempts where key = $1', [key]);
    return Math.max(1, Math.ceil(((row?.blocked_until ?? at) - at) / 1000));
  }

  /** A person who is right, or is not looked at, must not hold up the rest of the office. */
  async function takeBack(counted: string[]): Promise<void> {
    for (const key of counted) {
      await db.query(
        `update sign_in_attempts set failures = failures - 1, blocked_until = 0
         where key = $1 and failures > 0`, [key]);
    }
  }

  async function isOwnAddress(key: string): Promise<boolean> {
    const { rowCount } = await db.query(
      'select 1 as known from sign_in_attempts where key = $1 and expires_at > $2', [key, now()]);
    return rowCount > 0;
  }

  /** The counters of an attempt; the first is what its success clears. */
  async function countersOf(who: Attempter, own: string): Promise<Array<[Counter, string]>> {
    const both = keyOf(pair.kind, `${who.emailKey} ${who.address}`);
    if (who.device !== undefined) return [[device, keyOf(device.kind, `${who.emailKey} ${who.device}`)]];
    if (await isOwnAddress(own)) return [[ownPair, both]];
    return [
      [pair, both], [address, keyOf(address.kind, who.address)],
      ...(who.network === undefined ? [] : [[network, keyOf(network.kind, who.network)] as [Counter, string]]),
      [account, keyOf(account.kind, who.emailKey)],
    ];
  }

  return {
    async begin(who) {
      const own = keyOf('own', `${who.emailKey} ${who.address}`);
      const counters = await countersOf(who, own);
      const counted: string[] = [];
      let waitSeconds = 0;
      for (const [counter, key] of counters) {
        waitSeconds = await count(counter, key);
        if (waitSeconds > 0) break;
        counted.push(key);
      }
      if (waitSeconds > 0) await takeBack(counted);

      return {
        waitSeconds,
        async succeeded() {
          const [cleared, ...others] = counted;
          await takeBack(others);
          await db.query('delete from sign_in_attempts where key = $1', [cleared!]);
          await db.query(
            `insert into sign_in_attempts (key, failures, blocked_until, expires_at) values ($1, 0, 0, $2)
             on conflict (key) do update set expires_at = excluded.expires_at`,
            [own, now() + ownAddressMs]);
        },
        takeBack: () => takeBack(counted),
      };
    },

    async sweepExpired(at, limit) {
      const { rowCount } = await db.query(
        `delete from sign_in_attempts where key in
           (select key from sign_in_attempts where expires_at <= $1 order by expires_at limit $2)`, [at, limit]);
      return rowCount;
    },
  };
}

// Hashed: what people mistype into the e-mail field, at times a password, must not be kept.
const keyOf = (kind: Counter['kind'] | 'own', key: string) => `${kind}:${hash('sha256', key, 'base64url')}`;
