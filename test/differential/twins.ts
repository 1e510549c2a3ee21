// Compares what two servers say: equal to the letter, but for what each of them makes at random. Such a value has one twin
// at the other server, wherever it stands: in an answer, in a token, in a row.

import { createPublicKey, hash, verify } from 'node:crypto';
import { decode } from '../support/user-agent.ts';

/** As identifiers, handles and digests are spelt, of 120 bits at least; words of a protocol have small letters alone. */
const random = /^(?![a-z_]+$)[\w-]{20,}$/;
const compact = /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/;
/** Numbers that are drawn: the index in a status list. */
const drawn = new Set(['idx', 'status_idx']);
const sealed = 'v1.';
/** The parts of a handle, or of a `jti`. */
const between = /[.~]/;

export class Twins {
  readonly #theirs = new Map<string, string>();
  readonly #ours = new Map<string, string>();
  readonly #keys = new Map<string, ReturnType<typeof createPublicKey>>();

  /** Keys that both sign with (RFC 7517): a token that is no token is a difference. */
  useKeys(jwks: { keys: Array<Record<string, string>> }): void {
    for (const jwk of jwks.keys) this.#keys.set(jwk.kid!, createPublicKey({ key: jwk, format: 'jwk' }));
  }

  /** Notes that these are the same thing, and so their digests, under which they are stored. */
  pair(one: string, other: string): boolean {
    const known = this.#theirs.get(one);
    if (known !== undefined || this.#ours.has(other)) return known === other;
    this.#theirs.set(one, other);
    this.#ours.set(other, one);
    if (one === other) return true;
    const [ones, others] = [one.split(between), other.split(between)];
    if (ones.length > 1 && ones.length === others.length)
      for (const [at, part] of ones.entries()) this.pair(part, others[at]!);
    const [digest, twin] = [one, other].map((text) => hash('sha256', text, 'base64url')) as [string, string];
    this.#theirs.set(digest, twin);
    this.#ours.set(twin, digest);
    return true;
  }

  /** Where they differ, and how; none: they say the same. */
  differences(one: unknown, other: unknown, path = ''): string[] {
    if (typeof one === 'string' && typeof other === 'string') return this.#ofTexts(one, other, path);
    if (typeof one === 'number' && typeof other === 'number' && drawn.has(path.split('.').at(-1)!)) {
      return this.pair(`${path.split('.').at(-1)} ${one}`, `${path.split('.').at(-1)} ${other}`)
        ? []
        : [told(path, one, other)];
    }
    if (Array.isArray(one) && Array.isArray(other)) {
      if (one.length !== other.length) return [told(path, one, other)];
      return one.flatMap((item, at) => this.differences(item, other[at], `${path}[${at}]`));
    }
    if (isObject(one) && isObject(other)) {
      const names = [...new Set([...Object.keys(one), ...Object.keys(other)])];
      return names.flatMap((name) => this.differences(one[name], other[name], path === '' ? name : `${path}.${name}`));
    }
    return Object.is(one, other) ? [] : [told(path, one, other)];
  }

  /** Puts rows of both into one order: by what is known of them. */
  sorted(ones: readonly unknown[], others: readonly unknown[]): [unknown[], unknown[]] {
    const inOrder = (rows: readonly unknown[], known: (text: string) => string | undefined) =>
      rows
        .map((row) => ({
          row,
          key: JSON.stringify(row, (name, value) => (drawn.has(name) ? 0 : this.#shown(value, known))),
        }))
        .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
        .map(({ row }) => row);
    return [
      inOrder(ones, (text) => (this.#theirs.has(text) ? text : undefined)),
      inOrder(others, (text) => this.#ours.get(text)),
    ];
  }

  #shown(value: unknown, known: (text: string) => string | undefined): unknown {
    if (typeof value !== 'string') return value;
    if (value.startsWith(sealed)) return sealed;
    return random.test(value) ? (known(value) ?? '?') : value;
  }

  #ofTexts(one: string, other: string, path: string): string[] {
    if (one === other) {
      const isAnother = (this.#theirs.get(one) ?? one) !== other || (this.#ours.get(other) ?? other) !== one;
      return isAnother ? [told(path, one, other)] : [];
    }
    if (one.startsWith(sealed) && other.startsWith(sealed)) return [];
    if (compact.test(one) && compact.test(other)) return this.#ofTokens(one, other, path);
    if (random.test(one) && random.test(other)) {
      return this.pair(one, other) ? [] : [`${path}: ${one} is not the twin of ${other}`];
    }
    const [ones, others] = [one.split(between), other.split(between)];
    if (ones.length > 1 && ones.length === others.length) {
      const parts = ones.flatMap((part, at) => this.#ofTexts(part, others[at]!, `${path}[${at}]`));
      return parts.length > 0 ? [told(path, one, other), ...parts] : [];
    }
    return [told(path, one, other)];
  }

  #ofTokens(one: string, other: string, path: string): string[] {
    const unsigned = [one, other].filter((jwt) => !this.#isSigned(jwt)).map((jwt) => `${path}: nobody signed ${jwt}`);
    const found = this.differences(decode(one), decode(other), path);
    this.pair(hash('sha256', one, 'base64url'), hash('sha256', other, 'base64url'));
    return [...unsigned, ...found];
  }

  #isSigned(jwt: string): boolean {
    const key = this.#keys.get(String(decode(jwt).header.kid));
    const at = jwt.lastIndexOf('.');
    const signature = Buffer.from(jwt.slice(at + 1), 'base64url');
    return key !== undefined && verify('sha256', Buffer.from(jwt.slice(0, at)), key, signature);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

const told = (path: string, one: unknown, other: unknown) =>
  `${path}: ${JSON.stringify(one)} and ${JSON.stringify(other)}`;
