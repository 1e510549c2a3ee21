// Drains a server that others hand requests to: first it says that it is not ready, and asks with each answer
// for the connection to be closed; after a while it takes no new ones; last, it closes those that nobody uses. Whoever
// has a connection open learns of the end with an answer, and not by a request that is lost.

import type { RequestListener, Server } from 'node:http';
import { Server as NetServer } from 'node:net';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';

interface Drain {
  isUnderWay(): boolean;
  /** The same listener, whose answers say `Connection: close` while the server is on its way out. */
  around(listener: RequestListener): RequestListener;
  /** Resolves when no connection is left; bounded: `delayMs` and seven seconds at most. Called again, it is the same. */
  run(server: Server, delayMs: number): Promise<void>;
}

const settleMs = 200;
const quietMs = 0.5;
const turnsAtMost = 500;
const lookEveryMs = 50;
/** A proxy may have sent a request on a connection that it had kept, just as we would close it: it has so long. */
const idleForMs = 2_000;
/** An answer that takes longer than this after the last connection was taken is cut off. */
const answerWithinMs = 7_000;

/**
 * Resolves directly after all who had connected were accepted, and when nothing took so long since then that others
 * may have; on a server that is never so quiet, after a while.
 */
async function quietTurn(): Promise<void> {
  for (let turn = 0; turn < turnsAtMost; turn += 1) {
    const before = performance.now();
    await nextTurn();
    if (performance.now() - before < quietMs) return;
  }
}

export function createDrain(): Drain {
  let running: Promise<void> | undefined;
  let asksToClose = false;

  async function drain(server: Server, delayMs: number): Promise<void> {
    if (delayMs > 0) {
      asksToClose = true;
      await delay(delayMs);
      // Whoever was asked comes back with a new connection, and one that waits to be accepted as the door closes is
      // reset. So for a moment nobody is asked, and those who came back stay.
      asksToClose = false;
      await delay(settleMs);
    }
    await quietTurn();
    // http.Server.close() closes idle connections as well, at once; the one it inherits does not.
    const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()));
    const closeIdle = () => server.closeIdleConnections();
    asksToClose = true;
    let looking: NodeJS.Timeout | undefined;
    const unused = setTimeout(() => {
      looking = setInterval(closeIdle, lookEveryMs);
    }, idleForMs);
    const late = setTimeout(() => server.closeAllConnections(), answerWithinMs);
    await closed;
    clearTimeout(unused);
    clearTimeout(late);
    clearInterval(looking);
  }

  return {
    isUnderWay: () => running !== undefined,
    around: (listener) => (req, res) => {
      if (asksToClose) res.setHeader('Connection', 'close');
      listener(req, res);
    },
    run: (server, delayMs) => (running ??= drain(server, delayMs)),
  };
}
