// The login throttle: who gets the next look at a password. Guessing is made slow; locking out by guessing is not made easy.
// SECURITY.md states what this promises, in numbers; test/signin/guessing-simulation.test.ts holds it.
//
// An attempt passes counters of three kinds, and is looked at if all let it:
//   its own      of the sender at this account: nobody else can shut them. A few mistakes are free, then the wait doubles
//   its network  an address, or an IPv6 /48, at all accounts: so many failures, then some a minute
//   shared       an account, guessed at from everywhere: so many failures, then some a minute
// Whoever asks oftenest would win every token of what is shared. So nobody has to: who finds it empty is given a
// reservation, "come back in 20 seconds", and then looked at whatever the others do. Reservations are few for each
// address and network, one at a time, and used up by being made: an attacker's are spent, a newcomer's are not.
//   In a browser in which the person signed in before (device.ts), only its own counter counts.
//   At an address from which they did, the account is not shared, the address is.

import type { Database } from '../database/database.ts';
import { createChecksElsewhere, lookAgainMs } from './checks-elsewhere.ts';
import {
  type Backoff,
  createLoginCounters,
  type Gate,
  type Kept,
  keyOf,
  opensAt,
  type TokenBucket,
} from './login-counters.ts';
import { createPendingChecks, type PendingOfAttempt } from './pending-checks.ts';

export interface LoginThrottle {
  /**
   * Checks a password when it is its sender's turn, and counts what came of it. Nothing is counted where `check` throws.
   */
  attempt<T extends Checked>(sender: Sender, check: () => Promise<T>): Promise<Turn<T>>;
  sweepExpired(now: number, limit: number): Promise<number>;
}

interface Sender {
  emailKey: string;
  /** See addressPrefixes (web/address.ts). */
  address: string;
  network?: string | undefined;
  block: string;
  /** The browser, where the person of the account signed in in it before. */
  device?: string | undefined;
}

interface Checked {
  /** Whether the person may sign in with it. */
  isRight: boolean;
}

type Turn<T> =
  | { waitSeconds: 0; checked: T }
  /** It was not looked at: seconds until it may be. */
  | { waitSeconds: number; checked?: undefined };

const [hour, day] = [3_600, 86_400];

const pair: Backoff = { kind: 'pair', free: 4, longest: 900 };
const ownPair: Backoff = { ...pair, longest: 60 };
const device: Backoff = { kind: 'device', free: 4, longest: 900 };
const account: TokenBucket = { kind: 'account', size: 20, everySeconds: 10 };
// An office of sixty shares an address, and mistakes are made on Monday mornings.
const address: TokenBucket = { kind: 'address', size: 100, everySeconds: 60 };
const network: TokenBucket = { kind: 'network', size: 200, everySeconds: 30 };

/** Made by a sender who finds the account's bucket empty. */
const reservations = { waitSeconds: 20, ofAddress: 3, ofNetwork: 30, ofBlock: 768 };
/** The same for a person at an address of theirs, where it is the address's that is empty. */
const ownReservations = { waitSeconds: 45, ofAddress: 2 };
/** How long a reservation is good for once its time has come. */
const redeemableMs = 120_000;
const ownAddressMs = 90 * day * 1000;
/** Outcomes of others that an attempt waits for before it is turned away. */
const mostOutcomes = 64;

/** What an attempt has to pass. */
interface Path {
  /** Of the sender: shut, there is nothing to be done but wait. The first is what success clears. */
  own: [Gate, ...Gate[]];
  /** Of many: shut, a reservation does. */
  shared: Gate[];
  reservation?: { key: string; waitSeconds: number; allowances: Gate[] };
}

/** One that lets nobody pass until then: epoch milliseconds. */
interface ShutGate {
  key: string;
  until: number;
}

type Admission =
  | { isAdmitted: true; taken: Gate[]; redeemed?: string }
  | { isAdmitted: false; key: string; waitSeconds: number; nextOutcome: NextOutcome };

/** Of others who are being checked, and whose outcome may open the way: resolves when it is worth asking again. */
type NextOutcome = Promise<void> | undefined;

export function createLoginThrottle(db: Database, now: () => number = Date.now): LoginThrottle {
  const counters = createLoginCounters(db, now);
  const pending = createPendingChecks();
  const elsewhere = createChecksElsewhere(counters.read, now);
  const secondsUntil = (moment: number) => Math.max(1, Math.ceil((moment - now()) / 1000));

  function pathOf(sender: Sender, isOwnAddress: boolean): Path {
    const { emailKey: email, address: from } = sender;
    if (sender.device !== undefined) return { own: [gateOf(device, email, sender.device)], shared: [] };
    const networks = [
      gateOf(address, from),
      ...(sender.network === undefined ? [] : [gateOf(network, sender.network)]),
    ];
    const key = keyOf('reserved', email, from);
    if (isOwnAddress) {
      return {
        own: [gateOf(ownPair, email, from)],
        shared: networks,
        reservation: {
          ...ownReservations,
          key,
          allowances: [gateOf(perDay('own-reservations', ownReservations.ofAddress), email, from)],
        },
      };
    }
    return {
      own: [gateOf(pair, email, from), ...networks],
      shared: [gateOf(account, email)],
      reservation: {
        ...reservations,
        key,
        allowances: [
          gateOf(perDay('reservations', reservations.ofAddress), email, from),
          ...(sender.network === undefined
            ? []
            : [gateOf(perDay('network-reservations', reservations.ofNetwork), email, sender.network)]),
          gateOf(perDay('block-reservations', reservations.ofBlock), email, sender.block),
        ],
      },
    };
  }

  /** The gate that is known to be shut, without counting anything: a flood of refusals writes nothing. */
  function shutAlready({ own, shared, reservation }: Path, kept: ReadonlyMap<string, Kept>): ShutGate | undefined {
    const opens = ({ counter, key }: Gate) => opensAt(counter, kept.get(key)?.at ?? 0);
    const isShut = (gate: Gate) => opens(gate) > now();
    const shutOwn = own.find(isShut);
    if (shutOwn) return { key: shutOwn.key, until: opens(shutOwn) };
    const reserved = reservation && kept.get(reservation.key);
    if (!reserved || reserved.expiresAt <= now() || reserved.at <= now()) return undefined;
    const shutShared = shared.find(isShut);
    return shutShared && { key: shutShared.key, until: reserved.at };
  }

  async function giveBack(gates: readonly Gate[], mine: PendingOfAttempt): Promise<void> {
    await counters.giveBack(gates);
    for (const { key } of gates) mine.end(key, true);
  }

  /** One of each, or of none. What is taken is pending until it is given back or ended. */
  async function takeAll(gates: readonly Gate[], mine: PendingOfAttempt): Promise<{ taken: Gate[]; shut?: ShutGate }> {
    const taken: Gate[] = [];
    for (const gate of gates) {
      mine.begin(gate.key);
      const at = now();
      const until = await counters.take(gate);
      if (until !== undefined) {
        mine.end(gate.key, false);
        await giveBack(taken, mine);
        return { taken: [], shut: { key: gate.key, until } };
      }
      elsewhere.noteCounted(gate.key, at);
      taken.push(gate);
    }
    return { taken };
  }

  async function admit(
    path: Path,
    kept: ReadonlyMap<string, Kept>,
    mine: PendingOfAttempt,
    nextOutcome: (key: string) => NextOutcome,
  ): Promise<Admission> {
    const { own, shared, reservation } = path;
    const closed = shutAlready(path, kept);
    if (closed) return refused(closed, nextOutcome);
    const ofOwn = await takeAll(own, mine);
    if (ofOwn.shut) return refused(ofOwn.shut, nextOutcome);
    const ofShared = await takeAll(shared, mine);
    if (!ofShared.shut) return { isAdmitted: true, taken: [...ofOwn.taken, ...ofShared.taken] };
    if (reservation && (await counters.redeem(reservation.key))) {
      return { isAdmitted: true, taken: ofOwn.taken, redeemed: reservation.key };
    }

    const { until } = ofShared.shut;
    const answer = refused(ofShared.shut, nextOutcome);
    const from = answer.nextOutcome || !reservation ? undefined : await reserve(reservation, kept, mine);
    if (answer.nextOutcome || from !== undefined) {
      await giveBack(ofOwn.taken, mine);
      return { ...answer, waitSeconds: secondsUntil(from ?? until) };
    }
    // Nothing is reserved for whoever had their share of it. What was refused counts as their own failure then, and so
    // doubles their own wait: who asks oftenest soon asks seldom.
    const [first, ...others] = own;
    mine.end(first.key, false);
    await giveBack(others, mine);
    const ownWait = (await counters.read([first.key])).get(first.key)?.at ?? 0;
    return { ...answer, waitSeconds: secondsUntil(Math.max(until, ownWait)) };
  }

  function refused({ key, until }: ShutGate, nextOutcome: (key: string) => NextOutcome) {
    return { isAdmitted: false, key, waitSeconds: secondsUntil(until), nextOutcome: nextOutcome(key) } as const;
  }

  /** From when on it may be used; undefined where there is none to be had. */
  async function reserve(
    { key, waitSeconds, allowances }: NonNullable<Path['reservation']>,
    kept: ReadonlyMap<string, Kept>,
    mine: PendingOfAttempt,
  ): Promise<number | undefined> {
    const reserved = kept.get(key);
    if (reserved && reserved.expiresAt > now() && reserved.at > now()) return reserved.at;
    const { taken, shut } = await takeAll(allowances, mine);
    if (shut) return undefined;
    const from = now() + waitSeconds * 1000;
    if (await counters.reserve(key, from, from + redeemableMs)) {
      for (const gate of taken) mine.end(gate.key, false);
      return from;
    }
    // Another request of the same sender was quicker, and this one has the same.
    await giveBack(taken, mine);
    return (await counters.read([key])).get(key)?.at ?? from;
  }

  async function enter(sender: Sender, mine: PendingOfAttempt): Promise<Admission & { path: Path }> {
    const mark = keyOf('own', sender.emailKey, sender.address);
    const [ofOwnAddress, ofStrange] = [pathOf(sender, true), pathOf(sender, false)];
    const gates = [ofOwnAddress, ofStrange].flatMap(({ own, shared }) => [...own, ...shared]).map(({ key }) => key);
    const keys = [...new Set([mark, ...gates, keyOf('reserved', sender.emailKey, sender.address)])];
    const mayBeLetGo = elsewhere.ofAttempt();
    for (let asked = 0; ; asked += 1) {
      const watch = pending.watch(gates);
      try {
        const kept = await counters.read(keys);
        const path = (kept.get(mark)?.expiresAt ?? 0) > now() ? ofOwnAddress : ofStrange;
        const admission = await admit(path, kept, mine, (key) =>
          asked < mostOutcomes ? watch.nextOutcome(key) : undefined,
        );
        if (admission.isAdmitted) return { ...admission, path };
        const { key, nextOutcome } = admission;
        const isElsewhere = !nextOutcome && key === path.own[0].key && (await mayBeLetGo(key));
        const next = isElsewhere ? watch.nextLook(key, lookAgainMs) : nextOutcome;
        if (!next) return { ...admission, path };
        await next;
      } finally {
        watch.close();
      }
    }
  }

  return {
    async attempt(sender, check) {
      const mine = pending.ofAttempt();
      try {
        const admission = await enter(sender, mine);
        if (!admission.isAdmitted) return { waitSeconds: admission.waitSeconds };
        const {
          taken,
          redeemed,
          path: {
            own: [cleared],
          },
        } = admission;
        const checked = await check().catch(async (error: unknown) => {
          // Not looked at after all, and so no failure, and a reservation is as good as it was.
          await giveBack(taken, mine);
          if (redeemed !== undefined) await counters.reserve(redeemed, now(), now() + redeemableMs);
          throw error;
        });
        if (checked.isRight) {
          // Their own success is what people are free of: it holds up nobody behind the same address.
          await counters.giveBack(taken.filter(({ key }) => key !== cleared.key));
          await counters.clear(cleared.key);
          await counters.mark(keyOf('own', sender.emailKey, sender.address), ownAddressMs);
          mine.endAll(true);
        }
        return { waitSeconds: 0, checked };
      } finally {
        mine.endAll(false);
      }
    },
    sweepExpired: counters.sweepExpired,
  };
}

const gateOf = <C extends Gate['counter']>(counter: C, ...names: string[]): Gate => ({
  counter,
  key: keyOf(counter.kind, ...names),
});

const perDay = (kind: string, size: number): TokenBucket => ({
  kind,
  size,
  everySeconds: Math.ceil((24 * hour) / size),
});
