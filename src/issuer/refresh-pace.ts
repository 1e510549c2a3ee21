// How fast one chain of refreshes may turn. Applications that renew long before the end of an access token, one timer a
// tab, refresh each second for hours: each time three signatures and a row. A chain has a burst, and then one rotation
// in each `spacing`; in between it gets its newest answer again, which is as good as another one. Nobody is refused: a
// browser library takes a refusal for the end of the sign-in.
//
// The generic cell rate algorithm: one number, the moment at which the chain would be on its pace again.

/** Rotations in a row before the pace counts. */
const burst = 10;
/** An answer is handed out again for no more than this part of its access token's life. */
const partOfLife = 1 / 12;

export interface RefreshPace {
  /** Whether a chain with this pace has had its burst. */
  isAhead(pace: number | undefined, now: number): boolean;
  /** The pace after one more rotation. */
  next(pace: number | undefined, now: number): number;
  /** For how long the newest answer stands in for another one, in milliseconds. */
  standsFor(accessTokenLifeSeconds: number): number;
}

export function createRefreshPace(spacingSeconds: number): RefreshPace {
  const spacing = spacingSeconds * 1000;
  return {
    isAhead: (pace = 0, now) => spacing > 0 && pace - now > (burst - 1) * spacing,
    next: (pace = 0, now) => Math.min(Math.max(pace, now), now + burst * spacing) + spacing,
    standsFor: (life) => Math.min(spacing, life * 1000 * partOfLife),
  };
}
