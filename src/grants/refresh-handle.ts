// The handle of a refresh token (RFC 6749 §1.5): what the signed token carries, and all that an opaque one is. It has three
// parts: the chain of refreshes, whose row it leads to (refresh-rows.ts); when it ends; and a secret. The secret of every
// handle but the first follows, under a key of the server's, from the handle that it is exchanged for. So whoever
// repeats a refresh, because the answer was lost, is given the same successor again, and no copy of an answer is kept.
//
// The chain stands in clear in the database. Who reads it there can end the chain, by a handle that is none, and no more.

import { createHmac, hash, randomBytes } from 'node:crypto';

export interface RefreshHandles {
  /** The first handle of a chain. @param expiresAt epoch seconds */
  first(expiresAt: number): string;
  /** What `handle` is exchanged for. @param expiresAt epoch seconds */
  next(handle: string, expiresAt: number): string;
  /** The same, where the key may have changed since: the one that is stored as `digest`. */
  nextOf(handle: string, expiresAt: number, digest: string): string | undefined;
}

/** The key of a refresh token's row, and what is compared with it. */
export const digestOf = (handle: string) => hash('sha256', handle, 'base64url');

/** The random part of the `jti` of the access token that comes with `handle`: the same each time, and nothing leads back. */
export const accessTokenIdOf = (handle: string) => digestOf(`access token of ${handle}`);

const chainBytes = 16;
const secretBytes = 32;

/** @param keys the current one first, then those of master keys before it */
export function createRefreshHandles(keys: readonly [Buffer, ...Buffer[]]): RefreshHandles {
  const [current] = keys;
  const next = (key: Buffer, handle: string, expiresAt: number) =>
    joined(chainOf(handle), expiresAt, mac(key, `next ${expiresAt} ${handle}`));

  return {
    first: (expiresAt) =>
      joined(randomBytes(chainBytes).toString('base64url'), expiresAt, randomBytes(secretBytes).toString('base64url')),
    next: (handle, expiresAt) => next(current, handle, expiresAt),
    nextOf: (handle, expiresAt, digest) =>
      keys.map((key) => next(key, handle, expiresAt)).find((one) => digestOf(one) === digest),
  };
}

// A chain, or the digest of a handle that was issued before there were chains; seconds of this millennium; a secret.
const shape = /^([\w-]{22}|[\w-]{43})~([0-9a-z]{6,7})~[\w-]{43}$/;

/**
 * One that was issued before there were chains is the first of its own. And so is whatever else somebody sends: databases
 * refuse some of what a text may hold, and no digest has any of it.
 */
export function chainOf(handle: string): string {
  return shape.exec(handle)?.[1] ?? digestOf(handle);
}

/** When it ends by its own word, epoch seconds: of one that was spent, nothing else tells it. */
export function endOf(handle: string): number | undefined {
  const end = shape.exec(handle)?.[2];
  return end === undefined ? undefined : Number.parseInt(end, 36);
}

const joined = (chain: string, expiresAt: number, secret: string) => `${chain}~${expiresAt.toString(36)}~${secret}`;

const mac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest('base64url');
