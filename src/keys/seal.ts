// The master key, and what is sealed under it. Everything secret in the database (the private halves of signing keys)
// is opened only by whoever holds the master key, so a stolen backup alone signs nothing. The master key itself is
// never used: each purpose has a subkey of its own (HKDF, RFC 5869), so no two uses can be played against each other.

import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import { link, mkdir, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

import { decodeMasterKey } from '../config/rules.ts';
import { decodeText } from '../config/text.ts';
import { AppError } from '../errors.ts';

/** Current first, then those that may still open what they sealed. */
export type MasterKeys = readonly [Buffer, ...Buffer[]];

interface MasterKeySource {
  /** Where the master key is kept: 32 bytes in base64url, mode 0600. */
  file: string;
  /** The master key itself; where given, `file` is not read. */
  value?: string | undefined;
  /** The key used before this one, while `signet keys rekey` has not yet moved everything. */
  previousFile?: string | undefined;
}

export interface Seal {
  /** Seals `plaintext` for the place named by `aad`: moved to another place it does not open. */
  seal(plaintext: Uint8Array | string, aad: string): string;
  /** @throws {AppError} master_key_wrong | sealed_value_damaged */
  open(sealed: string, aad: string): Buffer;
  /** Whether `sealed` is under the current master key, rather than under a previous one. */
  isCurrent(sealed: string): boolean;
  /** 32-byte keys for one purpose, of the current master key first, then of the previous ones. */
  derive(purpose: string): MasterKeys;
  /** A seal under keys derived for one purpose: for who seals once per request (see createSeal). */
  forPurpose(purpose: string): Seal;
}

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const howToMake = (file: string) => `make one with: (umask 077; openssl rand -base64 32 > ${file})`;

/**
 * Reads the master key, or makes it where `createIfMissing` says so (the first start, and never when the database
 * already holds sealed keys: a new master key would not open them).
 * @throws {AppError} master_key_missing | master_key_exposed | master_key_malformed | master_key_unreadable
 */
export async function loadMasterKey(
  source: MasterKeySource,
  { createIfMissing }: { createIfMissing: boolean },
): Promise<MasterKeys> {
  const current =
    source.value === undefined
      ? await readKeyFile(source.file, createIfMissing)
      : parseKey(source.value, 'the configured master key');
  if (source.previousFile === undefined) return [current];
  return [current, await readKeyFile(source.previousFile, false)];
}

export function createSeal([currentKey, ...previousKeys]: MasterKeys): Seal {
  const ringOf = (masterKey: Buffer) => ({
    id: subkey(masterKey, 'name', 6).toString('base64url'),
    // AES-GCM with random nonces is good for 2^32 messages per key (NIST SP 800-38D §8.3). Signing keys are few; who
    // seals once per request derives a key of their own.
    sealing: createSecretKey(subkey(masterKey, 'seal')), // made once: from bytes, each use would cost six times as much
  });
  const current = ringOf(currentKey);
  const rings = [current, ...previousKeys.map(ringOf)];
  const derive = (purpose: string): [Buffer, ...Buffer[]] => {
    const derived = (masterKey: Buffer) => subkey(masterKey, `derive ${purpose}`);
    return [derived(currentKey), ...previousKeys.map(derived)];
  };

  return {
    seal(plaintext, aad) {
      const prefix = `v1.${current.id}.`;
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', current.sealing, nonce).setAAD(Buffer.from(prefix + aad));
      const body = [nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
      return prefix + Buffer.concat(body).toString('base64url');
    },

    open(sealed, aad) {
      const [version, id, text] = sealed.split('.');
      if (version !== 'v1' || id === undefined || text === undefined) throw damaged(aad);
      const ring = rings.find((candidate) => candidate.id === id);
      if (!ring)
        throw wrongKey(
          aad,
          id,
          rings.map((candidate) => candidate.id),
        );
      const body = Buffer.from(text, 'base64url');
      if (body.length < nonceBytes + tagBytes) throw damaged(aad);

      const decipher = createDecipheriv('aes-256-gcm', ring.sealing, body.subarray(0, nonceBytes))
        .setAAD(Buffer.from(`v1.${id}.${aad}`))
        .setAuthTag(body.subarray(-tagBytes));
      try {
        return Buffer.concat([decipher.update(body.subarray(nonceBytes, -tagBytes)), decipher.final()]);
      } catch (cause) {
        throw damaged(aad, cause);
      }
    },

    isCurrent: (sealed) => sealed.startsWith(`v1.${current.id}.`),
    derive,
    forPurpose: (purpose) => createSeal(derive(purpose)),
  };
}

function subkey(masterKey: Buffer, purpose: string, bytes = keyBytes): Buffer {
  return Buffer.from(hkdfSync('sha256', masterKey, '', `signet v1 ${purpose}`, bytes));
}

async function readKeyFile(file: string, createIfMissing: boolean): Promise<Buffer> {
  const found = await readPrivately(file);
  if (found !== undefined) return parseKey(found, file);
  if (!createIfMissing) {
    throw new AppError('master_key_missing', 500, `the master key ${file} does not exist`, {
      hint:
        'restore it from your backup: without it the signing keys in the database cannot be opened. ' +
        `Only if it is lost for good: ${howToMake(file)}, and start again, which says how to go on`,
    });
  }
  await createKeyFile(file);
  return readKeyFile(file, false);
}

// Written beside its place and then linked there: link refuses to replace, and what it publishes is complete. Of two
// processes that start together one wins, and both go on with the winner's key.
async function createKeyFile(file: string): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(`${randomBytes(keyBytes).toString('base64url')}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(draft, file).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
  } catch (cause) {
    throw new AppError('master_key_unreadable', 500, `the master key ${file} cannot be created: ${reason(cause)}`, {
      cause,
      hint: ['EROFS', 'EACCES', 'EPERM', 'ENOSPC', 'EDQUOT'].some((code) => hasCode(cause, code))
        ? `let this user write to ${dirname(file)}, name another file (keys.masterKeyFile), or give the key itself (keys.masterKey)`
        : howToMake(file),
    });
  } finally {
    await unlink(draft).catch(() => undefined); // never made, or already gone: either way nothing is left behind
  }
}

/** The file's text, or undefined where there is no such file. The mode is asked of the opened file, not of its name. */
async function readPrivately(file: string): Promise<string | undefined> {
  try {
    await using handle = await open(file, 'r');
    const { mode } = await handle.stat();
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new AppError(
        'master_key_exposed',
        500,
        `the master key ${file} may be read by other users (mode 0${(mode & 0o777).toString(8)})`,
        { hint: `chmod 600 ${file}` },
      );
    }
    return decodeText(await handle.readFile()) ?? ''; // no text is no key
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    if (hasCode(cause, 'ENOENT')) return undefined;
    const message = `the master key ${file} cannot be read: ${reason(cause)}`;
    throw new AppError('master_key_unreadable', 500, message, { cause });
  }
}

// Nothing of the text is repeated in the error: it may be nearly a key.
function parseKey(text: string, where: string): Buffer {
  const key = decodeMasterKey(text.trim());
  if (key) return key;
  const message = `${where} is not ${keyBytes} random bytes in base64, base64url or hex`;
  throw new AppError('master_key_malformed', 500, message, {
    hint: 'restore it from your backup; only where there is no database yet, make one: openssl rand -base64 32',
  });
}

function wrongKey(what: string, id: string, ours: string[]): AppError {
  return new AppError(
    'master_key_wrong',
    500,
    `${what} is sealed under master key ${id}, but this process was given ${ours.join(' and ')}`,
    { hint: 'start with the master key of this database, or name it as the previous one and run: signet keys rekey' },
  );
}

function damaged(what: string, cause?: unknown): AppError {
  return new AppError(
    'sealed_value_damaged',
    500,
    `${what} was changed after it was sealed, or was moved here from another place`,
    { cause, hint: 'restore the database from a backup, or revoke the key by force' },
  );
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
