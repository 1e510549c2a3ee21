import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { type CookieSignatures, createCookieSignatures } from '../../src/issuer/cookie-signatures.ts';

/** What Koa signs with. */
const Keygrip = createRequire(createRequire(import.meta.url).resolve('koa'))('keygrip') as new (
  keys: readonly string[],
) => CookieSignatures;
const keys = ['the newest of all keys', 'the one before, ü', 'the oldest'];
const ours = createCookieSignatures(keys);
const theirs = new Keygrip(keys);

describe('the signature of a cookie', () => {
  test('is what Koa makes by itself: a browser keeps its session over an update in either direction', () => {
    for (let length = 0; length < 200; length += 1) {
      const data = `__Host-signet_session=${randomBytes(length).toString('base64')}`;
      expect(ours.sign(data)).toBe(theirs.sign(data));
      expect(theirs.verify(data, ours.sign(data))).toBe(true);
    }
  });

  test('says which key made it', () => {
    for (const [at, key] of keys.entries()) {
      const signature = new Keygrip([key]).sign('name=value');
      expect([ours.index('name=value', signature), ours.verify('name=value', signature)]).toEqual([at, true]);
    }
  });

  test('of other data, by another key, longer, shorter, empty or in other letters is none', () => {
    const right = ours.sign('name=value');
    const wrong = [
      ours.sign('name=valuE'),
      new Keygrip(['somebody else']).sign('name=value'),
      `${right}A`,
      right.slice(0, -1),
      '',
      'ü'.repeat(right.length),
      right.toLowerCase(),
    ];
    for (const each of wrong)
      expect([ours.index('name=value', each), ours.verify('name=value', each)], each).toEqual([-1, false]);
  });

  test('needs a key', () => {
    expect(() => createCookieSignatures([])).toThrow('a key');
  });
});
