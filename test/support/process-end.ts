// Cleaning up in the runs where nobody gets to call stop(): a failure, Ctrl-C, a CI job that is cancelled.

import type { ChildProcess } from 'node:child_process';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `cleanUp`, which must be synchronous, when this process ends, unless the returned function was called. */
export function onProcessEnd(cleanUp: () => void): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    forget();
    cleanUp();
    // Where nobody else answers the signal, it does what it would have done without us.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const forget = () => {
    process.off('exit', cleanUp);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.once('exit', cleanUp);
  for (const signal of signals) process.once(signal, onSignal);
  return forget;
}

/** A child process that does not outlive this one: with our output in its hands, it would hold up the end of the run. */
export function endsWithUs<C extends ChildProcess>(child: C): C {
  child.once(
    'exit',
    onProcessEnd(() => void child.kill('SIGKILL')),
  );
  return child;
}
