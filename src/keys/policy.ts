// The key policy, out of the configuration: how long what a key signs may live, which decides how long it is published,
// and how far clocks may be apart.

import type { Config } from '../config/config.ts';
import type { KeyPolicy } from './lifecycle.ts';

/** The longest life of anything signed now; the session counts, since its ID token comes back as a hint at sign-out. */
export function keyPolicy(config: Config): KeyPolicy {
  const { keys, tokens, session } = config;
  const longestLife = Math.max(
    longestAccessTokenLife(config),
    tokens.idTokenLife,
    tokens.refreshTokenLife,
    session.life,
  );
  const { rotateEvery, publishAhead, jwksMaxAge, pollEvery, clockSkew, promote, promoteTimeLimit } = keys;
  const patience = promote === 'when-seen' ? promoteTimeLimit : 0;
  return { rotateEvery, publishAhead, jwksMaxAge, pollEvery, clockSkew, longestLife, patience };
}

export function longestAccessTokenLife({ tokens, apis, applications }: Config): number {
  const lives = [...apis, ...applications].map(({ accessTokenLife }) => accessTokenLife ?? 0);
  return Math.max(tokens.accessTokenLife, ...lives);
}

/** Beyond half of the shorter tolerance somebody should look, while nothing is wrong yet. Milliseconds. */
export function tolerableOffsetMs({ tokens, keys }: Config): number {
  const tolerances = [tokens.refreshGrace, keys.clockSkew].filter((seconds) => seconds > 0);
  return Math.min(...tolerances, 60) * 500;
}
