import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { loadConfig } from '../../src/config/config.ts';
import { createSeal, loadMasterKey } from '../../src/keys/seal.ts';

const place = () => join(mkdtempSync(join(tmpdir(), 'signet-seal-')), 'keys', 'master.key');
const first = { createIfMissing: true };
const later = { createIfMissing: false };

function keyFile(text: string | Buffer, mode = 0o600): string {
  const file = join(mkdtempSync(join(tmpdir(), 'signet-seal-')), 'master.key');
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

describe('the master key file', () => {
  test('is made at the first start, for its owner alone, and read at the next', async () => {
    const file = place();
    const [made] = await loadMasterKey({ file }, first);
    expect(made).toHaveLength(32);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await loadMasterKey({ file }, later)).toEqual([made]);
    expect(await loadMasterKey({ file }, first)).toEqual([made]);
  });

  test('is read in the encoding that a shell or an editor wrote it in', async () => {
    const key = randomBytes(32);
    const text = `\ufeff${key.toString('base64')}\r\n`;
    for (const written of [Buffer.from(text), Buffer.from(text, 'utf16le'), Buffer.from(text, 'utf16le').swap16()]) {
      expect(await loadMasterKey({ file: keyFile(written) }, later)).toEqual([key]);
    }
    // Whoever reads the hint has a key, somewhere: another one would open nothing.
    await expect(loadMasterKey({ file: keyFile(Buffer.from([0xff, 0xe9, 0x41])) }, later)).rejects.toMatchObject({
      code: 'master_key_malformed',
      hint: expect.stringMatching(/^restore it from your backup/),
    });
  });

  test('is one, however many processes start together', async () => {
    const file = place();
    const loaded = await Promise.all(Array.from({ length: 20 }, () => loadMasterKey({ file }, first)));
    expect(new Set(loaded.map(([key]) => key.toString('hex'))).size).toBe(1);
    expect(readdirSync(dirname(file))).toEqual(['master.key']);
  });

  test('is not made up where one must exist already', async () => {
    const file = place();
    await expect(loadMasterKey({ file }, later)).rejects.toMatchObject({ code: 'master_key_missing' });
    expect(() => statSync(file)).toThrow('ENOENT');
  });

  test.skipIf(process.platform === 'win32').each([0o640, 0o604, 0o644, 0o660, 0o620])(
    'with mode %o is refused, with the command that mends it',
    async (mode) => {
      const file = keyFile(randomBytes(32).toString('base64url'), mode);
      await expect(loadMasterKey({ file }, first)).rejects.toMatchObject({
        code: 'master_key_exposed',
        message: expect.stringContaining(`mode 0${mode.toString(8)}`),
        hint: `chmod 600 ${file}`,
      });
    },
  );

  test.each([
    ['nothing', ''],
    ['31 bytes', randomBytes(31).toString('base64url')],
    ['33 bytes', randomBytes(33).toString('base64url')],
    ['two lines', `${randomBytes(32).toString('base64url')}\n${randomBytes(32).toString('base64url')}`],
  ])('with %s in it is refused, left as it is, and not repeated', async (_name, text) => {
    const file = keyFile(text);
    const error = await loadMasterKey({ file }, first).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'master_key_malformed' });
    if (text) expect((error as Error).message).not.toContain(text.slice(0, 8));
    expect(readFileSync(file, 'utf8')).toBe(text);
  });

  const encodings = ['base64', 'base64url', 'hex'] as const;
  test.each(encodings)('may be written in %s, in its file or in the configuration', async (encoding) => {
    const key = randomBytes(32);
    const text = key.toString(encoding);
    expect(await loadMasterKey({ file: keyFile(`${text}\n`) }, later)).toEqual([key]);
    expect(loadConfig({ env: { SIGNET_KEYS_MASTER_KEY: text } }).keys.masterKey).toBe(text);
    expect(await loadMasterKey({ file: place(), value: text }, later)).toEqual([key]);
  });

  test('is not touched where the key itself was given', async () => {
    const file = place();
    const key = randomBytes(32);
    expect(await loadMasterKey({ file, value: key.toString('base64url') }, first)).toEqual([key]);
    expect(() => statSync(file)).toThrow('ENOENT');
  });

  test('may be followed by the one before it, which must exist', async () => {
    const previous = keyFile(randomBytes(32).toString('base64url'));
    expect(await loadMasterKey({ file: place(), previousFile: previous }, first)).toHaveLength(2);
    await expect(loadMasterKey({ file: place(), previousFile: place() }, first)).rejects.toMatchObject({
      code: 'master_key_missing',
    });
  });
});

describe('a seal', () => {
  const key = randomBytes(32);
  const other = randomBytes(32);
  const seal = createSeal([key]);

  test('opens what it sealed, where it was sealed', () => {
    expect(seal.open(seal.seal('a private half', 'here'), 'here').toString()).toBe('a private half');
    expect(seal.open(seal.seal('', 'here'), 'here')).toHaveLength(0);
  });

  test('never seals the same text alike', () => {
    expect(seal.seal('text', 'here')).not.toBe(seal.seal('text', 'here'));
  });

  test('does not open in another place', () => {
    const damaged = expect.objectContaining({ code: 'sealed_value_damaged' });
    expect(() => seal.open(seal.seal('text', 'here'), 'there')).toThrow(damaged);
  });

  test('does not open when a single bit was changed', () => {
    const [version, id, text] = seal.seal('some text', 'here').split('.');
    const body = Buffer.from(text!, 'base64url');
    for (let bit = 0; bit < body.length * 8; bit += 1) {
      const changed = Buffer.from(body);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const sealed = `${version}.${id}.${changed.toString('base64url')}`;
      expect(() => seal.open(sealed, 'here'), `bit ${bit}`).toThrow(/was changed/);
    }
  });

  test('that is cut short or not a seal at all is refused', () => {
    const sealed = seal.seal('text', 'here');
    for (const text of ['', 'v1', 'v1.x', sealed.slice(0, 20), sealed.replace('v1', 'v2')]) {
      expect(() => seal.open(text, 'here')).toThrow(/changed|sealed under/);
    }
  });

  test('under another master key says which is needed and what to do', () => {
    const sealed = seal.seal('text', 'signing key k');
    expect(() => createSeal([other]).open(sealed, 'signing key k')).toThrow(
      expect.objectContaining({
        code: 'master_key_wrong',
        status: 500,
        message: expect.stringMatching(
          /^signing key k is sealed under master key [\w-]{8}, but .* was given [\w-]{8}$/,
        ),
        hint: expect.stringContaining('signet keys rekey'),
      }),
    );
  });

  test('under the previous master key still opens, and is known not to be current', () => {
    const both = createSeal([other, key]);
    const old = seal.seal('text', 'here');
    expect(both.open(old, 'here').toString()).toBe('text');
    expect(both.isCurrent(old)).toBe(false);
    expect(both.isCurrent(both.seal('text', 'here'))).toBe(true);
    const wrong = expect.objectContaining({ code: 'master_key_wrong' });
    expect(() => seal.open(both.seal('text', 'here'), 'here')).toThrow(wrong);
  });

  test('derives one key per purpose and master key, the same at every start', () => {
    const both = createSeal([other, key]);
    expect(both.derive('cookies')).toEqual([...createSeal([other]).derive('cookies'), ...seal.derive('cookies')]);
    const all = [...both.derive('cookies'), ...both.derive('refresh answers')];
    expect(all.map((derived) => derived.length)).toEqual([32, 32, 32, 32]);
    expect(new Set([key, other, ...all].map((derived) => derived.toString('hex'))).size).toBe(6);
  });
});
