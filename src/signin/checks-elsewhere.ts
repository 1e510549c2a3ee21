// Pending checks of other processes, which workers and replicas are. Nobody tells of them (pending-checks.ts knows those of
// this one), but they show: a failure was counted a moment ago, and not here. It may be an attempt that is being checked,
// and its outcome may open the way; so whoever it holds up looks again for a while, before being turned away.

import { type Kept, lastFailureAt } from './login-counters.ts';

interface ChecksElsewhere {
  /** That this process counted there, at this moment. */
  noteCounted(key: string, at: number): void;
  /** For one attempt: whether a backoff that holds it up may be let go soon. */
  ofAttempt(): (key: string) => Promise<boolean>;
}

export const lookAgainMs = 100;
/** How long a check may take, its turn in the queue included, and how long many of them together. */
const [oneCheckMs, allChecksMs] = [3_000, 20_000];
/** Of more counters than this it is forgotten that it was here: then somebody waits in vain, for one check. */
const mostRemembered = 1_000;
/** Between the moment that is noted and the one that the counter has. */
const sameMomentMs = 5;

export function createChecksElsewhere(
  read: (keys: readonly string[]) => Promise<Map<string, Kept>>,
  now: () => number,
): ChecksElsewhere {
  const countedHere = new Map<string, number>();
  return {
    noteCounted(key, at) {
      countedHere.delete(key);
      countedHere.set(key, at);
      if (countedHere.size > mostRemembered) countedHere.delete(countedHere.keys().next().value!);
    },

    ofAttempt() {
      const begunAt = performance.now();
      let [lastAt, changedAt] = [0, begunAt];
      return async (key) => {
        const kept = (await read([key])).get(key);
        const waited = performance.now();
        if (!kept) return waited - begunAt < allChecksMs; // let go since it held this one up
        const at = lastFailureAt(kept);
        if (at !== lastAt) [lastAt, changedAt] = [at, waited];
        const isOurs = at <= (countedHere.get(key) ?? 0) + sameMomentMs;
        const isRecent = now() - at < oneCheckMs && waited - changedAt < oneCheckMs;
        return !isOurs && isRecent && waited - begunAt < allChecksMs;
      };
    },
  };
}
