// Sizes libuv's thread pool, in which signatures are made, passwords hashed (bcrypt) and files synced. With node's own four
// threads a machine of many cores signs on four of them.

import { availableParallelism } from 'node:os';

/** Two passwords at once (signin/password.ts), the log of SQLite that is synced, and a host name that is looked up. */
const besideSignatures = 4;

/** The value of UV_THREADPOOL_SIZE, which libuv reads once, when the pool is first used. */
export function threadPoolSize(cores = availableParallelism()): string {
  return String(cores + besideSignatures);
}
