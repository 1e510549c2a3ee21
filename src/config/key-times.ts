// The rules by which the times of signing keys fit together: of the settings here, of the key policy in keys/.

/** Seconds. */
interface Times {
  publishAhead: number;
  rotateEvery: number;
  jwksMaxAge: number;
  pollEvery: number;
  clockSkew: number;
}

/**
 * Seconds by which a JWKS may be old when it is fetched, and a moment be mistaken: a replica notices late (pollEvery), a
 * cache in between repeats its answer (jwksMaxAge), clocks differ (clockSkew). A key is published for no less before it
 * signs: a verifier that fetched the JWKS just before must have fetched it again.
 */
export function propagationTime(times: Pick<Times, 'pollEvery' | 'jwksMaxAge' | 'clockSkew'>): number {
  return times.pollEvery + times.jwksMaxAge + times.clockSkew;
}

/** Whether the next key can be published while the present one signs. */
export function hasTimeToPublish({ rotateEvery, publishAhead }: Pick<Times, 'rotateEvery' | 'publishAhead'>): boolean {
  return rotateEvery > publishAhead;
}
