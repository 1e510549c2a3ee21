// Files that an editor or a shell wrote, as text.

import { readFileSync } from 'node:fs';

/**
 * UTF-8, or UTF-16 where a byte order mark or the first character says so (YAML 1.2.2 §5.2): PowerShell writes that. The
 * mark is no part of the text. Undefined: these bytes are neither.
 */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes);
  } catch {
    return undefined; // What cannot be decoded is the caller's to name.
  }
}

function encodingOf([first, second]: Uint8Array): string {
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) return 'utf-16le';
  if ((first === 0xfe && second === 0xff) || (first === 0 && second !== 0)) return 'utf-16be';
  return 'utf-8';
}

/** A file that names no such character set: `code` as that of a failed read has one. */
class NotText extends Error {
  readonly code = 'not_utf8';
}

/** @throws what reading throws, or an error with the code `not_utf8` */
export function readTextFile(file: string): string {
  const text = decodeText(readFileSync(file));
  if (text === undefined) throw new NotText(`${file} is neither UTF-8 nor UTF-16`);
  return text;
}

/** A secret, a key or a URL in a file of its own: one line break at the end is not part of it. */
export function readValueFile(file: string): string {
  return readTextFile(file).replace(/\r?\n$/, '');
}

const notUtf8 = 'is neither UTF-8 nor UTF-16: save it as UTF-8';

/** What to say of a file that could not be read, in a sentence that begins with its name. */
export function whyUnreadable(error: unknown): string {
  const code = String((error as { code?: unknown }).code ?? 'unreadable');
  return code === 'not_utf8' ? notUtf8 : `cannot be read (${code}); check its name and who may read it`;
}
