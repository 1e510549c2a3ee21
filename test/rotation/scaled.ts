// Rotation in a minute instead of a year. Here 1 s stands for 300 s: the JWKS max-age of 5 min is one second, and a
// verifier's own 10 min are two. What else there is falls short of its usual proportion to that, which is harder on a
// verifier, not easier: a key may sign when it was published for 3 s (15 min, not 24 h), the least that checkPolicy
// allows, and signs for 8 s (40 min, not 90 d). On a machine that is busy with other things everything but the clocks
// goes slower by a `pace`, since what is a blink in the field must not become a minute there.
//
// Lives below a minute are refused by the configuration, so the Config is composed as usual and then given other
// numbers. JWTs and the policy count whole seconds, so the allowed skew is one, and verifiers keep their usual
// tolerance of 5 s, which is more than the wrong clock is off.

import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/config.ts';
import { declared } from '../support/signet.ts';

/** How much slower than alone this process runs, as a whole number: 1 on a quiet machine. The first process measures. */
export const pace = Number(process.env.SIGNET_TEST_PACE) || measurePace();

export const secondsPerSecond = 300 / pace;

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
  /** How often it says that it lives. Default: as it comes. */
  aliveEveryMs?: number;
}

export const scaledKeys = {
  rotateEvery: 8 * pace,
  publishAhead: 3 * pace,
  jwksMaxAge: pace,
  pollEvery: pace,
  clockSkew: 1,
};

/** A clock that is as good as wrong, and one that is not quite right. */
export const wrongClockMs = 3 * scaledKeys.clockSkew * 1000;
export const tolerableClockMs = (scaledKeys.clockSkew * 1000) / 2;

/** How long after a hand-over another replica may still sign with the key before: it looks late, by its own clock. */
export const propagationMs = (scaledKeys.pollEvery + scaledKeys.clockSkew) * 1000;

const accessTokenLife = 6 * pace;

export function serverConfig({ issuer, port, database, directory, scaled = true }: ServerSettings): Config {
  const config = loadConfig({
    env: {},
    cwd: directory,
    values: {
      ...declared,
      issuer,
      listen: { port, host: '127.0.0.1' },
      database: { url: database },
      passwords: { bcryptCost: 4 },
    },
  });
  if (!scaled) return config;
  return {
    ...config,
    keys: { ...config.keys, ...scaledKeys },
    tokens: { ...config.tokens, refreshSpacing: 0, accessTokenLife, idTokenLife: 6 * pace, refreshTokenLife: 8 * pace },
    session: { ...config.session, life: 10 * pace },
    apis: config.apis.map((api) => ({ ...api, accessTokenLife: undefined })),
  };
}

/** By how long a tenth of a second of work takes. */
function measurePace(): number {
  const workMs = 100;
  const began = performance.now();
  const before = process.cpuUsage();
  const workedUs = () => {
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  while (workedUs() < workMs * 1000);
  const slowness = (performance.now() - began) / workMs;
  // What is a little slow now may be slower soon: others are only beginning.
  return Math.min(4, Math.max(1, Math.ceil(slowness - 0.2)));
}
