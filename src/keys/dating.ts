// `iat` of everything that we sign. Clocks are seconds apart, and many libraries refuse a token whose `iat` is ahead of
// theirs, without any tolerance. So what is signed now is dated a few seconds back. Its end is counted from now on: a
// token lives for as long as `expires_in` says, and `exp` − `iat` is that much longer.

/** Seconds. */
export const datedBack = 5;

/** `iat` for what is signed at this moment (epoch milliseconds). */
export const issuedAt = (now: number): number => Math.floor(now / 1000) - datedBack;
