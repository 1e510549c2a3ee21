// The supervisor of several workers, each a process that serves (worker.ts), behind one port. It opens no database and
// answers no request: it takes connections and hands them round (node:cluster), starts workers anew that died, adds up
// their metrics, and passes on that the server is to stop.

import cluster, { type Worker } from 'node:cluster';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, configWarnings } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { gauge, type Metric } from '../metrics/exposition.ts';
import { processFigures } from '../metrics/gauges.ts';
import { counted, mergeFigures } from '../metrics/merge.ts';
import { serveMetrics } from '../metrics/serve.ts';
import type { RunningServer } from '../server.ts';
import { errorOf, type FromWorker, type ToWorker } from './worker-messages.ts';

interface SupervisorOptions {
  workers: number;
  /** Aborted: the workers are stopped; before the first one serves, the start fails with its reason. */
  stopping: AbortSignal;
}

export interface Supervisor extends RunningServer {
  /** Rejects when a worker fails at the start, and later when none serves any more and none can be started. */
  failed: Promise<never>;
}

type Serving = Extract<FromWorker, { serving: unknown }>['serving'];

/** One of the workers, by its number; the process behind it changes. */
interface Seat {
  number: number;
  process: Worker | undefined;
  serves: boolean;
  /** What it counted when it was last asked. */
  counts: Metric[];
}

const firstPauseMs = 100;
const longestPauseMs = 10_000;
/** Who served for so long did not die of its start. */
const soundAfterMs = 60_000;
const figuresWithinMs = 3_000;
/** A worker's own bounds (web/drain.ts, web/listen.ts) are shorter. */
const stopWithinMs = 20_000;

/**
 * Resolves when all of them serve, or one could not (`failed`). The first one starts alone: it makes what a first start
 * makes (tables, keys, an administrator), and what is wrong with the port or the database is told once.
 * @throws {AppError} what the first worker fails with at its start, or `worker_died`
 */
export async function startWorkers(config: Config, log: Log, options: SupervisorOptions): Promise<Supervisor> {
  const { workers, stopping } = options;
  for (const warning of configWarnings(config)) log.warn('config.warning', { ...warning });
  // Others than this one leave most connections to few workers, or drop some when a worker ends.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({ args: ['worker'], serialization: 'advanced' });
  const seats = Array.from({ length: workers }, (_, index): Seat => {
    return { number: index + 1, process: undefined, serves: false, counts: [] };
  });
  const asked = new Map<number, { seat: Seat; answered(figures: Metric[]): void }>();
  const failing = Promise.withResolvers<never>();
  failing.promise.catch(() => undefined);
  let [isStopping, restarts, questions] = [false, 0, 0];
  let ofTheDead: Metric[] = [];

  /** Resolves when the worker serves; one that dies later is started anew. */
  function start(seat: Seat): Promise<Serving> {
    const child = cluster.fork();
    const { promise, resolve, reject } = Promise.withResolvers<Serving>();
    const startedAt = performance.now();
    seat.process = child;
    child.on('message', (message: FromWorker) => {
      if ('hello' in message) tell(child, { start: config, worker: seat.number, workers });
      else if ('failed' in message) reject(errorOf(message.failed));
      else if ('serving' in message) {
        seat.serves = true;
        resolve(message.serving);
      } else {
        seat.counts = counted(message.figures);
        asked.get(message.asked)?.answered(message.figures);
      }
    });
    child.once('exit', (exitCode: number | null, signal: string | null) => {
      const served = seat.serves;
      Object.assign(seat, { process: undefined, serves: false });
      ofTheDead = mergeFigures([ofTheDead, seat.counts].map((metrics) => ({ worker: '', metrics })));
      seat.counts = [];
      for (const question of asked.values()) if (question.seat === seat) question.answered([]);
      const how = signal ? `by signal ${signal}` : `with exit code ${exitCode}`;
      reject(new AppError('worker_died', 500, `worker ${seat.number} ended ${how} while it started`, { hint }));
      if (isStopping || !served) return;
      log.error('worker.died', { worker: seat.number, pid: child.process.pid, exitCode, signal });
      void restart(seat, performance.now() - startedAt > soundAfterMs);
    });
    return promise;
  }

  const pauses = new Map<Seat, number>();

  async function restart(seat: Seat, wasSound: boolean): Promise<void> {
    let pause = wasSound ? firstPauseMs : (pauses.get(seat) ?? firstPauseMs);
    for (;;) {
      await delay(pause);
      if (isStopping) return;
      pause = Math.min(2 * pause, longestPauseMs);
      pauses.set(seat, pause);
      try {
        await start(seat);
        restarts += 1;
        log.info('worker.restarted', { worker: seat.number, pid: seat.process?.process.pid });
        return;
      } catch (error) {
        if (isStopping) return;
        // Alone, a server ends with such an error, and whoever runs it starts it anew or looks into it: so it is here.
        if (!seats.some(({ serves }) => serves)) return failing.reject(error);
        log.error('worker.not_restarted', { worker: seat.number, error, againInMs: pause });
      }
    }
  }

  async function figures(): Promise<Metric[]> {
    const serving = seats.filter(({ serves }) => serves);
    const answers = await Promise.all(serving.map(figuresOf));
    const own = [
      ...processFigures(Date.now()),
      gauge('signet_workers', 'Workers that serve.', serving.length),
      workerRestarts(restarts),
    ];
    return mergeFigures([
      ...answers.filter((one) => one !== undefined),
      { worker: 'supervisor', metrics: own },
      { worker: '', metrics: ofTheDead },
    ]);
  }

  async function figuresOf(seat: Seat): Promise<{ worker: string; metrics: Metric[] }> {
    questions += 1;
    const question = questions;
    const metrics = await new Promise<Metric[]>((answered) => {
      // One that does not answer is told of by what it counted before.
      const late = setTimeout(() => answered(seat.counts), figuresWithinMs);
      asked.set(question, {
        seat,
        answered(figures) {
          clearTimeout(late);
          answered(figures);
        },
      });
      tell(seat.process, { figures: question });
    });
    asked.delete(question);
    return { worker: String(seat.number), metrics };
  }

  let ending: Promise<void> | undefined;
  function drain(): Promise<void> {
    isStopping = true;
    ending ??= Promise.all(
      seats.map(async ({ process: child }) => {
        if (!child || child.isDead()) return;
        const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        tell(child, { stop: true });
        const late = setTimeout(() => child.process.kill('SIGKILL'), config.listen.drainDelay * 1000 + stopWithinMs);
        await ended;
        clearTimeout(late);
      }),
    ).then(() => undefined);
    return ending;
  }

  stopping.addEventListener('abort', () => void drain());
  // Before there is a first administrator: their password is not to be used up by a start that fails.
  const metrics = config.metrics && (await serveMetrics(config.metrics.listen, figures, log));
  const close = async () => {
    await drain();
    await metrics?.close();
  };
  try {
    stopping.throwIfAborted();
    const [first, ...others] = seats as [Seat, ...Seat[]];
    const { url, firstAdministrator } = await start(first);
    // From here on there may be a password to tell: whatever goes wrong with the others is told after it.
    await Promise.all(others.map(start)).catch((error: unknown) => isStopping || failing.reject(error));
    return { url, metricsUrl: metrics?.url, firstAdministrator, failed: failing.promise, drain, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const hint = 'The lines above say what it met; with none, see whether it had memory enough.';

function workerRestarts(value: number): Metric {
  return {
    name: 'signet_worker_restarts_total',
    type: 'counter',
    help: 'Workers that died and were started anew.',
    samples: [{ value }],
  };
}

function tell(child: Worker | undefined, message: ToWorker): void {
  if (child?.isConnected()) child.send(message, () => undefined);
}
