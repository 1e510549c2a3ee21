// What a supervisor and its workers say to one another, over the channel that node:cluster opens between them. Messages
// are cloned, so an error travels as its facts.

import type { Config } from '../config/config.ts';
import type { ErrorCode } from '../error-codes.ts';
import { AppError } from '../errors.ts';
import type { Metric } from '../metrics/exposition.ts';
import type { RunningServer } from '../server.ts';

export type ToWorker =
  /** The first one. All workers have one configuration, also those that are started when a file has changed since. */
  { start: Config; worker: number; workers: number } | { figures: number } | { stop: true };

export type FromWorker =
  /** It is there, and hears what is said to it. */
  | { hello: true }
  | { serving: Pick<RunningServer, 'url' | 'firstAdministrator'> }
  | { failed: ErrorFacts }
  | { figures: Metric[]; asked: number };

interface ErrorFacts {
  isApp: boolean;
  code: string | undefined;
  message: string;
  status?: number;
  hint?: string | undefined;
}

export function factsOf(error: unknown): ErrorFacts {
  if (error instanceof AppError) {
    const { code, status, message, hint } = error;
    return { isApp: true, code, status, message, hint };
  }
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) };
  return { isApp: false, code, message };
}

export function errorOf({ isApp, code, status = 500, message, hint }: ErrorFacts): Error {
  if (!isApp) return Object.assign(new Error(message), { code });
  return new AppError(code as ErrorCode, status, message, hint === undefined ? {} : { hint });
}
