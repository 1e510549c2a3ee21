// Standard input as text: what a shell pipes in, in the encodings that a file of ours may have (config/text.ts).

import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { decodeText } from '../config/text.ts';
import { usageError } from './failure.ts';

/** @throws {AppError} usage: a letter that was guessed at would be in a password that nobody can type */
export async function readInput(input: Readable): Promise<string> {
  const text = decodeText(await buffer(input));
  if (text === undefined) throw usageError('standard input is neither UTF-8 nor UTF-16', 'pipe it in as UTF-8');
  return text;
}
