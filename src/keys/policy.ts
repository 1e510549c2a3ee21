// The key policy: when keys follow one another, and how long one is published, which goes by how long what it signed may
// live. Read from the configuration, which refuses an unsafe one by the same rules (config/key-times.ts).

import type { Config } from '../config/config.ts';
import { hasTimeToPublish, propagationTime } from '../config/key-times.ts';

export type Seconds = number;

export interface KeyPolicy {
  /** Seconds a key signs before the next one takes over. */
  rotateEvery: Seconds;
  /** Seconds a key is in the JWKS at least before it signs, emergencies apart. */
  publishAhead: Seconds;
  /** Seconds a verifier may keep a JWKS: our Cache-Control. */
  jwksMaxAge: Seconds;
  /** Seconds until every replica has noticed a change. */
  pollEvery: Seconds;
  /** Seconds a replica's clock may differ from the database's. */
  clockSkew: Seconds;
  /** The longest life of anything signed now: access, ID and refresh tokens, and a session whose ID token is a hint. */
  longestLife: Seconds;
  /** Seconds past its time that a key waits for verifiers that were not seen to fetch it. Default 0: time is enough. */
  patience?: Seconds | undefined;
}

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

/** Seconds that a retired key stays published beyond the longest life it signed. */
export function afterlife(policy: KeyPolicy): Seconds {
  return propagationTime(policy);
}

/**
 * Seconds within which every verifier that obeys our max-age has dropped a key that was taken out of the JWKS, or has
 * one that was put in: a replica may serve the old JWKS until it notices, and a verifier keep it for its max-age.
 */
export function followedWithin(policy: KeyPolicy): Seconds {
  return policy.pollEvery + policy.jwksMaxAge;
}

/** What is wrong with a policy: sentences with the arithmetic in them, for whoever wrote the numbers. */
export function checkPolicy(policy: KeyPolicy): string[] {
  const { rotateEvery, publishAhead, jwksMaxAge, pollEvery, clockSkew } = policy;
  const problems: string[] = [];
  const leastAhead = propagationTime(policy);
  if (publishAhead < leastAhead) {
    problems.push(
      `publishAhead is ${publishAhead} s, but a new key must be published for ${leastAhead} s before it signs: ` +
        `a verifier may keep a JWKS for ${jwksMaxAge} s (jwksMaxAge), ` +
        `a replica may notice ${pollEvery} s late (pollEvery), and clocks may differ by ${clockSkew} s (clockSkew); ` +
        `${jwksMaxAge} + ${pollEvery} + ${clockSkew} = ${leastAhead}`,
    );
  }
  if (!hasTimeToPublish(policy)) {
    problems.push(
      `rotateEvery is ${rotateEvery} s, but a key is published ${publishAhead} s before it signs (publishAhead), ` +
        `so keys cannot follow one another sooner; ${rotateEvery} <= ${publishAhead}`,
    );
  }
  return problems;
}
