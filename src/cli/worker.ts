// signet worker: one of the processes that `signet serve` starts where `workers` asks for several (supervisor.ts). A whole
// server that is given its configuration, shares its port with the others, and writes nothing to standard output.

import type { Command } from 'commander';
import { createLog } from '../log.ts';
import type { RunningServer } from '../server.ts';
import { usageError } from './failure.ts';
import type { CliSession } from './session.ts';
import { type FromWorker, factsOf, type ToWorker } from './worker-messages.ts';

export function workerCommand(program: Command, session: CliSession): void {
  program.command('worker', { hidden: true }).action(async () => {
    const { default: cluster } = await import('node:cluster');
    const self = cluster.worker;
    if (!self) throw usageError('a worker is started by "signet serve", where workers (SIGNET_WORKERS) says how many');
    const say = (message: FromWorker) => new Promise<void>((said) => self.send(message, undefined, () => said()));
    const stopping = new AbortController();
    const { signal } = stopping;
    const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    // A terminal, or systemd, signals the workers as well as their supervisor.
    void session.io.untilStopped().then(() => stopping.abort());
    let server: RunningServer | undefined;

    const given = await new Promise<Extract<ToWorker, { start: unknown }>>((resolve) => {
      self.on('message', async (message: ToWorker) => {
        if ('start' in message) return resolve(message);
        if ('stop' in message) return stopping.abort();
        const figures = await server?.figures?.().catch(() => undefined);
        if (figures && self.isConnected()) await say({ figures, asked: message.figures });
      });
      void say({ hello: true });
    });
    const { start: config, worker, workers } = given;
    const log = createLog(config.log.level, session.io.err, { worker });

    try {
      const { startServer } = await import('../server.ts');
      server = await startServer(config, log, { stopping: signal, workers });
      const { url, firstAdministrator } = server;
      await say({ serving: { url, firstAdministrator } });
      await stopped;
      await server.drain();
      // The last ones: what was counted is not to get lost.
      const figures = await server.figures?.();
      if (figures) await say({ figures, asked: 0 });
    } catch (error) {
      if (!signal.aborted) await say({ failed: factsOf(error) });
    } finally {
      await server?.close();
      self.disconnect();
    }
  });
}
