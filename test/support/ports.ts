// Ports for what a test starts by number. None is of the range from which the system takes a port for whoever asks for
// any (from 32768 on Linux): one of those may be anybody's a moment later. Each worker of the tests has a part of its
// own, and no port is given twice in a process.

import { createServer } from 'node:net';

const first = 11_000;
const each = 5_000;
// Vitest numbers its workers from 1; what is no worker (the services of a run, a benchmark) has the first part.
const part = (Number(process.env.VITEST_POOL_ID) || 0) % 4;
let next = Math.floor(Math.random() * each);

/** A TCP port on which nothing listens, neither at 127.0.0.1 nor at ::1. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < each; tries += 1) {
    const port = first + part * each + next;
    next = (next + 1) % each;
    if ((await isFree(port, '127.0.0.1')) && (await isFree(port, '::1'))) return port;
  }
  throw new Error('no port is free');
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'EADDRINUSE')); // no IPv6 is no occupant
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}
