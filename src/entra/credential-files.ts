// Files with secrets and keys, as credentials.ts reads them: what cannot be used is told in words for an operator.

import { readFile } from 'node:fs/promises';
import { decodeText } from '../config/text.ts';
import { AppError } from '../errors.ts';

/** @throws {AppError} entra_credential_unusable: not there, not readable, empty */
export async function readBytes(file: string): Promise<Buffer> {
  const bytes = await readFile(file).catch((cause) => {
    throw unreadable(file, cause);
  });
  if (bytes.toString('latin1').trim() === '') throw unusable(`${file} is empty`);
  return bytes;
}

/** Without the white space around it. @throws {AppError} as readBytes does */
export async function readText(file: string): Promise<string> {
  const bytes = await readBytes(file);
  // Of a PEM file the words between the keys may be in whatever character set, and do not matter.
  return (decodeText(bytes) ?? bytes.toString('utf8')).trim();
}

export function unreadable(file: string, cause: unknown): AppError {
  return unusable(`${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`, cause);
}

export function unusable(problem: string, cause?: unknown): AppError {
  return new AppError('entra_credential_unusable', 500, problem, { cause });
}
