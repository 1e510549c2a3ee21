// Pending checks: which counters have attempts, in this process, of which it is not known yet what they will turn out
// to be. Such an attempt is no failure: whoever it holds up waits for its outcome, which may open the way. What counts
// all the same is the counter in the database, so that waiting here is a courtesy and never a licence. What another process
// is checking nobody here is told of: there an attempt looks again, after a moment.

interface PendingChecks {
  /** What one attempt has pending. */
  ofAttempt(): PendingOfAttempt;
  /** What happens at these counters from now on, until it is closed. */
  watch(keys: readonly string[]): Watch;
}

export interface PendingOfAttempt {
  /** Before it is counted, so that nobody finds the counter changed and nobody pending. */
  begin(key: string): void;
  /** @param opens whether less is counted there now */
  end(key: string, opens: boolean): void;
  /** Whatever became of the attempt: nobody waits for it any longer. */
  endAll(opens: boolean): void;
}

interface Watch {
  /** Resolves when it is worth asking again; undefined where there is nothing to hope for, or too many do. */
  nextOutcome(key: string): Promise<void> | undefined;
  /** The same of a counter that another process may have changed: at the latest after so many milliseconds. */
  nextLook(key: string, afterMs: number): Promise<void> | undefined;
  close(): void;
}

interface Pending {
  checks: number;
  waiting: Array<() => void>;
  /** For each watch: whether it opened since. */
  watches: Map<object, boolean>;
}

const mostWaitingOfOne = 64;
const mostWaiting = 1_000;

export function createPendingChecks(): PendingChecks {
  const pending = new Map<string, Pending>();
  let waitingInAll = 0;

  function at(key: string): Pending {
    const known = pending.get(key) ?? { checks: 0, waiting: [], watches: new Map() };
    pending.set(key, known);
    return known;
  }

  function tidy(key: string): void {
    const { checks, watches } = at(key);
    if (checks === 0 && watches.size === 0) pending.delete(key);
  }

  function end(key: string, opens: boolean): void {
    const known = at(key);
    known.checks -= 1;
    if (opens) for (const watch of known.watches.keys()) known.watches.set(watch, true);
    const woken = known.waiting.splice(0);
    waitingInAll -= woken.length;
    for (const goOn of woken) goOn();
    tidy(key);
  }

  const isFull = ({ waiting }: Pending) => waiting.length >= mostWaitingOfOne || waitingInAll >= mostWaiting;

  function wait(known: Pending, goOn: () => void): void {
    waitingInAll += 1;
    known.waiting.push(goOn);
  }

  function leave(known: Pending, goOn: () => void): void {
    known.waiting.splice(known.waiting.indexOf(goOn), 1);
    waitingInAll -= 1;
  }

  return {
    ofAttempt() {
      const begun = new Set<string>();
      return {
        begin(key) {
          begun.add(key);
          at(key).checks += 1;
        },
        end(key, opens) {
          if (begun.delete(key)) end(key, opens);
        },
        endAll(opens) {
          for (const key of begun) end(key, opens);
          begun.clear();
        },
      };
    },

    watch(keys) {
      const watch: Watch = {
        nextOutcome(key) {
          const known = at(key);
          if (known.watches.get(watch)) return Promise.resolve();
          if (known.checks === 0 || isFull(known)) return undefined;
          return new Promise((goOn) => wait(known, goOn));
        },
        nextLook(key, afterMs) {
          const known = at(key);
          if (isFull(known)) return undefined;
          return new Promise((goOn) => {
            const timer = setTimeout(() => {
              leave(known, woken);
              goOn();
            }, afterMs);
            const woken = () => {
              clearTimeout(timer);
              goOn();
            };
            wait(known, woken);
          });
        },
        close() {
          for (const key of keys) {
            at(key).watches.delete(watch);
            tidy(key);
          }
        },
      };
      for (const key of keys) at(key).watches.set(watch, false);
      return watch;
    },
  };
}
