// Throttles client authentication (RFC 6749 §2.3.1, §10.10): slows whoever sends wrong client secrets, for each client
// and address prefix. A few are free; then one after the other is looked at, twenty a second, and where more
// than that come at once the others are not looked at. The right secret is let through: it waits for its turn like any,
// and from an address from which it came before it does not even wait. So nobody is locked out by the mistakes of others,
// and an application that was deployed with a wrong secret works with the right one at once.
//
// In memory, of this process alone: a right secret costs one look into a map and no query. Several replicas each count
// for themselves, and so do several workers of one server, which share the twenty a second. A secret that we made has 256 bits and cannot be guessed at any pace; one declared in signet.yaml may
// be weaker.

import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import { addressPrefixes } from './address.ts';

export interface SecretThrottle {
  /**
   * What `isRight` says, once it may be asked.
   * @param clientId undefined where no such application is known: then there is nothing to ask
   * @throws {AppError} too_many_wrong_secrets (429): it was not looked at, or it was wrong once more
   */
  check(clientId: string | undefined, address: string, isRight: () => boolean): Promise<boolean>;
  /** Whether the right secret of this client came from there before: then it may be asked for without waiting. */
  knows(clientId: string, address: string): boolean;
}

interface Sender {
  /** When all wrong ones are forgotten: epoch milliseconds. */
  wrongUntil: number;
  /** When the next may be looked at. */
  nextAt: number;
  wasRight: boolean;
}

/** Seconds after which whoever was turned away may try again: `Retry-After`. */
export const retryAfterSeconds = 1;

const freeWrong = 10;
const forgetEachMs = 6_000;
const betweenLooksOfAllMs = 50;
const mostInLine = 4;
const mostSenders = 10_000;

export function createSecretThrottle({
  now = Date.now,
  wait = delay,
  workers = 1,
}: {
  now?: () => number;
  wait?: (ms: number) => Promise<unknown>;
  /** How many processes serve together. */
  workers?: number;
} = {}): SecretThrottle {
  const betweenLooksMs = workers * betweenLooksOfAllMs;
  // The one that was last seen longest ago is forgotten first: whoever has many addresses fills no memory.
  const senders = new Map<string, Sender>();

  function remember(key: string, sender: Sender): void {
    senders.delete(key);
    senders.set(key, sender);
    const [oldest] = senders.keys();
    if (senders.size > mostSenders && oldest !== undefined) senders.delete(oldest);
  }

  async function itsTurn(sender: Sender): Promise<void> {
    const turn = Math.max(now(), sender.nextAt);
    if (turn - now() >= mostInLine * betweenLooksMs) throw tooMany();
    sender.nextAt = turn + betweenLooksMs;
    if (turn > now()) await wait(turn - now());
  }

  const keyOf = (clientId: string | undefined, from: string) => {
    const { network, address } = addressPrefixes(from);
    return `${clientId ?? ''} ${network ?? address}`;
  };

  return {
    knows: (clientId, address) => senders.get(keyOf(clientId, address))?.wasRight === true,

    async check(clientId, address, isRight) {
      const key = keyOf(clientId, address);
      const known = senders.get(key);
      if (known?.wasRight && isRight()) return true;
      const sender = known ?? { wrongUntil: 0, nextAt: 0, wasRight: false };
      const isOverAllowance = sender.wrongUntil > now() + freeWrong * forgetEachMs;
      if (isOverAllowance) await itsTurn(sender);
      if (isRight()) {
        sender.wasRight = true;
        remember(key, sender);
        return true;
      }
      // It never takes longer than a minute after the last one to have some free again.
      sender.wrongUntil = Math.min(
        Math.max(sender.wrongUntil, now()) + forgetEachMs,
        now() + (freeWrong + 10) * forgetEachMs,
      );
      remember(key, sender);
      if (isOverAllowance) throw tooMany();
      return false;
    },
  };
}

function tooMany(): AppError {
  return new AppError(
    'too_many_wrong_secrets',
    429,
    'too many wrong client secrets came from this address; correct the secret and try again',
  );
}
