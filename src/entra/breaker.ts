// The circuit breaker for when Microsoft does not answer: after some failures nobody waits for it any more, and one
// request at a time finds out when it is back. What concerns one person (a refusal, a 429, a 500 that only their
// request brings about) must never stop the others: see Blame.

export interface Breaker {
  /** Whether a request would be let through now. Promises nothing and uses nothing up. */
  admits(): boolean;
  /**
   * Runs `work` and counts how it ends.
   * @param who the browser's address or the person: all that one of them runs into counts once
   * @throws {BreakerOpen} without having run it
   */
  run<T>(who: string, work: () => Promise<T>): Promise<T>;
  isClosed(): boolean;
  retryAfterSeconds(): number;
}

/** Whom a failure concerns: no connection is everybody's, a 5xx may be one person's; a refusal is an answer. */
export type Blame = (error: unknown) => 'everybody' | 'somebody' | 'nobody';

export class BreakerOpen extends Error {
  override readonly name = 'BreakerOpen';
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super('requests to Microsoft are held back after repeated failures');
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const failuresToOpen = 5;
const withinMs = 30_000;
const openMs = 15_000;

export function createBreaker(blame: Blame, now: () => number = Date.now): Breaker {
  let failures: Array<{ at: number; who: string | undefined }> = [];
  let openUntil: number | undefined;
  let probing = false;

  const admits = () => openUntil === undefined || (now() >= openUntil && !probing);
  const retryAfterSeconds = () => Math.max(1, Math.ceil(((openUntil ?? 0) - now()) / 1000));

  function failed(who: string | undefined): void {
    const at = now();
    failures = failures.filter((failure) => failure.at > at - withinMs && (who === undefined || failure.who !== who));
    failures.push({ at, who });
    if (openUntil !== undefined || failures.length >= failuresToOpen) openUntil = at + openMs;
  }

  function succeeded(): void {
    failures = [];
    openUntil = undefined;
  }

  return {
    admits,
    retryAfterSeconds,
    isClosed: () => openUntil === undefined,

    async run(who, work) {
      if (!admits()) throw new BreakerOpen(retryAfterSeconds());
      const isProbe = openUntil !== undefined;
      if (isProbe) probing = true;
      try {
        const result = await work();
        succeeded();
        return result;
      } catch (error) {
        const concerned = blame(error);
        if (concerned === 'nobody') succeeded();
        else failed(concerned === 'everybody' ? undefined : who);
        throw error;
      } finally {
        if (isProbe) probing = false;
      }
    },
  };
}
