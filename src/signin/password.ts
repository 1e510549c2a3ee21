// Passwords: what is acceptable, how one is hashed, and the check that takes the same time whoever is asked for.
// bcrypt reads 72 bytes and silently ignores the rest, so more is refused.

import { randomBytes } from 'node:crypto';
import bcrypt from 'bcrypt';
import { AppError } from '../errors.ts';

export interface Passwords {
  /** @throws {AppError} password_too_short | password_too_long */
  hash(password: string): Promise<string>;
  /**
   * Whether `password` belongs to `passwordHash`. Undefined (nobody by that name, or no password) costs the same time
   * and is false. `rehashed` is there when the hash was of another cost and is to be replaced.
   * @throws {AppError} busy: more checks are waiting than would be answered in time
   */
  check(password: string, passwordHash: string | undefined): Promise<{ ok: boolean; rehashed?: string }>;
}

const maxBytes = 72;
// bcrypt works in libuv's thread pool of four, where signatures are made too: two at a time leave them room.
const atOnce = 2;
const mostWaiting = 200;

export function createPasswords({ cost, minLength }: { cost: number; minLength: number }): Passwords {
  const inTurn = createTurns();
  // Nobody knows what this is the hash of: it is only there to be compared with. The start does not wait for it.
  const nobody = bcrypt.hash(randomBytes(24).toString('base64'), cost);

  return {
    async hash(password) {
      if ([...password].length < minLength) {
        throw new AppError('password_too_short', 400, `A password needs at least ${minLength} characters.`);
      }
      if (tooLong(password)) {
        throw new AppError('password_too_long', 400, `A password may have at most ${maxBytes} bytes.`);
      }
      return inTurn(() => bcrypt.hash(password, cost));
    },

    async check(password, passwordHash) {
      // Cut, so that it too takes the time of one comparison; it was refused when it was set, so it cannot be right.
      const candidate = tooLong(password) ? password.slice(0, maxBytes / 4) : password;
      const same = await inTurn(async () => bcrypt.compare(candidate, passwordHash ?? (await nobody)));
      if (!same || !passwordHash || tooLong(password)) return { ok: false };
      if (bcrypt.getRounds(passwordHash) === cost) return { ok: true };
      return { ok: true, rehashed: await inTurn(() => bcrypt.hash(password, cost)) };
    },
  };
}

/** A password for one use, easy to copy and to read out: 100 bits in five groups. */
export function oneTimePassword(): string {
  const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789'; // Without what is mistaken for something else: i, l, o, 0, 1.
  const letters = Array.from(randomBytes(64)).filter((byte) => byte < 248).map((byte) => alphabet[byte % 31]!);
  return Array.from({ length: 5 }, (_, group) => letters.slice(group * 4, group * 4 + 4).join('')).join('-');
}

const tooLong = (password: string) => Buffer.byteLength(password) > maxBytes;

function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: Array<() => void> = [];

  return async (work) => {
    if (running >= atOnce) {
      if (waiting.length >= mostWaiting) {
        throw new AppError('busy', 503, 'Too many people are signing in at this moment. Please try again shortly.');
      }
      await new Promise<void>((start) => waiting.push(start));
    }
    running += 1;
    try {
      return await work();
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
}
