// The one error class that crosses module borders. Callers branch on `code`; `message` is for a person and may
// change in any release. Protocol failures (RFC 6749 §5.2) are oidc-provider's own classes, not this one.

import type { ErrorCode } from './error-codes.ts';

export class AppError extends Error {
  override readonly name = 'AppError';
  /** Stable, snake_case: what callers and scripts branch on. */
  readonly code: ErrorCode;
  /** HTTP status to answer with. */
  readonly status: number;
  /** The next step to take, for the command line and the admin API. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, status: number, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.status = status;
    this.hint = options.hint;
  }
}

/** Whether `error` is an AppError, optionally one with this code. */
export function isAppError(error: unknown, code?: ErrorCode): error is AppError {
  return error instanceof AppError && (code === undefined || error.code === code);
}
