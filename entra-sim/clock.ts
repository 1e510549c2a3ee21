// The simulator's own time. Tests move it; nothing here sleeps for the sake of a date.

export interface Clock {
  /** Milliseconds since 1970, by the simulator's clock. */
  now(): number;
  /** Whole seconds since 1970, as JWTs count. */
  seconds(): number;
  /** How far the simulator's clock is ahead (or, negative, behind) this machine's. Replaces an earlier skew. */
  skew(seconds: number): void;
  /** Lets this much time pass. */
  advance(seconds: number): void;
}

export function createClock(): Clock {
  let aheadMs = 0;
  const now = () => Date.now() + aheadMs;
  return {
    now,
    seconds: () => Math.floor(now() / 1000),
    skew: (seconds) => {
      aheadMs = seconds * 1000;
    },
    advance: (seconds) => {
      aheadMs += seconds * 1000;
    },
  };
}
