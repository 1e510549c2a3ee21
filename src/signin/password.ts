// Passwords: what is acceptable, how one is hashed, and the check that takes the same time whoever is asked for.
// bcrypt reads 72 bytes and silently ignores the rest, so more is refused.

import { randomBytes } from 'node:crypto';
import bcrypt from 'bcrypt';
import { AppError } from '../errors.ts';
import { createPasswordQueue, type QueueLimits, type QueueOrigin } from './password-queue.ts';

export interface Passwords {
  /** Why nobody may choose this password, as a sentence for that person. */
  problemWith(password: string): string | undefined;
  /** @throws {AppError} password_unacceptable (400) | busy (503) */
  hash(password: string, origin?: QueueOrigin): Promise<string>;
  /**
   * Whether `password` belongs to `passwordHash`. Undefined (nobody by that name, or no password) costs the same time
   * and is false. `rehashed` is there when the hash was of another cost and is to be replaced.
   * @param origin who asks, and so whose turn it is; by default somebody at our own machine
   * @throws {AppError} busy (503): more checks are waiting than would be answered in time
   */
  check(
    password: string,
    passwordHash: string | undefined,
    origin?: QueueOrigin,
  ): Promise<{ ok: boolean; rehashed?: string }>;
}

const maxBytes = 72;
// bcrypt works in libuv's thread pool, where signatures are made too: two at a time leave them as many threads as there
// are cores (cli/thread-pool.ts). Of several workers each has its share: together they look at as many, or one each.
const atOnce = 2;
const defaultQueueLimits: QueueLimits = { proved: 50, others: 100 };
const nobodyElse: QueueOrigin = { isProved: true, from: ['here'] };

interface PasswordsOptions {
  cost: number;
  minLength: number;
  /** How many may wait for bcrypt. */
  queueLimits?: QueueLimits | undefined;
  /** How many processes serve together, and share these numbers. Default 1. */
  workers?: number | undefined;
}

export function createPasswords(options: PasswordsOptions): Passwords {
  const { cost, minLength, queueLimits = defaultQueueLimits, workers = 1 } = options;
  const shareOf = (limit: number) => Math.max(1, Math.floor(limit / workers));
  const queued = createPasswordQueue(shareOf(atOnce), {
    proved: shareOf(queueLimits.proved),
    others: shareOf(queueLimits.others),
  });

  function problemWith(password: string): string | undefined {
    if ([...password].length < minLength) return `A password needs at least ${minLength} characters.`;
    // A field of a page has one line: what stands in a second one, or cannot be typed, would lock its person out.
    if (/\p{Cc}/u.test(password)) return 'A password is one line, without tabs or other control characters.';
    if (tooLong(password)) return `A password may have at most ${maxBytes} bytes.`;
    return undefined;
  }

  // After a comparison of cost `done` (0: none at all), the rest of what one of the configured cost takes. A step of
  // cost doubles the work, and 2^done + (2^done + 2^(done + 1) + … + 2^(cost - 1)) = 2^cost.
  async function spend(candidate: string, done: number): Promise<void> {
    if (done === 0) await bcrypt.hash(candidate, cost);
    else for (let step = done; step < cost; step += 1) await bcrypt.hash(candidate, step);
  }

  return {
    problemWith,

    async hash(password, origin = nobodyElse) {
      const problem = problemWith(password);
      if (problem) throw new AppError('password_unacceptable', 400, problem);
      return queued(() => bcrypt.hash(normal(password), cost), origin);
    },

    async check(password, passwordHash, origin = nobodyElse) {
      // Cut, so that it too takes the time of one comparison; it was refused when it was set, so it cannot be right.
      const candidate = tooLong(password) ? password.slice(0, maxBytes / 4) : normal(password);
      return queued(async () => {
        const same = passwordHash !== undefined && (await bcrypt.compare(candidate, passwordHash));
        const rounds = passwordHash === undefined ? 0 : bcrypt.getRounds(passwordHash);
        if (!same || tooLong(password)) {
          await spend(candidate, rounds);
          return { ok: false };
        }
        return rounds === cost ? { ok: true } : { ok: true, rehashed: await bcrypt.hash(candidate, cost) };
      }, origin);
    },
  };
}

/** A password for one use, easy to copy and to read out: 100 bits in five groups. */
export function oneTimePassword(): string {
  const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789'; // Without what is mistaken for something else: i, l, o, 0, 1.
  const letters = Array.from(randomBytes(64))
    .filter((byte) => byte < 248)
    .map((byte) => alphabet.charAt(byte % 31));
  return Array.from({ length: 5 }, (_, group) => letters.slice(group * 4, group * 4 + 4).join('')).join('-');
}

// One é from every keyboard: what looks the same is the same password (NIST SP 800-63B §5.1.1.2).
const normal = (password: string) => password.normalize('NFKC');

const tooLong = (password: string) => Buffer.byteLength(normal(password)) > maxBytes;
