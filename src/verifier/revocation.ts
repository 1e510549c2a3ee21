// Whether a genuine token is still good: by nothing, by the issuer's status lists, or by these and a Redis. Decides
// what holds when the answer cannot be had.

import type { Reading } from './claims.ts';
import type { DenylistReader } from './denylist.ts';
import { VerificationError } from './errors.ts';
import type { StatusListCache } from './status-list-cache.ts';

export interface Revocation {
  /**
   * Returns where the token is good; a promise where somebody has to be asked.
   * @throws {VerificationError} `revoked`, `revocation_unavailable`, `invalid_claims`
   */
  check(reading: Reading): void | Promise<void>;
  close(): void;
}

interface ByListOptions {
  lists: StatusListCache;
  /** Whether a token that names no status list is refused. */
  isStatusRequired: boolean;
}

export const noRevocation: Revocation = { check() {}, close() {} };

/** By the status lists alone: where the list is here, a bit test. */
export function byStatusList({ lists, isStatusRequired }: ByListOptions): Revocation {
  return {
    check({ status }) {
      if (status === undefined) return isStatusRequired ? refuseWithoutStatus() : undefined;
      const isSet = lists.isSet(status);
      return isSet instanceof Promise ? isSet.then(refuseIf) : refuseIf(isSet);
    },
    close: () => lists.close(),
  };
}

/**
 * By a Redis, at once, and by the status lists. Either may refuse; one of the two has to answer. So a Redis that is
 * away costs the immediacy and nothing else, and a token without a list that Redis cannot answer for is not accepted.
 */
export function byRedis({
  denylist,
  lists,
  isStatusRequired,
}: ByListOptions & { denylist: DenylistReader }): Revocation {
  return {
    async check({ token, status }) {
      if (status === undefined && isStatusRequired) refuseWithoutStatus();
      const byList = async () => (status === undefined ? undefined : lists.isSet(status));
      const [list, redis] = await Promise.allSettled([byList(), denylist.has(token)]);
      if (list.status === 'rejected' && !isUnavailable(list.reason)) throw list.reason;
      refuseIf(list.status === 'fulfilled' && list.value === true);
      refuseIf(redis.status === 'fulfilled' && redis.value);
      if (redis.status === 'fulfilled' || (list.status === 'fulfilled' && list.value === false)) return;
      throw unavailable(redis.reason);
    },
    close: () => lists.close(),
  };
}

function refuseIf(isRevoked: boolean): void {
  if (isRevoked) throw new VerificationError('revoked', 'the token has been revoked');
}

function refuseWithoutStatus(): never {
  throw new VerificationError('invalid_claims', 'the token names no status list');
}

function isUnavailable(error: unknown): boolean {
  return error instanceof VerificationError && error.code === 'revocation_unavailable';
}

function unavailable(cause: unknown): VerificationError {
  const message = 'whether the token was revoked cannot be told at the moment';
  return new VerificationError('revocation_unavailable', message, { cause, retryAfterSeconds: 1 });
}
