// Rotation in a minute instead of a year. Here 1 s stands for 300 s: the JWKS max-age of 5 min is one second, and a
// verifier's own 10 min are two. What else there is falls short of its usual proportion to that, which is harder on a
// verifier, not easier: a key may sign when it was published for 3 s (15 min, not 24 h), the least that checkPolicy
// allows, and signs for 8 s (40 min, not 90 d).
//
// Lives below a minute are refused by the configuration, so the Config is composed as usual and then given other
// numbers. JWTs and the policy count whole seconds, so the allowed skew is one, and verifiers keep their usual
// tolerance of 5 s, which is more than the wrong clock is off.

import { loadConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { declared } from '../support/signet.ts';

export const secondsPerSecond = 300;

export interface ServerSettings {
  issuer: string;
  port: number;
  database: string;
  /** Where the master key lives: shared, like the database. */
  directory: string;
  /** False: as an installation has it that changed nothing. */
  scaled?: boolean;
  /** How often what expired is deleted. Default: as it comes. */
  sweepEveryMs?: number;
}

export const scaledKeys = { rotateEvery: 8, publishAhead: 3, jwksMaxAge: 1, pollEvery: 1, clockSkew: 1 };

/** A clock that is as good as wrong, and one that is not quite right. */
export const wrongClockMs = 3 * scaledKeys.clockSkew * 1000;
export const tolerableClockMs = scaledKeys.clockSkew * 1000 / 2;

/** How long after a hand-over another replica may still sign with the key before: it looks late, by its own clock. */
export const propagationMs = (scaledKeys.pollEvery + scaledKeys.clockSkew) * 1000;

const accessTokenLife = 6;

export function serverConfig({ issuer, port, database, directory, scaled = true }: ServerSettings): Config {
  const config = loadConfig({
    env: {}, cwd: directory,
    values: {
      ...declared, issuer,
      listen: { port, host: '127.0.0.1' }, database: { url: database }, passwords: { bcryptCost: 4 },
    },
  });
  if (!scaled) return config;
  return {
    ...config,
    keys: { ...config.keys, ...scaledKeys },
    tokens: { ...config.tokens, accessTokenLife, idTokenLife: 6, refreshTokenLife: 8 },
    session: { ...config.session, life: 10 },
    apis: config.apis.map((api) => ({ ...api, accessTokenLife: undefined })),
  };
}
