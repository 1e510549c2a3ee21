// A request that failed for a reason of ours: one line in the log, with the request id that its answer has; and where
// the database is away, an answer that says to come again. Then the outage has its line (database/outages.ts), and
// requests have none: there may be thousands.

import { databaseFailureIn } from '../database/failures.ts';
import type { Log } from '../log.ts';
import { requestOf } from './request.ts';

interface FailedRequest {
  path: string;
  method: string;
  state: object;
}

/** Seconds, for Retry-After (RFC 9110 §10.2.3). */
export const retryAfter = '5';

export function logFailedRequest(log: Log, { path, method, state }: FailedRequest, error: unknown): void {
  const away = databaseFailureIn(error);
  const request = { path, method, requestId: requestOf({ state }).requestId };
  if (away) log.debug('request.failed', { ...request, code: away.code });
  else log.error('request.failed', { ...request, error });
}

/** What a program is told while the database is away: the word of RFC 6749 §4.1.2.1, which tells from a fault of ours. */
export const comeAgain = {
  error: 'temporarily_unavailable' as const,
  error_description: 'this cannot be answered at the moment; try again in a few seconds',
};

/** What a program is told where the fault is ours. */
export const failure = {
  error: 'server_error' as const,
  error_description: 'something went wrong on our side; try again',
};

interface Answer {
  status: number;
  set(name: string, value: string): void;
}

/** Sets status and Retry-After where `error` says that the database is away, and says whether it does. */
export function isComeAgain(ctx: Answer, error: unknown): boolean {
  if (!databaseFailureIn(error)) return false;
  ctx.status = 503;
  ctx.set('Retry-After', retryAfter);
  return true;
}
