// The kinds of verifier that a rotation must not break, and the loop that shows each of them every good token: when it
// is new, in the middle of its life and just before its end. A verifier answers undefined for yes, or its reason.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from 'jose';
import { createVerifier } from '../../src/verifier/index.ts';
import { endsWithUs } from '../support/process-end.ts';
import { ordersApi } from '../support/signet.ts';
import { pace, scaledKeys, secondsPerSecond } from './scaled.ts';

type Verify = (jwt: string) => Promise<string | undefined>;

export interface NamedVerifier {
  name: string;
  verify: Verify;
  close?: () => void;
}

export const joseUserAgent = 'jose/default-cache';

/** Ours, with the bounds of the scaled world: fresh for the max-age, a new key at most ten times a second. */
export function ours(issuer: string): NamedVerifier {
  const verifier = createVerifier({
    issuer,
    audience: ordersApi,
    service: 'orders',
    maxCacheSeconds: scaledKeys.jwksMaxAge,
    cooldownSeconds: 0.1,
  });
  return {
    name: 'ours',
    verify: (jwt) => reasonOf(verifier.verify(jwt)),
    close: () => verifier.close(),
  };
}

/** createRemoteJWKSet as it comes: a cache of 10 min and a cool-down of 30 s, which here are 2 s and 0.1 s. */
export function jose(issuer: string): NamedVerifier {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`), {
    cacheMaxAge: 600_000 / secondsPerSecond,
    cooldownDuration: 30_000 / secondsPerSecond,
    headers: { 'User-Agent': joseUserAgent },
  });
  return { name: 'jose', verify: (jwt) => reasonOf(verifyWithJose(jwt, keys, issuer)) };
}

/** Fetches once, and then only when a token names a key that it does not have; no max-age, no cool-down. */
export function onUnknownKidOnly(issuer: string): NamedVerifier {
  let keys: Promise<JWTVerifyGetKey> | undefined;
  let fetching: Promise<JWTVerifyGetKey> | undefined;

  async function verify(jwt: string): Promise<unknown> {
    keys ??= fetchKeys(issuer);
    try {
      return await verifyWithJose(jwt, await keys, issuer);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      keys = fetching ??= fetchKeys(issuer).finally(() => {
        fetching = undefined;
      });
      return verifyWithJose(jwt, await keys, issuer);
    }
  }

  return { name: 'on unknown kid only', verify: (jwt) => reasonOf(verify(jwt)) };
}

/**
 * Fetches when its copy has reached the max-age, and never because of a token. This one has nothing but the promise
 * that a key is published before it signs. While the JWKS fails it goes on with what it has.
 */
export function byMaxAgeOnly(issuer: string): NamedVerifier {
  let keys: Promise<JWTVerifyGetKey> | undefined;
  let freshUntil = 0;

  async function verify(jwt: string): Promise<unknown> {
    if (Date.now() >= freshUntil) {
      freshUntil = Date.now() + scaledKeys.jwksMaxAge * 1000;
      const before = keys;
      keys = fetchKeys(issuer).catch((error: unknown) => before ?? Promise.reject(error));
    }
    return verifyWithJose(jwt, await keys!, issuer);
  }

  return { name: 'by max-age only', verify: (jwt) => reasonOf(verify(jwt)) };
}

async function fetchKeys(issuer: string): Promise<JWTVerifyGetKey> {
  const answer = await fetch(`${issuer}/jwks`);
  if (!answer.ok) throw new Error(`the JWKS answered ${answer.status}`);
  return createLocalJWKSet((await answer.json()) as JSONWebKeySet);
}

function verifyWithJose(jwt: string, keys: JWTVerifyGetKey, issuer: string): Promise<unknown> {
  return jwtVerify(jwt, keys, { issuer, audience: ordersApi, typ: 'at+jwt', algorithms: ['RS256'] });
}

async function reasonOf(verification: Promise<unknown>): Promise<string | undefined> {
  try {
    await verification;
    return undefined;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code === undefined ? message : `${code}: ${message}`;
  }
}

export interface PausableVerifier {
  verifiers: NamedVerifier[];
  /** Finishes what was asked, then stops the whole process (SIGSTOP): no timer of it runs, no cache of it ages. */
  pause(): Promise<void>;
  resume(): void;
  paused(): boolean;
  stop(): Promise<void>;
}

/** Two services in a process of their own, ours and jose's, that can be stopped and continued like a laptop. */
export async function startPausable(issuer: string): Promise<PausableVerifier> {
  const child = endsWithUs(
    fork(new URL('verifier-process.ts', import.meta.url), [issuer], {
      execArgv: [],
      env: { PATH: process.env.PATH, SIGNET_TEST_PACE: String(pace) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
  );
  const asked = new Map<number, (reason: string | undefined) => void>();
  let lastId = 0;
  let isPaused = false;
  await once(child, 'message');
  child.on('message', ({ id, reason }: { id: number; reason?: string }) => {
    asked.get(id)!(reason);
    asked.delete(id);
  });

  const verifyAs =
    (name: string): Verify =>
    (jwt) =>
      new Promise((resolve) => {
        asked.set((lastId += 1), resolve);
        child.send({ id: lastId, name, jwt });
      });

  return {
    verifiers: ['ours', 'jose'].map((name) => ({ name: `${name}, paused across a rotation`, verify: verifyAs(name) })),
    async pause() {
      isPaused = true;
      while (asked.size > 0) await once(child, 'message');
      child.kill('SIGSTOP');
    },
    resume() {
      child.kill('SIGCONT');
      isPaused = false;
    },
    paused: () => isPaused,
    async stop() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}
