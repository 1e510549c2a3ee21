// Structured log: an event (log-events.ts), then facts, one JSON line each. kid, client_id, sub and request id may be printed;
// tokens, codes, cookies, passwords, secrets and private keys may not. An auditor's facts are rows: audit/audit.ts.

import type { LogEvent } from './log-events.ts';

type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type Facts = Record<string, unknown>;

export interface Log {
  debug(event: LogEvent, facts?: Facts): void;
  info(event: LogEvent, facts?: Facts): void;
  warn(event: LogEvent, facts?: Facts): void;
  error(event: LogEvent, facts?: Facts): void;
}

const rank: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 };

/**
 * Writes lines at or above `level` to `write` (standard error by default: standard output belongs to commands).
 * @param always facts of every line: which of several workers it is from
 */
export function createLog(
  level: LogLevel,
  write: (line: string) => void = (line) => process.stderr.write(line),
  always: Facts = {},
): Log {
  const at =
    (lineLevel: LogLevel) =>
    (event: LogEvent, facts: Facts = {}) => {
      if (rank[lineLevel] < rank[level]) return;
      const head = { time: new Date().toISOString(), level: lineLevel, event, ...always };
      // The head twice: it comes first, and no fact of the same name takes its place.
      write(`${JSON.stringify({ ...head, ...facts, ...head }, plain)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export const silentLog: Log = createLog('silent');

// Errors have no enumerable fields, so JSON would print {}; a log without the cause is no log.
function plain(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  const { code, status } = value as { code?: unknown; status?: unknown };
  const known = { name, message, ...(code === undefined ? {} : { code }) };
  // What is merely away or busy is no fault in the code that met it: where that was helps nobody.
  if (status === 503) return { ...known, ...(cause instanceof Error && { cause: cause.message }) };
  return { ...known, stack, ...(cause === undefined ? {} : { cause }) };
}
