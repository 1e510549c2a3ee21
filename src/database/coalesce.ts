// One run at a time, and one more. Whoever asks during a run may have written what it has already read: theirs is the
// next run, which all who ask meanwhile share.

interface Coalesced {
  /** Resolves when a run has ended that began after the call. */
  run(): Promise<void>;
  /** Resolves when nothing is under way; undefined: nothing is. */
  underWay(): Promise<void> | undefined;
}

/** @param work must not reject */
export function coalesce(work: () => Promise<void>): Coalesced {
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;

  function run(): Promise<void> {
    if (running) {
      following ??= running.then(() => {
        following = undefined;
        return run();
      });
      return following;
    }
    running = work().finally(() => {
      running = undefined;
    });
    return running;
  }

  return { run, underWay: () => following ?? running };
}
