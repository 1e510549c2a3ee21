// "Do this, so many times, when it concerns Alice": the one mechanism behind every fault and every doctored answer.

/** What is known of a request when a rule is looked for. */
export interface Facts {
  user?: string | undefined;
  tenant?: string | undefined;
  grant?: string | undefined;
  host?: string | undefined;
}

export interface Rule {
  /** How often it applies. Default: as the function says that takes the rule (faults: always; next…: once). */
  times?: number | undefined;
  /** Lets this many matching requests pass first. Default 0. */
  after?: number | undefined;
  /** All named facts must fit. `user` and `tenant` are the simulator's names, such as 'alice' and 'contoso'. */
  when?: Facts | undefined;
}

export interface Rules<T extends Rule> {
  /** The newest rule is asked first. Returns how to withdraw it. */
  add(rule: T): () => void;
  /** The rule for this request, which is thereby used once, or undefined. */
  take(facts: Facts, fits?: (rule: T) => boolean): T | undefined;
  clear(): void;
}

export function createRules<T extends Rule>(defaultTimes: number): Rules<T> {
  let pending: { rule: T; left: number; skip: number }[] = [];

  return {
    add(rule) {
      const entry = { rule, left: rule.times ?? defaultTimes, skip: rule.after ?? 0 };
      pending.unshift(entry);
      return () => {
        pending = pending.filter((each) => each !== entry);
      };
    },
    take(facts, fits = () => true) {
      const entry = pending.find(({ rule, left }) => left > 0 && matches(rule.when, facts) && fits(rule));
      if (entry === undefined) return undefined;
      if (entry.skip > 0) {
        entry.skip -= 1;
        return undefined;
      }
      entry.left -= 1;
      if (entry.left === 0) pending = pending.filter((each) => each !== entry);
      return entry.rule;
    },
    clear() {
      pending = [];
    },
  };
}

function matches(when: Facts = {}, facts: Facts): boolean {
  return (Object.keys(when) as (keyof Facts)[]).every((name) => when[name] === undefined || when[name] === facts[name]);
}
