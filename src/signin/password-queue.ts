// The queue before bcrypt (password.ts), where only some work at once: whose turn it is. Two lines. Those who are
// proved (a browser in which they signed in before, a password just checked) have a share of the queue, and the head of
// it. All others wait fairly by where they come from: block, network and address take turns, each among its own. When
// the queue is full, the last of those who hold most of it has to go, so that a newcomer from elsewhere stays.

import { AppError } from '../errors.ts';

export interface QueueOrigin {
  isProved: boolean;
  /** From the widest to the narrowest: whoever shares the first also shares the turn. */
  from: readonly string[];
}

export interface QueueLimits {
  proved: number;
  others: number;
}

interface Job {
  start(): void;
  refuse(): void;
}

/** One level of sharing: below it either further levels, or jobs in the order they came. */
interface Line {
  size: number;
  lines: Map<string, Line>;
  jobs: Job[];
}

// The proved are served first, and yet cannot keep everybody else out.
const mostProvedInARow = 3;

/**
 * @returns runs `work` when its turn has come
 * @throws {AppError} busy (503): of its kind more are waiting than would be answered in time
 */
export function createPasswordQueue(
  atOnce: number,
  limits: QueueLimits,
): <T>(work: () => Promise<T>, origin: QueueOrigin) => Promise<T> {
  const [proved, others] = [emptyLine(), emptyLine()];
  let running = 0;
  let provedInARow = 0;

  function next(): Job | undefined {
    const isProvedsTurn = proved.size > 0 && (others.size === 0 || provedInARow < mostProvedInARow);
    provedInARow = isProvedsTurn ? provedInARow + 1 : 0;
    return takeFirst(isProvedsTurn ? proved : others);
  }

  return async (work, { isProved, from }) => {
    if (running < atOnce) {
      running += 1;
    } else {
      await new Promise<void>((resolve, reject) => {
        const [line, most] = isProved ? [proved, limits.proved] : [others, limits.others];
        add(line, from, { start: resolve, refuse: () => reject(busy()) });
        if (line.size > most) takeFromLongest(line)?.refuse();
      });
    }
    try {
      return await work();
    } finally {
      // Handed over, not given back: nobody who comes at this moment gets in between.
      const following = next();
      if (following) following.start();
      else running -= 1;
    }
  };
}

function emptyLine(): Line {
  return { size: 0, lines: new Map(), jobs: [] };
}

function add(line: Line, [first, ...rest]: readonly string[], job: Job): void {
  line.size += 1;
  if (first === undefined) {
    line.jobs.push(job);
    return;
  }
  const inner = line.lines.get(first) ?? emptyLine();
  line.lines.set(first, inner);
  add(inner, rest, job);
}

/** The lines within take turns: the one that was served goes to the end. */
function takeFirst(line: Line): Job | undefined {
  if (line.size === 0) return undefined;
  line.size -= 1;
  const [name, inner] = line.lines.entries().next().value ?? [];
  if (name === undefined || inner === undefined) return line.jobs.shift();
  const job = takeFirst(inner);
  line.lines.delete(name);
  if (inner.size > 0) line.lines.set(name, inner);
  return job;
}

function takeFromLongest(line: Line): Job | undefined {
  line.size -= 1;
  let longest: [string, Line] | undefined;
  for (const each of line.lines) if (longest === undefined || each[1].size >= longest[1].size) longest = each;
  if (!longest) return line.jobs.pop();
  const [name, inner] = longest;
  const job = takeFromLongest(inner);
  if (inner.size === 0) line.lines.delete(name);
  return job;
}

function busy(): AppError {
  return new AppError('busy', 503, 'Too many people are signing in at this moment. Please try again shortly.');
}
