// What went wrong, for a person (error: … hint: …) and for a script (a code and an exit code). Never a stack trace:
// what nobody expected is a message here and a log line at level debug.

import { CommanderError } from 'commander';
import { ConfigError, type ConfigProblem } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { type Breakage, UnsafeStep } from '../keys/operations.ts';

export const exitCodes = { done: 0, failed: 1, wrong: 2, unknown: 3 } as const;

export const exitCodesHelp = `Exit codes:
  0  done
  1  failed, or refused; "verify" and "audit verify": not valid
  2  wrong usage or configuration; nothing was done
  3  no such account, application or key`;

interface Failure {
  exitCode: number;
  /** Of --json: { "error": … }. */
  error: { code: string; message: string; hint?: string; problems?: readonly ConfigProblem[]; wouldBreak?: Breakage };
}

/** A command that makes no sense as it was written. */
export function usageError(message: string, hint?: string): AppError {
  return new AppError('usage', 400, message, { hint });
}

/** `usage` names the command whose help is the next thing to read. */
export function describeFailure(error: unknown, usage: string): Failure {
  if (error instanceof CommanderError) {
    const { message, hint } = usageProblem(error, usage);
    return { exitCode: exitCodes.wrong, error: { code: 'usage', message, hint } };
  }
  if (error instanceof AppError) {
    const exitCode = exitCodeOf(error);
    const { code, message, hint = exitCode === exitCodes.wrong ? manual(usage) : undefined } = error;
    const problems = error instanceof ConfigError ? error.problems : undefined;
    const wouldBreak = error instanceof UnsafeStep ? error.wouldBreak : undefined;
    const details = { ...(problems && { problems }), ...(wouldBreak && { wouldBreak }) };
    const shown = { code, message, ...(hint && { hint }), ...details };
    return { exitCode, error: shown };
  }
  const message = error instanceof Error ? error.message : String(error);
  const ofSystem = systemHints[(error as NodeJS.ErrnoException | undefined)?.code ?? ''];
  if (ofSystem) return { exitCode: exitCodes.failed, error: { code: 'system', message, hint: ofSystem } };
  const hint = 'this was not expected; SIGNET_LOG_LEVEL=debug tells more, for a report';
  return { exitCode: exitCodes.failed, error: { code: 'unexpected', message, hint } };
}

// The message has the operation and the file.
const systemHints: Record<string, string> = {
  EROFS: 'the file system is mounted read-only; mount it so that it can be written, or name another place',
  EACCES: 'this user may not do that there; give the file or directory to the user that runs Signet',
  EPERM: 'this user may not do that there; give the file or directory to the user that runs Signet',
  ENOSPC: 'the disk is full; free space there',
  EDQUOT: 'the quota of this user is used up; free space there',
  EMFILE: 'this process has too many files open; raise the limit (ulimit -n)',
  ENOTDIR: 'part of that path is a file',
};

export function failureText({ error }: Failure): string {
  return `error: ${error.message}\n${error.hint ? `hint: ${error.hint}\n` : ''}`;
}

function exitCodeOf(error: AppError): number {
  if (error instanceof ConfigError || error.status === 400) return exitCodes.wrong;
  return error.status === 404 ? exitCodes.unknown : exitCodes.failed;
}

// commander writes "error: unknown command 'lst'" and, on the next line, "(Did you mean list?)".
function usageProblem(error: CommanderError, usage: string): { message: string; hint: string } {
  if (error.code === 'commander.help') return { message: `${usage} needs a command`, hint: manual(usage) };
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  const near = suggestion && /^\(Did you mean (.*)\?\)$/.exec(suggestion)?.[1];
  return { message, hint: near ? `did you mean ${near}? Otherwise ${manual(usage)}` : manual(usage) };
}

const manual = (usage: string) => `run: ${usage} --help`;
