// The keys of a running server change hands, as an administrator would have it: at the next glance at the database, the
// server signs with the new one.

import { vi } from 'vitest';
import type { SigningKey } from '../../src/keys/key-rows.ts';
import type { Keyring } from '../../src/keys/keyring.ts';
import type { TestServer } from './signet.ts';

/** The key that is prepared, as soon as a server has prepared it. */
export async function nextKey(keyring: Pick<Keyring, 'list'>): Promise<SigningKey> {
  return vi.waitFor(
    async () => {
      const next = (await keyring.list()).find(({ state }) => state === 'prepared');
      if (!next) throw new Error('no key is prepared');
      return next;
    },
    { timeout: 15_000, interval: 20 },
  );
}

/** Activates the next key, and waits until the server signs with it; its kid. */
export async function rotateKeys({ issuer, store }: Pick<TestServer, 'issuer' | 'store'>): Promise<string> {
  const { keyring } = store;
  const { kid } = await nextKey(keyring);
  await keyring.activate(kid, { force: 'a test does not wait until verifiers have seen the key' });
  await untilFirst(issuer, kid);
  return kid;
}

/** Revokes the key that signs, and waits until the server signs with another one; its kid. */
export async function revokeActiveKey({ issuer, store: { keyring } }: TestServer): Promise<string> {
  const active = (await keyring.list()).find(({ state }) => state === 'active')!;
  await keyring.revoke(active.kid, 'a test');
  const successor = (await keyring.list()).find(({ state }) => state === 'active')!;
  await untilFirst(issuer, successor.kid);
  return successor.kid;
}

async function untilFirst(issuer: string, kid: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const {
        keys: [first],
      } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: Array<{ kid: string }> };
      if (first?.kid !== kid) throw new Error(`the server does not sign with ${kid} yet`);
    },
    { timeout: 15_000, interval: 20 },
  );
}
