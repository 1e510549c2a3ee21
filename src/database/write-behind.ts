// What is kept in memory first and written behind the request, every few moments: a request waits for no statement, and
// many share one. What could not be written stays with its owner and is tried again.

import { coalesce } from './coalesce.ts';

interface WriteBehindOptions {
  everyMs: number;
  /** Writes what there is. @throws where it could not; the owner has kept it. */
  write(): Promise<void>;
  /** Called once for a series of failures. */
  failed(error: unknown): void;
}

interface WriteBehind {
  /** Writes within `everyMs`; for a batch that is full, at once, unless the last attempt failed. */
  soon(isFull?: boolean): void;
  /** Resolves when all that there was until now is written, or cannot be. */
  settled(): Promise<void>;
  /** Writes what there is, and then no more. */
  close(): Promise<void>;
}

export function createWriteBehind({ everyMs, write, failed }: WriteBehindOptions): WriteBehind {
  let timer: NodeJS.Timeout | undefined;
  let failing = false;
  let closed = false;
  const writes = coalesce(async () => {
    try {
      await write();
      failing = false;
    } catch (error) {
      if (!failing) failed(error);
      failing = true;
      if (!closed) soon();
    }
  });

  function soon(isFull = false): void {
    if (isFull && !failing) {
      void writes.run();
      return;
    }
    timer ??= setTimeout(() => {
      timer = undefined;
      void writes.run();
    }, everyMs).unref();
  }

  return {
    soon,
    settled: writes.run,
    async close() {
      closed = true;
      clearTimeout(timer);
      await writes.run();
    },
  };
}
